package state

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

type playerID uint32

type frog struct {
	Name string
	X    float32 `state:"q=0.1"`
	Y    float32 `state:"q=0.1"`
	Hand []uint8 `state:"owner"`
}

type pond struct {
	Round uint16
	Frogs map[playerID]*frog
}

func TestDesignExample(t *testing.T) {
	p := &pond{Round: 1, Frogs: map[playerID]*frog{
		1: {Name: "Ann", X: 10, Y: 20, Hand: []uint8{5, 6}},
		2: {Name: "Bob", X: 3},
	}}
	s, err := New(p, Owner[playerID]())
	if err != nil {
		t.Fatal(err)
	}
	want := `[["pond",["round","int"],["frogs","map","uint",["obj",1]]],["frog",["name","str"],["x","q",10],["y","q",10],["hand","list",["u8"]]]]`
	if got := s.Schema().JSON; got != want {
		t.Errorf("Schema().JSON = %s, want %s", got, want)
	}
	ann, bob := s.NewView(playerID(1)), s.NewView(playerID(2))
	step := func(tick uint64, want string) {
		t.Helper()
		if err := s.Tick(tick); err != nil {
			t.Fatal(err)
		}
		wantBytes, err := hex.DecodeString(strings.NewReplacer(" ", "", "(", "", ")", "", "|", "").Replace(want))
		if err != nil {
			t.Fatal(err)
		}
		if got := ann.Append(nil); !bytes.Equal(got, wantBytes) {
			t.Errorf("tick %d: Append = %x, want %x", tick, got, wantBytes)
		}
	}
	step(1, "07 00 | 03 | 02 | 01 00 | 02 0f 01 03 41 6e 6e c8 01 90 03 (01 00 00 02 05 06 00) | 02 03 02 03 42 6f 62 3c | 00")
	bob.Append(nil)
	p.Frogs[1].X += 0.5
	p.Frogs[2].X += 0.5
	step(2, "04 | 02 | 02 02 0a | 03 0a")
	bob.Append(nil)
	p.Frogs[1].Hand = append(p.Frogs[1].Hand, 7)
	ann.Ack(3)
	step(3, "06 03 | 02 | 02 08 (01 02 00 01 07 00)")
	if got := bob.Append(nil); len(got) != 0 {
		t.Errorf("a hidden change: Append = %x, want nothing", got)
	}
	ann.Near(&p.Frogs, 10, 20, 1)
	step(4, "04 | 02 | 01 01 02 | 00")
}

func TestDecoderFollows(t *testing.T) {
	p := &pond{Round: 1, Frogs: map[playerID]*frog{1: {Name: "Ann", X: 10, Y: 20, Hand: []uint8{5, 6}}}}
	s, err := New(p, Owner[playerID]())
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDecoder(s.Schema().JSON)
	if err != nil {
		t.Fatal(err)
	}
	v := s.NewView(playerID(1))
	if err := s.Tick(5); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(v.Append(nil)); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"round": int64(1), "frogs": map[string]any{"1": map[string]any{
		"name": "Ann", "x": 10.0, "y": 20.0, "hand": []any{int64(5), int64(6)},
	}}}
	if got := d.State(); !reflect.DeepEqual(got, want) {
		t.Errorf("State() = %v, want %v", got, want)
	}
	if d.Tick() != 5 {
		t.Errorf("Tick() = %d, want 5", d.Tick())
	}
}
