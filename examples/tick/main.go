// Tick is a game in rooms with a fixed tick rate of 20 per second. The rooms are
// distributed over the cores of the machine. The page predicts the steps of its own
// player and interpolates those of the others.
//
//	go run ./examples/tick -addr :3250 -schedulers 4
//
// Then open the page that it prints, in two windows.
package main

import (
	"embed"
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/internal/site"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/state"
)

//go:embed web
var web embed.FS

const (
	tickRate = 20 // per second
	size     = 20 // width and height of the arena in fields
	maxSteps = 8  // steps of one player that wait for the next tick
)

// Arena is one room.
type Arena struct {
	room.Base[struct {
		Size    int
		Players state.Map[room.PlayerID, Player]
	}]
}

// Player is the public state of a player.
type Player struct{ X, Y int }

// Step moves the player by one field. DX and DY are -1, 0 or 1, and the server clamps
// other values. The step waits for the next tick, and the state acknowledges its number.
type Step struct {
	room.Input
	DX int `json:"dx"`
	DY int `json:"dy"`
}

func (a *Arena) OnCreate()              { a.State.Size = size }
func (a *Arena) OnJoin(p *room.Player)  { a.State.Players.Put(p.ID, &Player{}) }
func (a *Arena) OnLeave(p *room.Player) { a.State.Players.Delete(p.ID) }

// Move serves arena.Move. Steps run in the order in which the player sent them.
func (a *Arena) Move(p *room.Player, m *Step) {
	at := a.State.Players.Get(p.ID)
	at.X = limit(at.X+limit(m.DX, -1, 1), 0, size-1)
	at.Y = limit(at.Y+limit(m.DY, -1, 1), 0, size-1)
}

func limit(n, least, most int) int { return min(max(n, least), most) }

// arenas defines the rooms. Pages have no users, so a player cannot return to a seat and
// no seat is held.
func arenas(schedulers, seats int) *room.Kind[Arena] {
	return room.Define[Arena]("arena", room.TickRate(tickRate), room.Seats(seats), room.Inputs(maxSteps), room.Hold(0),
		room.Schedulers(schedulers))
}

func options(kind *room.Kind[Arena]) []nano.Option {
	return []nano.Option{kind.Option(), nano.WithSerializer(json.NewSerializer())}
}

func main() {
	addr := flag.String("addr", ":3250", "`address` to listen on")
	schedulers := flag.Int("schedulers", runtime.NumCPU(), "`number` of schedulers that the rooms share, 1 or more")
	consoleAddr := flag.String("console", "", site.ConsoleUsage)
	flag.Parse()
	site.Handle(http.DefaultServeMux, web)
	fmt.Println("The arena is at", site.URL(*addr))
	opts := append(options(arenas(max(*schedulers, 1), 8)), site.OpenConsole("tick", *consoleAddr).Options()...)
	if nano.Listen(*addr, append(opts, nano.WithWebSocket("/nano"))...) != nil {
		os.Exit(1) // Listen has logged the error
	}
}
