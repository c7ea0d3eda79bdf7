package contract_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/lonng/nano/cmd/nano/internal/contract"
	"github.com/lonng/nano/cmd/nano/internal/programtest"
	"github.com/lonng/nano/state"
)

const roomProgram = `
package main

import (
	"github.com/lonng/nano"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/state"
)

// Frog is an entry.
type Frog struct {
	Name   string ` + "`json:\"called\"`" + `
	Hand   []uint8 ` + "`state:\"owner\"`" + `
	Mood   uint8 ` + "`state:\"enum=sad|glad\"`" + `
	Coins  int64 ` + "`state:\"big\"`" + `
	HPMax  int32 ` + "`state:\"name=life\"`" + `
	Secret string ` + "`state:\"-\"`" + `
	Next   *Spot
	hidden int
}

type Spot struct{ X float32 }

type common struct{ Round uint16 }

type World struct {
	common
	Frogs  state.Map[room.PlayerID, Frog]
	Scores map[string]int
	Here   Spot
	Board  [2]uint8
}

type Pond struct{ room.Base[World] }

func (p *Pond) Swim(pl *room.Player, m *Frog) {}

var ponds = room.Define[Pond]("pond")

func main() { nano.Listen(":0", ponds.Option(), nano.WithSerializer(json.NewSerializer())) }
`

// loadRoom loads the program after replacing each pair of texts.
func loadRoom(t *testing.T, pairs ...string) *contract.Contract {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(roomProgram, pairs[i]) {
			t.Fatalf("the program has no %q", pairs[i])
		}
	}
	return load(t, programtest.Write(t, map[string]string{"main.go": strings.NewReplacer(pairs...).Replace(roomProgram)}))
}

func TestStateOfRooms(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	c := loadRoom(t)
	if got, want := form(t, c.Rooms[0].State), `{"kind":"ref","name":"example.com/game.World@state"}`; got != want {
		t.Errorf("the state is %s, want %s", got, want)
	}
	for _, k := range []struct{ name, want string }{
		{"World@state", `[{"name":"round","go":"Round","type":{"kind":"int","bits":16,"unsigned":true}},` +
			`{"name":"frogs","go":"Frogs","type":{"kind":"map","key":{"kind":"int","bits":32,"unsigned":true},"elem":{"kind":"ref","name":"example.com/game.Frog@state"}}},` +
			`{"name":"scores","go":"Scores","type":{"kind":"map","key":{"kind":"string"},"elem":{"kind":"int","bits":64}}},` +
			`{"name":"here","go":"Here","type":{"kind":"ref","name":"example.com/game.Spot@state"}},` +
			`{"name":"board","go":"Board","type":{"kind":"list","len":2,"elem":{"kind":"int","bits":8,"unsigned":true}}}]`},
		{"Frog@state", `[{"name":"name","go":"Name","type":{"kind":"string"}},` +
			`{"name":"hand","go":"Hand","type":{"kind":"list","elem":{"kind":"int","bits":8,"unsigned":true}}},` +
			`{"name":"mood","go":"Mood","type":{"kind":"enum","elem":{"kind":"string"},"values":[{"name":"sad","value":"sad"},{"name":"glad","value":"glad"}]}},` +
			`{"name":"coins","go":"Coins","type":{"kind":"int","bits":64,"big":true}},` +
			`{"name":"life","go":"HPMax","type":{"kind":"int","bits":32}},` +
			`{"name":"next","go":"Next","type":{"kind":"ref","name":"example.com/game.Spot@state","nullable":true}}]`},
	} {
		named := c.Types[programtest.Module+"."+k.name]
		if named == nil {
			t.Errorf("the contract has no type %s", k.name)
		} else if got := form(t, named.Fields); got != k.want {
			t.Errorf("%s = %s, want %s", k.name, got, k.want)
		}
	}
	if frog := c.Types[programtest.Module+".Frog"]; frog == nil || frog.Fields[0].Name != "called" {
		t.Errorf("the payload has the fields %s", form(t, frog))
	}
	var table strings.Builder
	if err := c.Print(&table); err != nil || strings.Contains(table.String(), contract.StateSuffix) {
		t.Errorf("the table is %s (%v)", table.String(), err)
	}
}

func TestDiffOfState(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	old := loadRoom(t)
	now := loadRoom(t, "Round uint16", "Turn uint16", "name=life", "name=lives", "sad|glad", "sad|glad|mad", "`state:\"big\"`", "",
		"Here   Spot", "Here   Spot `state:\"name=here\"`", "	hidden int", "	other int")
	frog := " of a value of field frogs of state of room pond"
	want := []string{
		"field coins" + frog + " was int64 as BigInt and is int64",
		"field life" + frog + " is gone",
		"field mood" + frog + " may have the new value mad",
		"field round of state of room pond is gone",
	}
	if got := contract.Diff(old, now); !slices.Equal(got, want) {
		t.Errorf("Diff = %q, want %q", got, want)
	}
}

// The reply of OnJoin is part of the contract.
func TestReplyOfJoin(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	const swim, join = "func (p *Pond) Swim(", "func (p *Pond) OnJoin(pl *room.Player, m *Frog)"
	old := loadRoom(t, swim, join+" (*Frog, error) { return nil, nil }\n\n"+swim)
	now := loadRoom(t, swim, join+" error { return nil }\n\n"+swim)
	if got, want := form(t, old.Rooms[0].Reply), `{"kind":"ref","name":"example.com/game.Frog"}`; got != want {
		t.Errorf("the reply is %s, want %s", got, want)
	}
	if now.Rooms[0].Reply != nil {
		t.Errorf("an OnJoin without a reply has %s", form(t, now.Rooms[0].Reply))
	}
	if got, want := contract.Diff(old, now), []string{"reply of room pond is gone"}; !slices.Equal(got, want) {
		t.Errorf("Diff = %q, want %q", got, want)
	}
	if got := contract.Diff(now, old); len(got) > 0 {
		t.Errorf("Diff of a new reply = %q, want none", got)
	}
}

// The server sends a reply of bytes as it is. A named type goes through the serializer.
func TestRawReplyOfRoomMessage(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	const swim = "func (p *Pond) Swim("
	c := loadRoom(t, swim, "type Blob []byte\n\nfunc (p *Pond) Blob(pl *room.Player, m *Frog) Blob { return nil }\n\n"+
		"func (p *Pond) Image(pl *room.Player, m *Frog) ([]uint8, error) { return nil, nil }\n\n"+
		"func (p *Pond) Photo(pl *room.Player, m *Frog) []byte { return nil }\n\n"+swim)
	want := map[string]string{
		"Blob": `{"kind":"bytes","nullable":true}`, "Image": `{"kind":"raw"}`, "Photo": `{"kind":"raw"}`, "Swim": "null",
	}
	for _, m := range c.Rooms[0].Messages {
		if got := form(t, m.Reply); got != want[m.Route] {
			t.Errorf("the reply of %s is %s, want %s", m.Route, got, want[m.Route])
		}
	}
	if got := len(c.Rooms[0].Messages); got != len(want) {
		t.Errorf("the room has %d messages, want %d", got, len(want))
	}
}

// TestStateNames compares names with those that package state makes.
func TestStateNames(t *testing.T) {
	sync, err := state.New(&struct {
		ID, HPMax, XPos, A, Ab, URL2Path, UserID, A_B, X1, HTTPServer bool
	}{})
	if err != nil {
		t.Fatal(err)
	}
	var schema [][]json.RawMessage
	if err := json.Unmarshal([]byte(sync.Schema().JSON), &schema); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range schema[0][1:] {
		var field []any
		if err := json.Unmarshal(f, &field); err != nil {
			t.Fatal(err)
		}
		want = append(want, field[0].(string))
	}
	c := loadRoom(t, "Round uint16", "ID, HPMax, XPos, A, Ab, URL2Path, UserID, A_B, X1, HTTPServer bool")
	var got []string
	for _, f := range c.Types[programtest.Module+".World@state"].Fields[:10] {
		got = append(got, f.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the names are %v, want %v", got, want)
	}
}
