package main

import (
	"strings"
	"testing"

	"github.com/lonng/nano/cmd/nano/internal/programtest"
)

const botProgram = `
package bots

import (
	"context"
	"errors"
	"time"

	"github.com/lonng/nano/bot"
)

type In struct{ Name string }

type Out struct{ N int }

// Open opens the box five times.
func Open(ctx context.Context, p *bot.Player) error {
	for range 5 {
		var out Out
		if err := p.Request(ctx, "Box.Open", In{"Bob"}, &out); err != nil {
			return err
		}
		if out.N != 3 {
			return errors.New("the box has another number")
		}
		bot.Pause(ctx, time.Millisecond)
	}
	return nil
}

func Bot(ctx context.Context, p *bot.Player) error {
	if p.Number == 2 {
		return errors.New("bot 2 stumbles")
	}
	return p.Request(ctx, "Box.None", nil, nil)
}

func Wrong(ctx context.Context, n int) error { return nil }
`

func TestBenchBots(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	url := serve(t)
	t.Chdir(programtest.Write(t, map[string]string{"main.go": program, "internal/bots/bots.go": botProgram}))
	out, err := run(t, "bench", url, "--bots", "./internal/bots.Open", "--clients", "4", "--for", "0", "--seed", "9")
	if err != nil || !strings.Contains(out, "answers  20\n") || !strings.Contains(out, "with the seed 9\n") || !strings.Contains(out, "failed   0\n") {
		t.Errorf("bench --bots = %v, prints\n%s", err, out)
	}
	out, err = run(t, "bench", url, "--bots", "./internal/bots", "--clients", "3", "--for", "0", "--json")
	if err == nil || !strings.HasPrefix(err.Error(), "bench: 3 of 3 bots failed; the seed is ") ||
		!strings.Contains(out, `"NANO-404": 2`) || !strings.Contains(out, "bot 2 stumbles") {
		t.Errorf("bench --bots of bots that fail = %v, prints\n%s", err, out)
	}
	for want, args := range map[string][]string{
		"has no exported function Run":     {"--bots", "./internal/bots.Run"},
		"Wrong is a func(ctx context.Cont": {"--bots", "./internal/bots.Wrong"},
		"is a main package":                {"--bots", ".", "--clients", "1"},
		"want one URL and no message":      {"--bots", "./internal/bots", "request Box.Open"},
		"--rate does not go with --bots":   {"--bots", "./internal/bots", "--rate", "5"},
		"--seed is for --bots":             {"--seed", "5", "request Box.Open"},
	} {
		if out, err := run(t, append([]string{"bench", url}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("bench %q = %v, want %q; it prints\n%s", args, err, want, out)
		}
	}
}
