package gents_test

const roomsProgram = `
package main

import (
	"fmt"
	"net"
	"strings"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
	"github.com/lonng/nano/state"
)

// Frog is a payload of Box.Echo, and part of the state of a pond.
type Frog struct {
	Name string
	X    float32      ` + "`state:\"q=0.5\"`" + `
	Hand []uint8      ` + "`state:\"owner\"`" + `
	Mood uint8        ` + "`state:\"enum=sad|glad\"`" + `
	Coin int64        ` + "`state:\"big\"`" + `
	HPMax int         ` + "`state:\"name=life\"`" + `
	Secret string     ` + "`state:\"-\" json:\"secret\"`" + `
	hidden int
}

type Place struct{ Lake, Shore string }

type common struct{ Round int }

type World struct {
	common
	Frogs  state.Map[room.PlayerID, Frog]
	Scores map[string]int
	Stones []*Place
	Board  [2]uint8
	Here   Place
	Target *Place
	Moods  []uint8 ` + "`state:\"enum=sad|glad\"`" + `
}

// Pond is a pond.
type Pond struct{ room.Base[World] }

type Hello struct {
	Name string ` + "`json:\"name\"`" + `
}

func (p *Pond) OnCreate(o *Place) {
	p.State.Here, p.State.Round, p.State.Board = *o, 3, [2]uint8{4, 5}
	p.State.Scores, p.State.Stones, p.State.Moods = map[string]int{"a": 1}, []*Place{{"l", "s"}}, []uint8{1, 0}
}

func (p *Pond) OnJoin(pl *room.Player, o *Hello) *Hello {
	p.State.Frogs.Put(pl.ID, &Frog{Name: o.Name, X: 1.5, Hand: []uint8{7}, Mood: 1, Coin: 1<<62 + 1, HPMax: 9})
	return &Hello{"hello " + o.Name}
}

type Step struct {
	room.Input
	DX float32 ` + "`json:\"dx\"`" + `
}

type Far struct{ X float32 }

// Swim moves a frog.
func (p *Pond) Swim(pl *room.Player, m *Step) { p.State.Frogs.Get(pl.ID).X += m.DX }

func (p *Pond) Rename(pl *room.Player, m *Hello) { p.State.Frogs.Get(pl.ID).Name = m.Name }

func (p *Pond) Where(pl *room.Player, m *Hello) (*Far, error) { return &Far{p.State.Frogs.Get(pl.ID).X}, nil }

func (p *Pond) Map(pl *room.Player, m *Hello) []byte { return []byte("{\"depth\":2}") }

var ponds = room.Define[Pond]("pond", room.TickRate(50))

type Box struct{ component.Base }

func (*Box) Echo(s *session.Session, in *Frog) (*Frog, error) { return in, nil }

func main() {
	cs := &component.Components{}
	cs.Register(&Box{}, component.WithName("box"), component.WithNameFunc(strings.ToLower))
	srv := nano.New(ponds.Option(), nano.WithComponents(cs), nano.WithSerializer(json.NewSerializer()), nano.WithWebSocket("/nano"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	panic(srv.ServeWebSocket(l))
}
`
