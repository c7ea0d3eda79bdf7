package gents

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lonng/nano/cmd/nano/internal/contract"
)

func sample() *contract.Contract {
	ref := func(name string) *contract.Type { return &contract.Type{Kind: contract.KindRef, Name: name} }
	number := &contract.Type{Kind: contract.KindInt, Bits: 64}
	return &contract.Contract{
		Version:    contract.Version,
		Package:    "example.org/game",
		Serializer: "json",
		Routes: []contract.Route{
			{Route: "Room.Join", Kind: contract.Request, Doc: "Join takes a seat.", Request: ref("example.org/game.join"), Reply: ref("example.org/game.Seat")},
			{Route: "Room.Say", Kind: contract.Notify, Request: &contract.Type{Kind: contract.KindRaw}},
			{Route: "Room.Count", Kind: contract.Request, Internal: true, Request: ref("example.org/game.join")},
		},
		Pushes: []contract.Push{{Route: "onSeat", Name: "OnSeat", Type: ref("example.org/game.Seat")}},
		Errors: []contract.Error{{Code: "ROOM-FULL"}},
		Types: map[string]*contract.Type{
			"example.org/game.join": {Kind: contract.KindStruct, Name: "example.org/game.join", Fields: []contract.Field{
				{Name: "name", Type: &contract.Type{Kind: contract.KindString}},
				{Name: "tags", Type: &contract.Type{Kind: contract.KindList, Elem: &contract.Type{Kind: contract.KindString}, Nullable: true}},
				{Name: "color", Type: ref("example.org/game.Color"), Optional: true},
			}},
			"example.org/game.Seat": {Kind: contract.KindStruct, Name: "example.org/game.Seat", Doc: "Seat is a place.", Fields: []contract.Field{
				{Name: "number", Type: number},
				{Name: "id", Type: &contract.Type{Kind: contract.KindInt, Bits: 64, Quoted: true}},
				{Name: "points-by-name", Type: &contract.Type{Kind: contract.KindMap, Key: &contract.Type{Kind: contract.KindString}, Elem: number}},
			}},
			"example.org/game.Color": {Kind: contract.KindEnum, Name: "example.org/game.Color", Elem: number, Values: []contract.Value{
				{Name: "Red", Value: int64(0)}, {Name: "Blue", Value: int64(1)},
			}},
		},
	}
}

func TestGenerate(t *testing.T) {
	got, err := Generate(sample())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"export interface Join {\n  name: string;\n  tags: string[] | null;\n  color?: Color;\n}",
		"/** Seat is a place. */\nexport interface Seat {\n  number: number;\n  id: string;\n  'points-by-name': Record<string, number>;\n}",
		"export type Color = 0 | 1;",
		"  Red: 0,\n  Blue: 1,\n} as const;",
		"  /** Join takes a seat. */\n  'Room.Join': { request: Join; reply: Seat };",
		"  'Room.Say': { notify: any };",
		"  onSeat: { push: Seat };",
		"export type ErrorCode = 'ROOM-FULL';",
		"return new Client<Routes>(url, options);",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the client does not contain\n%s\nIt is\n%s", want, got)
		}
	}
	if strings.Contains(got, "Room.Count") {
		t.Error("the client has a route that is for other nodes only")
	}
	if again, _ := Generate(sample()); again != got {
		t.Error("the same contract makes another client")
	}
}

func TestGenerateProtobuf(t *testing.T) {
	c := sample()
	c.Serializer = "protobuf"
	c.Types["example.org/game.Seat"] = &contract.Type{Kind: contract.KindMessage, Name: "example.org/game.Seat", Fields: []contract.Field{
		{Name: "number", Number: 1, Wire: "varint", Type: &contract.Type{Kind: contract.KindInt, Bits: 64}},
		{Name: "deltas", Number: 2, Wire: "packed:zigzag32", Type: &contract.Type{Kind: contract.KindList, Elem: &contract.Type{Kind: contract.KindInt, Bits: 32}}},
		{Name: "points", Number: 3, Wire: "map:bytes:fixed64", Type: &contract.Type{
			Kind: contract.KindMap, Key: &contract.Type{Kind: contract.KindString}, Elem: &contract.Type{Kind: contract.KindFloat, Bits: 64},
		}},
	}}
	got, err := Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  number: bigint;",
		"  [1, 'number', 'one', 'int64'],",
		"  [2, 'deltas', 'packed', 'sint32'],",
		"  [3, 'points', 'map', 'double', 'string'],",
		"codec: protobuf(codecs())",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the client does not contain\n%s\nIt is\n%s", want, got)
		}
	}
}

func TestIdentifier(t *testing.T) {
	for _, c := range []struct{ name, want, withPackage string }{
		{"example.org/game.Seat", "Seat", "GameSeat"},
		{"main.seat_map", "SeatMap", "MainSeatMap"},
		{"example.org/2048.Seat", "Seat", "_2048Seat"},
		{"example.org/game.Page[string]", "PageString", "GamePageString"},
		{"example.org/game.Page[[]*example.org/other.Seat]", "PageSeat", "GamePageSeat"},
		{"example.org/game.Pair[int,map[string]example.org/game.Pair[a.A,b.B]]", "PairIntMapPairAB", "GamePairIntMapPairAB"},
	} {
		if got, with := identifier(c.name, false), identifier(c.name, true); got != c.want || with != c.withPackage {
			t.Errorf("identifier(%s) = %s, with its package %s, want %s and %s", c.name, got, with, c.want, c.withPackage)
		}
	}
}

// A type of a program must not hide a name that the code of protobuf.ts uses.
func TestNamesOfRuntimeAreReserved(t *testing.T) {
	code := regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*|'[^'\n]*'`).ReplaceAllString(runtime, "")
	names := strings.Fields(reserved + " " + reservedByRuntime)
	for _, name := range regexp.MustCompile(`[.\w]+`).FindAllString(code, -1) {
		name, _, _ = strings.Cut(name, ".")
		if regexp.MustCompile(`^[A-Z]\w`).MatchString(name) && !slices.Contains(names, name) {
			t.Errorf("protobuf.ts uses %s, which is not reserved", name)
		}
	}
}

func TestConflictsOfNames(t *testing.T) {
	text := &contract.Type{Kind: contract.KindString}
	message := &contract.Type{Kind: contract.KindRaw}
	const refused = " names two of the routes, pushes and kinds of rooms, which a protobuf client cannot tell apart: rename one"
	pond := contract.Room{Kind: "pond", State: text, Create: message, Messages: []contract.Route{{Route: "Jump", Kind: contract.Notify, Request: message}}}
	for _, c := range []struct {
		name     string
		contract contract.Contract
		json     string // errors
		protobuf string
	}{
		{"nothing shared", contract.Contract{
			Routes: []contract.Route{{Route: "a", Request: message}, {Route: "b", Internal: true, Request: message}},
			Pushes: []contract.Push{{Route: "b", Type: message}, {Route: "Jump", Type: message}},
			Rooms:  []contract.Room{pond},
		}, "", ""},
		{"the same push twice", contract.Contract{
			Pushes: []contract.Push{{Route: "a", Type: message}, {Route: "a", Type: &contract.Type{Kind: contract.KindRaw}}},
		}, "", ""},
		{"a push of two types", contract.Contract{
			Pushes: []contract.Push{{Route: "a", Type: message}, {Route: "b", Type: text}, {Route: "a", Type: text}},
		}, `gen ts: the push "a" is declared with two types`, `gen ts: the push "a" is declared with two types`},
		{"a push and a handler", contract.Contract{
			Routes: []contract.Route{{Route: "a", Request: message}}, Pushes: []contract.Push{{Route: "a", Type: message}},
		}, "", `gen ts: "a"` + refused},
		{"a push and a kind", contract.Contract{
			Pushes: []contract.Push{{Route: "pond", Type: message}}, Rooms: []contract.Room{pond},
		}, "", `gen ts: "pond"` + refused},
		{"a push and a message", contract.Contract{
			Pushes: []contract.Push{{Route: "pond.Jump", Type: message}}, Rooms: []contract.Room{pond},
		}, "", `gen ts: "pond.Jump"` + refused},
		{"a creation and a kind", contract.Contract{
			Rooms: []contract.Room{pond, {Kind: "pond.create", State: text}},
		}, "", `gen ts: "pond.create"` + refused},
	} {
		for serializer, want := range map[string]string{"json": c.json, "protobuf": c.protobuf} {
			c.contract.Serializer = serializer
			got := ""
			if _, err := Generate(&c.contract); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("%s, %s: Generate = %q, want %q", c.name, serializer, got, want)
			}
		}
	}
}
