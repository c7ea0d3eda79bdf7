// Tadpole is a pond in which all players swim together. Each player sees the tadpoles nearby.
package main

import (
	"cmp"
	"embed"
	"math"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/lonng/nano"
	"github.com/lonng/nano/clients/js"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/state"
)

//go:embed web
var web embed.FS

const (
	second = 20               // ticks per second
	seats  = 2000             // players in a pond
	radius = 2400             // radius of a pond, whose center is 0, 0
	sight  = 480              // how far a tadpole sees
	speed  = 11               // how far it swims in a tick, at most
	away   = 10 * time.Second // how long it stays without its page
)

// Pond is a room.
type Pond struct {
	room.Base[Water]
	lag time.Duration // longest delay of a tick in this second
}

// Water is the state of a pond. A player gets the tadpoles in sight, and the other fields.
type Water struct {
	Radius, Sight, Speed, Swimmers int
	Lag                            float32 `state:"q=0.1"` // longest delay of a tick in the last second, in ms
	Tadpoles                       state.Map[room.PlayerID, Tadpole]
}

// Tadpole belongs to a player. Only the exported fields are sent.
type Tadpole struct {
	Name, Says string  // Says is a speech bubble, "" for none
	X, Y       float32 `state:"q=0.25,snap"`
	dx, dy     float32 // direction of the current stroke
	left       int     // ticks left in the stroke
	ahead      int     // strokes that ran before their ticks
	talked     uint64  // tick in which the player last spoke
}

// Hello holds the options of a join.
type Hello struct{ Name string }

// Swim is a stroke: DX and DY are a direction of length 1 at most. A page sends one each tick, a bot fewer and longer ones.
type Swim struct {
	room.Input
	DX, DY float64
	Ticks  int // length of the stroke: 1 to 40 ticks, 1 by default
}

// Words are shown in a bubble.
type Words struct{ Text string }

var ponds = room.Define[Pond]("pond", room.TickRate(second), room.Seats(seats), room.Spectators(0), room.Inputs(second), room.Hold(away))

func (p *Pond) OnCreate()               { p.State.Radius, p.State.Sight, p.State.Speed = radius, sight, speed }
func (p *Pond) OnLeave(pl *room.Player) { p.State.Tadpoles.Delete(pl.ID) }

// OnJoin places a tadpole in a circle that grows with the number of swimmers: a few meet, and many are not crowded.
func (p *Pond) OnJoin(pl *room.Player, o *Hello) {
	far := min(radius, 150*math.Sqrt(float64(p.State.Tadpoles.Len()+1))) * math.Sqrt(p.Rand().Float64())
	sin, cos := math.Sincos(2 * math.Pi * p.Rand().Float64())
	p.State.Tadpoles.Put(pl.ID, &Tadpole{Name: cmp.Or(clean(o.Name, 16), "Tadpole"), X: float32(far * cos), Y: float32(far * sin)})
}

// Swim begins a stroke with its first tick. Strokes that the network has delayed run in one tick.
func (p *Pond) Swim(pl *room.Player, in *Swim) {
	t := p.State.Tadpoles.Get(pl.ID)
	if t.ahead == second {
		return // too many strokes for the time that has passed
	}
	length := max(1, math.Hypot(in.DX, in.DY))
	t.dx, t.dy, t.left = float32(in.DX/length), float32(in.DY/length), min(max(in.Ticks, 1), 2*second)
	t.ahead++
	t.swim()
}

// swim moves the tadpole for one tick.
func (t *Tadpole) swim() {
	x, y := float64(t.X+t.dx*speed), float64(t.Y+t.dy*speed)
	out := max(1, math.Hypot(x, y)/radius)
	t.X, t.Y, t.left = float32(x/out), float32(y/out), t.left-1
}

// Say shows words to all players in sight.
func (p *Pond) Say(pl *room.Player, m *Words) error {
	t := p.State.Tadpoles.Get(pl.ID)
	if t.talked > 0 && p.Ticks() < t.talked+second {
		return nano.Errorf("PAUSE", "say one thing a second")
	}
	t.Says, t.talked = clean(m.Text, 80), p.Ticks()
	return nil
}

// Tick moves the tadpoles whose strokes continue, and ends bubbles after 6 s.
func (p *Pond) Tick() {
	for _, t := range p.State.Tadpoles.All() {
		switch {
		case t.ahead > 0: // its stroke of this tick has run
			t.ahead--
		case t.left > 0:
			t.swim()
		}
		if t.Says != "" && p.Ticks() >= t.talked+6*second {
			t.Says = ""
		}
	}
	p.State.Swimmers, p.lag = p.State.Tadpoles.Len(), max(p.lag, p.Lag())
	if p.Ticks()%second == 0 {
		p.State.Lag, p.lag = float32(p.lag.Seconds()*1000), 0
	}
}

// View selects the tadpoles in sight.
func (p *Pond) View(pl *room.Player, v *state.View) {
	if t := p.State.Tadpoles.Get(pl.ID); t != nil { // the player has not left
		v.Near(&p.State.Tadpoles, t.X, t.Y, sight)
	}
}

// clean returns the printable characters of a text on one line, limit at most.
func clean(text string, limit int) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return r != '\u200d' && (unicode.IsSpace(r) || !unicode.IsGraphic(r)) })
	runes := []rune(strings.Join(words, " "))
	return strings.TrimSpace(string(runes[:min(len(runes), limit)]))
}

func options() []nano.Option {
	return []nano.Option{ponds.Option(), nano.WithSerializer(json.NewSerializer()), nano.WithWebSocket("/nano"), nano.WithResume(nano.Resume{Window: away})}
}

func handle(mux *http.ServeMux) {
	mux.Handle("/web/", http.FileServerFS(web))
	mux.Handle("/js/", http.StripPrefix("/js", http.FileServerFS(js.FS)))
	mux.Handle("/{$}", http.RedirectHandler("/web/", http.StatusFound))
}
