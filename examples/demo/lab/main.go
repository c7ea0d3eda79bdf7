// Lab is a shooting range behind a simulated network. The page has sliders for latency,
// jitter and loss, and shows what prediction and lag compensation achieve.
//
//	go run ./examples/demo/lab -addr :3250
//
// Then open the page that it prints.
package main

import (
	"embed"
	"flag"
	"fmt"
	"math"
	"net/http"
	"os"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/internal/site"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/state"
)

//go:embed web
var web embed.FS

const (
	tickRate    = 20 // per second
	width       = 800
	height      = 450
	targets     = 4
	targetSpeed = 8.0 // per tick
	shipSpeed   = 6   // per tick
	radius      = 16  // of a target
	gust        = 20  // ticks for which the wind blows in one direction
)

// Range is one room, for one player.
type Range struct {
	room.Base[Field]
	windX, windY int // moves the ships in each tick; no client knows it
}

// Field is the state that the player sees.
type Field struct {
	Targets state.Map[int, Target] `state:"history"`
	Ships   state.Map[room.PlayerID, Ship]
}

// Target moves in a straight line, and changes its direction at times.
type Target struct {
	X, Y   float32 `state:"q=0.1"`
	vx, vy float32
}

// Ship is moved by the player's inputs, and by the wind.
type Ship struct{ X, Y int }

// Steer moves the ship for one tick. DX and DY are -1, 0 or 1; the server clamps other
// values.
type Steer struct {
	room.Input
	DX int `json:"dx"`
	DY int `json:"dy"`
}

// Shot is a shot at a point of the field. Seen is the tick that the player saw, with the
// fraction between two ticks that the page interpolates.
type Shot struct {
	X    float32 `json:"x"`
	Y    float32 `json:"y"`
	Seen float64 `json:"seen"`
}

// Result says what a shot hits with lag compensation, and without.
type Result struct {
	With    bool `json:"with"`
	Without bool `json:"without"`
	Late    bool `json:"late"` // the server does not keep the tick that the player saw
}

// OnCreate sets the targets.
func (g *Range) OnCreate() {
	for i := range targets {
		t := &Target{X: width * (float32(i) + 0.5) / targets, Y: height / 2}
		g.State.Targets.Put(i, t)
		g.turn(t)
	}
}

// OnJoin gives the player a ship.
func (g *Range) OnJoin(p *room.Player) { g.State.Ships.Put(p.ID, &Ship{width / 2, height / 2}) }

// OnLeave removes it.
func (g *Range) OnLeave(p *room.Player) { g.State.Ships.Delete(p.ID) }

// turn gives a target a new direction.
func (g *Range) turn(t *Target) {
	sin, cos := math.Sincos(g.Rand().Float64() * 2 * math.Pi)
	t.vx, t.vy = float32(targetSpeed*cos), float32(targetSpeed*sin)
}

// Tick moves the targets, and the ships with the wind.
func (g *Range) Tick() {
	for _, t := range g.State.Targets.All() {
		if g.Rand().IntN(40) == 0 {
			g.turn(t)
		}
		t.X, t.vx = move(t.X, t.vx, width)
		t.Y, t.vy = move(t.Y, t.vy, height)
	}
	if g.Ticks()%gust == 0 {
		g.windX, g.windY = g.Rand().IntN(5)-2, g.Rand().IntN(5)-2
	}
	for _, s := range g.State.Ships.All() {
		s.push(g.windX, g.windY)
	}
}

// move moves a coordinate, and reflects it at the edges of the field.
func move(x, v, size float32) (float32, float32) {
	switch x += v; {
	case x < radius:
		return radius, -v
	case x > size-radius:
		return size - radius, -v
	}
	return x, v
}

func (s *Ship) push(dx, dy int) {
	s.X = min(max(s.X+dx, 0), width)
	s.Y = min(max(s.Y+dy, 0), height)
}

// Steer serves lab.Steer.
func (g *Range) Steer(p *room.Player, m *Steer) {
	step := func(d int) int { return shipSpeed * min(max(d, -1), 1) }
	g.State.Ships.Get(p.ID).push(step(m.DX), step(m.DY))
}

// Shoot serves lab.Shoot. It tests the shot against the targets of the tick that the
// player saw, and against those of now.
func (g *Range) Shoot(_ *room.Player, s *Shot) *Result {
	seen := min(max(s.Seen, 0), float64(g.Ticks()))
	tick := uint64(seen)
	before, after := g.State.Targets.At(tick), g.State.Targets.At(tick+1)
	r := &Result{Late: before.Tick() > tick}
	part := float32(seen - math.Floor(seen))
	for i, a := range before.All() {
		if b, ok := after.Get(i); ok && !r.Late {
			r.With = r.With || s.hits(a.X+(b.X-a.X)*part, a.Y+(b.Y-a.Y)*part)
		}
	}
	for _, t := range g.State.Targets.All() {
		r.Without = r.Without || s.hits(t.X, t.Y)
	}
	return r
}

// hits reports whether the shot hits a target at x, y.
func (s *Shot) hits(x, y float32) bool {
	dx, dy := s.X-x, s.Y-y
	return dx*dx+dy*dy <= radius*radius
}

// ranges defines the rooms. All inputs of a second may arrive at once after a
// retransmission.
func ranges() *room.Kind[Range] {
	return room.Define[Range]("lab", room.TickRate(tickRate), room.Seats(1), room.Spectators(1), room.Inputs(2*tickRate))
}

// options configures a server with the rooms. Sessions survive a cut.
func options(kind *room.Kind[Range]) []nano.Option {
	return []nano.Option{kind.Option(), nano.WithSerializer(json.NewSerializer()), nano.WithResume(nano.Resume{})}
}

func main() {
	addr := flag.String("addr", ":3250", "`address` to listen on")
	flag.Parse()
	site.Handle(http.DefaultServeMux, web)
	fmt.Println("The lab is at", site.URL(*addr))
	if nano.Listen(*addr, append(options(ranges()), nano.WithWebSocket("/nano"))...) != nil {
		os.Exit(1) // Listen has logged the error
	}
}
