package nanotest

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/lonng/nano/bot"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/internal/netsim"
)

// SeedVariable is the environment variable that repeats a game: if it is set to a number,
// [Server.Play] uses that seed for games that name none.
const SeedVariable = "NANOTEST_SEED"

// Faults are those of the network between players and the server. The zero value is a
// network without faults.
type Faults struct {
	// Latency is the time that a message takes in one direction.
	Latency time.Duration
	// Jitter bounds a random time that each message takes in addition. Messages keep their
	// order.
	Jitter time.Duration
	// Loss is the probability from 0 to 1 that a message is lost. TCP sends it again: it and
	// all messages behind it arrive 200 ms and one round trip later.
	Loss float64
	// Cut is the mean time until a connection is lost. The default 0 means never. Players
	// reconnect if the server has nano.WithResume.
	Cut time.Duration
}

// WithFaults returns an option for a client of the server, whose connections pass through
// a network with the faults. The same seed gives the same faults; each client needs its own
// option. [Player.Drop] fails for such a client.
//
//	ann := srv.Connect(t, srv.WithFaults(1, nanotest.Faults{Latency: 80 * time.Millisecond}))
func (s *Server) WithFaults(seed uint64, f Faults) client.Option {
	n := netsim.New(seed, netsim.Conditions{Latency: f.Latency, Jitter: f.Jitter, Loss: f.Loss, Cut: f.Cut})
	s.t.Cleanup(n.Cut) // pending bytes would keep goroutines in a synctest bubble
	return client.WithDialer(n.Dialer(s.Listener.DialContext))
}

// Game says how bots play in memory.
type Game struct {
	// Players, For and Ramp are those of [bot.Options].
	Players   int
	For, Ramp time.Duration
	// Seed determines the choices of the bots and the faults. The default is the number in the
	// environment variable NANOTEST_SEED, or a random one.
	Seed uint64
	// Faults are those of each player's network.
	Faults Faults
	// Options are options of the clients.
	Options []client.Option
}

// Play plays with bots and returns when all have returned. A bot that returns an error
// fails the test. When the test ends and has failed, its log names the seed, with which
// the game can be repeated. In the fake time of testing/synctest, a game of an hour takes
// as long as its messages.
func (s *Server) Play(t testing.TB, play bot.Bot, g Game) bot.Report {
	t.Helper()
	seed := g.Seed
	if text := os.Getenv(SeedVariable); seed == 0 && text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("nanotest: Play: %s is %q, want a number", SeedVariable, text)
		}
		seed = n
	}
	for seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("nanotest: to repeat the game of the bots, set %s=%d", SeedVariable, seed)
		}
	})
	r, err := bot.Run(t.Context(), play, bot.Options{
		Players: g.Players, For: g.For, Ramp: g.Ramp, Seed: seed,
		Dial: func(ctx context.Context, number int, opts ...client.Option) (*client.Client, error) {
			all := append(s.resumeOptions(), s.WithFaults(seed+uint64(number), g.Faults))
			all = append(append(all, g.Options...), opts...)
			return client.Dial(ctx, s.Listener.Addr().String(), all...)
		},
	})
	if err != nil {
		t.Fatalf("nanotest: Play: %v", err)
	}
	for _, f := range r.Failures {
		t.Errorf("nanotest: bot %d of %d: %s", f.Number, max(g.Players, 1), f.Err)
	}
	if more := r.Failed - int64(len(r.Failures)); more > 0 {
		t.Errorf("nanotest: %d more bots have failed", more)
	}
	return r
}
