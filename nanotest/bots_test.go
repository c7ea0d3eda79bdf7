package nanotest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/bot"
	"github.com/lonng/nano/nanotest"
)

// talk says numbered lines and expects each one back.
func talk(ctx context.Context, p *bot.Player) error {
	if err := p.Request(ctx, "Camp.Enter", nil, nil); err != nil {
		return err
	}
	for n := 0; ctx.Err() == nil; n++ {
		line, got := Line{Text: fmt.Sprint(p.Number, " ", n)}, Line{}
		if err := p.Request(ctx, "Camp.Say", &line, &got); err != nil {
			return err
		}
		if got != line {
			return fmt.Errorf("%q came back, want %q", got.Text, line.Text)
		}
		bot.Pause(ctx, time.Duration(p.Rand.IntN(1000))*time.Millisecond)
	}
	return nil
}

// TestBotsInFakeTime checks that a game over a bad network takes its time, loses nothing,
// and is the same with the same seed.
func TestBotsInFakeTime(t *testing.T) {
	game := func(t *testing.T, seed uint64) (r bot.Report, cuts int64) {
		synctest.Test(t, func(t *testing.T) {
			srv := nanotest.Start(t, options(&Camp{}, nano.WithResume(nano.Resume{}))...)
			began := time.Now()
			r = srv.Play(t, talk, nanotest.Game{Players: 1, For: 2 * time.Minute, Seed: seed, Faults: nanotest.Faults{
				Latency: 40 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: .02, Cut: 20 * time.Second,
			}})
			if took := time.Since(began); took < 2*time.Minute || took > 2*time.Minute+time.Second {
				t.Errorf("the game took %v, want 2 min and the time of a farewell", took)
			}
			cuts = srv.Stats().Resume.Resumed
		})
		return r, cuts
	}
	first, cuts := game(t, 7)
	if first.Failed != 0 || first.Answers < 120 || cuts < 2 || first.P50 < 80*time.Millisecond || first.Max < 280*time.Millisecond {
		t.Errorf("the report is %+v with %d resumes, want answers after two latencies, and losses", first, cuts)
	}
	again, cutsAgain := game(t, 7)
	if again.Answers != first.Answers || cutsAgain != cuts || again.Max != first.Max {
		t.Errorf("a game with the same seed has %+v and %d resumes, want %+v and %d", again, cutsAgain, first, cuts)
	}
	if other, _ := game(t, 8); other.Answers == first.Answers && other.Max == first.Max {
		t.Errorf("a game with another seed is the same: %+v", other)
	}
}

// TestFailedGameNamesItsSeed checks that the log of a test names the bots that failed and
// the seed, and that the seed in the environment repeats the game.
func TestFailedGameNamesItsSeed(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	srv := nanotest.Start(t, options(&Camp{})...)
	unlucky := func(_ context.Context, p *bot.Player) error {
		if p.Rand.IntN(4) == 0 {
			return fmt.Errorf("bot %d is unlucky", p.Number)
		}
		return nil
	}
	play := func() string {
		said := failure(t, func(t testing.TB) { srv.Play(t, unlucky, nanotest.Game{Players: 40}) })
		if !strings.Contains(said, "is unlucky") {
			t.Fatalf("the test says %q, want bots that were unlucky", said)
		}
		return said
	}
	first := play()
	_, seed, ok := strings.Cut(first, nanotest.SeedVariable+"=")
	if !ok {
		t.Fatalf("the test says %q, want the seed", first)
	}
	t.Setenv(nanotest.SeedVariable, seed)
	if again := play(); len(again) != len(first) {
		t.Errorf("with the seed %s the test says\n%s\nwant\n%s", seed, again, first)
	}
}

// TestFaultsOfOnePlayer checks that a player may have a network of its own.
func TestFaultsOfOnePlayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nanotest.Start(t, options(&Camp{})...)
		near, far := srv.Connect(t), srv.Connect(t, srv.WithFaults(1, nanotest.Faults{Latency: 150 * time.Millisecond}))
		for p, want := range map[*nanotest.Player]time.Duration{near: 0, far: 300 * time.Millisecond} {
			began := time.Now()
			if err := p.Request(t.Context(), "Camp.Enter", nil, nil); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("a request took %v, want %v", took, want)
			}
		}
	})
}
