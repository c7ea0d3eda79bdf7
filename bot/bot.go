package bot

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lonng/nano/client"
)

// Player is the connection of one bot.
type Player struct {
	*client.Client
	Number int        // 1 for the first bot
	Rand   *rand.Rand // depends on the seed and the number only; for the bot's goroutine
}

// Bot plays as p until it has finished or ctx ends. It may call the methods of the client
// as any program does. An error means that the server did not do what the bot expects.
// Errors that the end of ctx causes do not count as failures.
//
// Several bots run at once, each on a goroutine of its own.
type Bot func(ctx context.Context, p *Player) error

// Options says how many bots play, and how.
type Options struct {
	// Players is the number of bots, 1 by default.
	Players int
	// For is how long they play. By default they play until all have returned.
	For time.Duration
	// Ramp is the time over which they connect, at equal intervals. By default they connect
	// at once.
	Ramp time.Duration
	// Seed determines what Player.Rand returns. By default Run chooses one.
	Seed uint64
	// Dial connects the bot with the given number. The client must have the given options.
	Dial func(ctx context.Context, number int, opts ...client.Option) (*client.Client, error)
}

// Pause waits for d, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Run plays with bots until all have returned, and then closes their clients. When
// o.For has passed or ctx ends, it cancels the context of the bots and closes the
// clients; a bot that does not return then keeps Run waiting.
//
// The error describes an invalid field of o. Errors of the game are in the report.
func Run(ctx context.Context, play Bot, o Options) (Report, error) {
	switch {
	case play == nil:
		return Report{}, errors.New("bot: there is no bot to run")
	case o.Dial == nil:
		return Report{}, errors.New("bot: Options.Dial is nil, want a function that connects")
	case o.Players < 0 || o.For < 0 || o.Ramp < 0:
		return Report{}, fmt.Errorf("bot: Players is %d, For %v and Ramp %v, want none below 0", o.Players, o.For, o.Ramp)
	}
	o.Players = max(o.Players, 1)
	for o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	cancel := context.CancelFunc(func() {})
	if o.For > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.For)
	}
	defer cancel()
	r := newRecorder(o)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range o.Players {
		Pause(ctx, time.Until(began.Add(o.Ramp*time.Duration(i)/time.Duration(o.Players))))
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() { r.run(ctx, play, i+1) })
	}
	wg.Wait()
	return r.report(time.Since(began)), nil
}

// run plays with the bot that has the given number.
func (r *recorder) run(ctx context.Context, play Bot, number int) {
	t := &timer{recorder: r}
	c, err := r.options.Dial(ctx, number, client.WithOutbound(t.sent), client.WithInbound(t.received))
	if err != nil {
		r.ended(ctx, number, fmt.Errorf("connect: %w", err))
		return
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	r.connected.Add(1)
	r.ended(ctx, number, play(ctx, &Player{
		Client: c, Number: number, Rand: rand.New(rand.NewPCG(r.options.Seed, uint64(number))),
	}))
}
