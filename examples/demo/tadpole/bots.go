package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/bot"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/client/room"
)

// strokeTime is how often a bot begins a stroke.
const strokeTime = time.Second

var (
	botNames = []string{"Momo", "Pip", "Lulu", "Bao", "Kiki", "Otto", "Nori", "Fen", "Tilly", "Wei", "Dot", "Juno", "Suki", "Ollie", "Xiao",
		"Bubbles", "Mika", "Tang", "Poppy", "Yuki", "Squiggle", "Hani", "Zuzu", "Lin", "Pebble", "Rio", "Ming", "Noodle", "Ada", "Koi"}
	botWords = []string{"hello!", "blub", "你好！", "nice pond", "follow me", "so dark down here", "has anybody seen my tail?", "weee!",
		"this way", "is that a lily?", "一起游吧", "brb, growing legs", "left, left, right", "what a current!", "mind the shore"}
)

// swim runs n bots at a server with a TCP address until ctx ends or a bot fails. It
// prints a line when they have joined.
func swim(ctx context.Context, addr string, n int, w io.Writer) error {
	together, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var joined atomic.Int64
	play := func(ctx context.Context, p *bot.Player) error {
		r, err := room.JoinOrCreate(ctx, p.Client, "pond", Hello{botNames[p.Number%len(botNames)]}, nil)
		if err == nil && joined.Add(1) == int64(n) {
			fmt.Fprintf(w, "%d bots swim\n", n)
		}
		if err == nil {
			err = wander(ctx, p, r)
		}
		if err != nil {
			fail(fmt.Errorf("bot %d: %w", p.Number, err))
		}
		return err
	}
	_, err := bot.Run(together, play, bot.Options{
		Players: n,
		Ramp:    time.Duration(n) * time.Millisecond,
		Dial: func(ctx context.Context, number int, opts ...client.Option) (*client.Client, error) {
			c, err := client.Dial(ctx, addr, opts...)
			if err != nil {
				fail(fmt.Errorf("bot %d: %w", number, err))
			}
			return c, err
		},
	})
	if err == nil && ctx.Err() == nil {
		err = context.Cause(together)
	}
	return err
}

// wander swims with strokes in changing directions, and sometimes says something. Like a
// page, a bot knows only what the server sends it.
func wander(ctx context.Context, p *bot.Player, r *room.Room) error {
	id := strconv.FormatUint(uint64(r.Player()), 10)
	heading := p.Rand.Float64() * 2 * math.Pi
	for seq := uint32(1); ctx.Err() == nil; seq++ {
		heading += p.Rand.NormFloat64() * 0.45
		if x, y := place(r, id); math.Hypot(x, y) > radius*0.9 {
			heading = math.Atan2(-y, -x) + p.Rand.NormFloat64()*0.5 // away from the shore
		}
		if p.Rand.IntN(200) == 0 {
			if err := r.Send("Say", Words{botWords[p.Rand.IntN(len(botWords))]}); err != nil {
				return err
			}
		}
		sin, cos := math.Sincos(heading)
		power := 0.3 + 0.4*p.Rand.Float64()
		stroke := Swim{DX: cos * power, DY: sin * power, Ticks: 2 * second} // a bot that is late swims on
		stroke.Seq = seq
		if err := r.Send("Swim", stroke); err != nil {
			return err
		}
		bot.Pause(ctx, strokeTime)
	}
	return nil
}

// place returns where a tadpole is; before the first state, the center.
func place(r *room.Room, id string) (x, y float64) {
	v, _ := r.Get("tadpoles", id)
	t, _ := v.(map[string]any)
	x, _ = t["x"].(float64)
	y, _ = t["y"].(float64)
	return x, y
}
