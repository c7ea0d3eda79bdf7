package bot_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/bot"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/session"
)

// Dice is the game of these tests.
type Dice struct{ component.Base }

func (*Dice) Throw(s *session.Session, _ []byte) error {
	return errors.Join(s.Push("onThrow", []byte("x")), answer(s))
}

func (*Dice) Cheat(*session.Session, []byte) error {
	return nano.Errorf("CHEAT", "that die has seven sides")
}

// answer answers a request.
func answer(s *session.Session) error {
	if err := s.Response([]byte("ok")); !errors.Is(err, session.ErrSessionOnNotify) {
		return err
	}
	return nil
}

func (*Dice) Think(s *session.Session, _ []byte) error {
	r := s.Defer()
	time.AfterFunc(300*time.Millisecond, func() { _ = r.Reply([]byte("7")) })
	return nil
}

func start(t *testing.T) *nanotest.Server {
	t.Helper()
	games := &component.Components{}
	games.Register(&Dice{})
	return nanotest.Start(t, nano.WithComponents(games))
}

// dial returns a function that connects bots in memory.
func dial(srv *nanotest.Server) func(context.Context, int, ...client.Option) (*client.Client, error) {
	return func(ctx context.Context, _ int, opts ...client.Option) (*client.Client, error) {
		return srv.Dial(ctx, opts...)
	}
}

func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := start(t)
		r, err := bot.Run(t.Context(), func(ctx context.Context, p *bot.Player) error {
			for range 3 {
				if err := p.Request(ctx, "Dice.Throw", nil, nil); err != nil {
					return err
				}
			}
			if err := p.Request(ctx, "Dice.Think", nil, nil); err != nil {
				return err
			}
			if err := p.Notify("Dice.Throw", nil); err != nil {
				return err
			}
			if err := p.Request(ctx, "Dice.Cheat", nil, nil); p.Number == 2 {
				return err
			}
			return nil
		}, bot.Options{Players: 4, Seed: 5, Ramp: 8 * time.Second, Dial: dial(srv)})
		if err != nil {
			t.Fatal(err)
		}
		if r.Players != 4 || r.Sent != 24 || r.Answers != 20 || r.Pushes != 16 || r.Errors["CHEAT"] != 4 || r.Seed != 5 {
			t.Errorf("the report is %+v", r)
		}
		if r.Max != 300*time.Millisecond || r.P99 != r.Max || r.P50 > time.Millisecond || r.Seconds < 6.2 || r.Seconds > 6.4 {
			t.Errorf("p50 %v, p99 %v, max %v in %v s, want less than 1 ms, 300 ms and 300 ms in 6.3 s", r.P50, r.P99, r.Max, r.Seconds)
		}
		if r.Failed != 1 || len(r.Failures) != 1 || r.Failures[0].Number != 2 || !strings.Contains(r.Failures[0].Err, "CHEAT") {
			t.Errorf("the failures are %v, want that of bot 2", r.Failures)
		}
	})
}

// TestChoicesDependOnTheSeed checks that the same seed gives each bot the same choices.
func TestChoicesDependOnTheSeed(t *testing.T) {
	choices := func(seed uint64) []string {
		srv := start(t)
		var mu sync.Mutex
		var list []string
		_, err := bot.Run(t.Context(), func(_ context.Context, p *bot.Player) error {
			mu.Lock()
			defer mu.Unlock()
			list = append(list, fmt.Sprint(p.Number, " ", p.Rand.IntN(1e9)))
			return nil
		}, bot.Options{Players: 20, Seed: seed, Dial: dial(srv)})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(list)
		return list
	}
	first := choices(1)
	if again := choices(1); !slices.Equal(first, again) {
		t.Errorf("%v and %v came from one seed", first, again)
	}
	if other := choices(2); slices.Equal(first, other) {
		t.Error("two seeds give the same choices")
	}
	numbers := map[string]bool{}
	for _, s := range first {
		_, n, _ := strings.Cut(s, " ")
		numbers[n] = true
	}
	if len(numbers) < 20 {
		t.Errorf("the bots have chosen %v, want each its own", first)
	}
}

// TestEndOfTime checks that the game ends after Options.For, also for bots that wait for
// an answer, and that this is not a failure.
func TestEndOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := start(t)
		began := time.Now()
		r, err := bot.Run(t.Context(), func(ctx context.Context, p *bot.Player) error {
			for {
				if p.Number == 1 {
					ctx = context.Background()
				}
				if err := p.Request(ctx, "Dice.Think", nil, nil); err != nil {
					return err
				}
			}
		}, bot.Options{Players: 5, For: 10 * time.Second, Dial: dial(srv)})
		if took := time.Since(began); err != nil || r.Failed != 0 || r.Players != 5 || took != 10*time.Second {
			t.Errorf("it took %v, and the report is %+v, %v", took, r, err)
		}
	})
}

func TestBotsThatCannotConnect(t *testing.T) {
	refused := errors.New("the door is locked")
	r, err := bot.Run(t.Context(), func(context.Context, *bot.Player) error { return nil }, bot.Options{
		Players: 30, Dial: func(context.Context, int, ...client.Option) (*client.Client, error) { return nil, refused },
	})
	if err != nil || r.Failed != 30 || len(r.Failures) != 20 || r.Players != 0 || r.Failures[0].Err != "connect: the door is locked" {
		t.Errorf("the report is %+v, %v, want 30 failures of which 20 are listed", r, err)
	}
}

func TestBadOptions(t *testing.T) {
	play := func(context.Context, *bot.Player) error { return nil }
	door := func(context.Context, int, ...client.Option) (*client.Client, error) {
		return nil, errors.New("never called")
	}
	for name, run := range map[string]func() (bot.Report, error){
		"no bot":       func() (bot.Report, error) { return bot.Run(t.Context(), nil, bot.Options{Dial: door}) },
		"no dial":      func() (bot.Report, error) { return bot.Run(t.Context(), play, bot.Options{}) },
		"players":      func() (bot.Report, error) { return bot.Run(t.Context(), play, bot.Options{Dial: door, Players: -1}) },
		"negative for": func() (bot.Report, error) { return bot.Run(t.Context(), play, bot.Options{Dial: door, For: -1}) },
	} {
		if r, err := run(); err == nil || r.Players != 0 || r.Failed != 0 {
			t.Errorf("%s: Run = %+v, %v, want an error", name, r, err)
		}
	}
}
