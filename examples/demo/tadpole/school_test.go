package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano"
)

// The program starts 30 bots in a child process, measures itself and ends.
func TestFigures(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Setenv("TADPOLE_RUN", "1")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-addr", "127.0.0.1:0", "-bots", "30", "-for", "2s")
	cmd.Stderr = t.Output() // the server's log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found := regexp.MustCompile(`(?s)30 bots swim\n30 swimmers at 20 Hz for \d+s, \d+ strokes/s\nserver: [\d.]+ cores.*client: ([\d.]+) KiB/s in [\d.]+ messages/s; ([\d.]+) tadpoles`).
		FindStringSubmatch(string(out))
	if found == nil {
		t.Fatalf("the figures are\n%s", out)
	}
	rate, _ := strconv.ParseFloat(found[1], 64)
	seen, _ := strconv.ParseFloat(found[2], 64)
	if rate <= 0.1 || rate > 5 || seen < 1 || seen > 30 {
		t.Errorf("%v KiB/s and %v tadpoles in sight, want at most 5 and 30", rate, seen)
	}
}

func TestWrongFlags(t *testing.T) {
	t.Setenv("TADPOLE_RUN", "1")
	for flags, want := range map[string]string{
		"-bots -1":          "want 0 to 2000",
		"-for 1s":           "need -bots",
		"-join 127.0.0.1:1": "need -bots",
		"-addr x:y:z":       "too many colons",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		out, err := exec.CommandContext(ctx, os.Args[0], strings.Fields(flags)...).CombinedOutput()
		cancel()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %s; want %q", flags, err, out, want)
		}
	}
}

// Bots are ordinary clients. They end with their server.
func TestBots(t *testing.T) {
	srv := nano.New(options()...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	line := make(lines, 1)
	ended := make(chan error, 1)
	go func() { ended <- swim(t.Context(), l.Addr().String(), 12, line) }()
	select {
	case text := <-line:
		if text != "12 bots swim\n" {
			t.Errorf("the bots say %q", text)
		}
	case err := <-ended:
		t.Fatal(err)
	}
	stats := ponds.Stats()
	if len(stats) != 1 || stats[0].Players != 12 {
		t.Fatalf("%+v, want one pond with 12 players", stats)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	start := map[string]string{}
	for n := 0; n < 12; {
		<-time.After(tick)
		err := ponds.Do(ctx, stats[0].ID, func(p *Pond) {
			n = 0
			for id, tadpole := range p.State.Tadpoles.All() {
				key, place := fmt.Sprint(id), fmt.Sprint(tadpole.X, tadpole.Y)
				if start[key] == "" {
					start[key] = place
				}
				if start[key] != place {
					n++
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	closePonds(ctx)
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the bots go on without a server")
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// lines is a writer for whole lines.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}
