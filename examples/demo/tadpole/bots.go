package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/lonng/nano/client"
	"github.com/lonng/nano/client/room"
)

// strokeTime is how often a bot begins a stroke.
const strokeTime = 700 * time.Millisecond

var (
	botNames = []string{"Momo", "Pip", "Lulu", "Bao", "Kiki", "Otto", "Nori", "Fen", "Tilly", "Wei", "Dot", "Juno", "Suki", "Ollie", "Xiao",
		"Bubbles", "Mika", "Tang", "Poppy", "Yuki", "Squiggle", "Hani", "Zuzu", "Lin", "Pebble", "Rio", "Ming", "Noodle", "Ada", "Koi"}
	botWords = []string{"hello!", "blub", "你好！", "nice pond", "follow me", "so dark down here", "has anybody seen my tail?", "weee!",
		"this way", "is that a lily?", "一起游吧", "brb, growing legs", "left, left, right", "what a current!", "mind the shore"}
)

// bot is a player without a page. Like a page, it knows only what the server sends it.
type bot struct {
	room    *room.Room
	id      string
	heading float64
	seq     uint32
}

// swim lets n bots swim at a server with a TCP address until ctx ends, and prints a line
// when they have joined.
func swim(ctx context.Context, addr string, n int, w io.Writer) error {
	bots := make([]*bot, n)
	for i := range bots {
		c, err := client.Dial(ctx, addr)
		if err != nil {
			return err
		}
		defer c.Close()
		r, err := room.JoinOrCreate(ctx, c, "pond", Hello{Name: botNames[i%len(botNames)]}, nil)
		if err != nil {
			return err
		}
		bots[i] = &bot{room: r, id: strconv.FormatUint(uint64(r.Player()), 10), heading: rand.Float64() * 2 * math.Pi}
	}
	fmt.Fprintf(w, "%d bots swim\n", n)
	// The bots take turns, so that the server gets as many strokes in each tick.
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	start := time.Now()
	for turn := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		due := int(time.Since(start).Seconds() / strokeTime.Seconds() * float64(n))
		for turn = max(turn, due-n); turn < due; turn++ {
			if err := bots[turn%n].act(); err != nil {
				return err
			}
		}
	}
}

// act begins a stroke, and sometimes says something.
func (b *bot) act() error {
	b.heading += rand.NormFloat64() * 0.45
	if x, y := b.at(); math.Hypot(x, y) > radius*0.9 {
		b.heading = math.Atan2(-y, -x) + rand.NormFloat64()*0.5 // away from the shore
	}
	if rand.IntN(200) == 0 {
		if err := b.room.Send("Say", Words{botWords[rand.IntN(len(botWords))]}); err != nil {
			return err
		}
	}
	sin, cos := math.Sincos(b.heading)
	power := 0.3 + 0.4*rand.Float64()
	b.seq++
	stroke := Swim{DX: cos * power, DY: sin * power, Ticks: 2 * second} // a bot that is late swims on
	stroke.Seq = b.seq
	return b.room.Send("Swim", stroke)
}

// at returns where the bot's tadpole is; before the first state, the center.
func (b *bot) at() (x, y float64) {
	v, _ := b.room.Get("tadpoles", b.id)
	t, _ := v.(map[string]any)
	x, _ = t["x"].(float64)
	y, _ = t["y"].(float64)
	return x, y
}
