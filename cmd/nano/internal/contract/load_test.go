package contract_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lonng/nano/cmd/nano/internal/contract"
	"github.com/lonng/nano/cmd/nano/internal/programtest"
)

func load(t *testing.T, dir string, args ...string) *contract.Contract {
	t.Helper()
	c, err := contract.Load(t.Context(), dir, ".", args...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// form returns a type as JSON without zero fields.
func form(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const jsonProgram = `
package main

import (
	"context"
	"strings"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Color is a color.
type Color int

const (
	Red Color = iota + 1 // warm
	Blue
)

// Mood is a mood.
type Mood string

const Happy Mood = "happy"

type Upper struct{ ID int64; Hidden string }

type lower struct{ Note string }

type Far struct{ Deep bool }

type Custom struct{}

func (Custom) MarshalJSON() ([]byte, error) { return nil, nil }

type Texted struct{}

func (Texted) MarshalText() ([]byte, error) { return nil, nil }

type Tree []Tree

type Node struct{ Next *Node }

type Pair[A, B any] struct { First A; Second B }

type Embedded struct{ time.Time }

// Everything has a field of every kind.
type Everything struct {
	Upper
	lower
	*Far
	Hidden int    // wins over that of Upper
	Name   string ` + "`json:\"name\"`" + ` // the name
	Skip   chan int ` + "`json:\"-\"`" + `
	Dash   int ` + "`json:\"-,\"`" + `
	secret int
	Maybe  string ` + "`json:\",omitempty\"`" + `
	Struct Upper ` + "`json:\"struct,omitempty\"`" + `
	Zero   time.Time ` + "`json:\"zero,omitzero\"`" + `
	Gone   *int ` + "`json:\"gone,omitempty\"`" + `
	Quoted uint64 ` + "`json:\"quoted,string\"`" + `
	Bytes  []byte
	Array  [3]byte
	Time   time.Time
	Took   time.Duration
	Any    any
	Custom Custom
	Texted Texted
	Tree   Tree
	Node   Node
	Color  Color
	Moods  map[Mood]int32
	ByID   map[int64]*string
	Pair   Pair[string, Upper]
	Inline struct{ X, Y float32 }
	Proto  *durationpb.Duration
	At     Embedded
	Shade  *Color ` + "`json:\",string,omitempty\"`" + `
	Word   Mood   ` + "`json:\",string\"`" + `
	Suits  []Suit
	Plain  []Small
	Odd    int ` + "`json:\"it's,omitempty\"`" + `
	Text   Label  ` + "`json:\",string\"`" + `
}

type Label string

func (Label) MarshalText() ([]byte, error) { return nil, nil }

type Suit uint8

type Small uint8

type Sealed []byte

func (*Suit) MarshalText() ([]byte, error) { return nil, nil }

type Box struct{ component.Base }

// Open opens
// the box.
func (*Box) Open(s *session.Session, in *Everything) (*Everything, error) { return in, nil }

// Later answers later.
func (*Box) Later(s *session.Session, in *Upper) error {
	r := s.Defer()
	go func() { _ = r.Reply(&lower{}) }()
	return nil
}

func (*Box) Either(s *session.Session, in *Upper) error {
	if in.ID == 0 { return s.Response(&lower{}) }
	return s.Response(in)
}

func (*Box) Raw(s *session.Session, in []byte) error { return s.Response([]byte("x")) }

func (*Box) Small(s *session.Session, in []byte) error { return s.Response([]Small{1}) }

func (*Box) Sealed(s *session.Session, in []byte) error { return s.Response(Sealed("x")) }

func (*Box) Tell(s *session.Session, in *Upper) error { return nano.Errorf("FULL", "no room for %d", in.ID) }

func (*Box) Inner(ctx context.Context, in *Upper) (*Upper, error) { return in, nil }

func (*Box) NoHandler(s *session.Session, in Upper) error { return &nano.Error{Code: "LATE", Message: "too late"} }

// OnBox is a push.
var OnBox = nano.PushRoute[Upper](onBox)

const onBox = "on" + "Box"

func main() {
	cs := &component.Components{}
	cs.Register(&Box{}, component.WithName(strings.ToUpper("box")), component.WithNameFunc(strings.ToLower))
	nano.Listen(":0", nano.WithComponents(cs), nano.WithSerializer(json.NewSerializer()))
}
`

func TestLoad(t *testing.T) {
	dir := programtest.Write(t, map[string]string{"main.go": jsonProgram})
	c := load(t, dir)
	if c.Package != programtest.Module || c.Serializer != "json" {
		t.Errorf("package and serializer = %s and %q", c.Package, c.Serializer)
	}
	var routes []string
	for _, r := range c.Routes {
		line := r.Route + " " + r.Kind + " " + r.Component + "." + r.Method
		if r.Internal {
			line += " internal"
		}
		line += " " + form(t, r.Request)
		if r.Reply != nil {
			line += " " + form(t, r.Reply)
		}
		routes = append(routes, line)
	}
	const box = "example.com/game.Box."
	ref := func(name string) string { return `{"kind":"ref","name":"example.com/game.` + name + `"}` }
	want := []string{
		"BOX.either request " + box + "Either " + ref("Upper") + ` {"kind":"any"}`,
		"BOX.inner request " + box + "Inner internal " + ref("Upper") + " " + ref("Upper"),
		"BOX.later request " + box + "Later " + ref("Upper") + " " + ref("lower"),
		"BOX.open request " + box + "Open " + ref("Everything") + " " + ref("Everything"),
		"BOX.raw request " + box + `Raw {"kind":"raw"} {"kind":"raw"}`,
		"BOX.sealed request " + box + `Sealed {"kind":"raw"} {"kind":"bytes","nullable":true}`,
		"BOX.small request " + box + `Small {"kind":"raw"} {"kind":"bytes","nullable":true}`,
		"BOX.tell notify " + box + "Tell " + ref("Upper"),
	}
	if !slices.Equal(routes, want) {
		t.Errorf("routes:\n%s\nwant:\n%s", strings.Join(routes, "\n"), strings.Join(want, "\n"))
	}
	if got := c.Routes[3].Doc; got != "Open opens\nthe box." {
		t.Errorf("doc of BOX.open = %q", got)
	}
	if got, want := form(t, c.Pushes), `[{"route":"onBox","name":"OnBox","doc":"OnBox is a push.","type":`+ref("Upper")+`}]`; got != want {
		t.Errorf("pushes = %s, want %s", got, want)
	}
	if got, want := form(t, c.Errors), `[{"code":"FULL","text":"no room for %d"},{"code":"LATE","text":"too late"}]`; got != want {
		t.Errorf("errors = %s, want %s", got, want)
	}
	if got, want := form(t, c.Types["example.com/game.Color"]), `{"kind":"enum","name":"example.com/game.Color","doc":"Color is a color.",`+
		`"elem":{"kind":"int","bits":64},"values":[{"name":"Red","value":1,"doc":"warm"},{"name":"Blue","value":2}]}`; got != want {
		t.Errorf("Color = %s, want %s", got, want)
	}
}

func TestFields(t *testing.T) {
	c := load(t, programtest.Write(t, map[string]string{"main.go": jsonProgram}))
	ref := func(name string) string { return `{"kind":"ref","name":"example.com/game.` + name + `"}` }
	want := []struct {
		name, typ string
		optional  bool
	}{
		{"ID", `{"kind":"int","bits":64}`, false},
		{"Note", `{"kind":"string"}`, false},
		{"Deep", `{"kind":"bool"}`, true}, // behind a pointer
		{"Hidden", `{"kind":"int","bits":64}`, false},
		{"name", `{"kind":"string"}`, false},
		{"-", `{"kind":"int","bits":64}`, false},
		{"Maybe", `{"kind":"string"}`, true},
		{"struct", ref("Upper"), false}, // encoding/json never omits a struct
		{"zero", `{"kind":"time"}`, true},
		{"gone", `{"kind":"int","bits":64}`, true},
		{"quoted", `{"kind":"int","bits":64,"unsigned":true,"quoted":true}`, false},
		{"Bytes", `{"kind":"bytes","nullable":true}`, false},
		{"Array", `{"kind":"list","len":3,"elem":{"kind":"int","bits":8,"unsigned":true}}`, false},
		{"Time", `{"kind":"time"}`, false},
		{"Took", `{"kind":"int","doc":"nanoseconds","bits":64}`, false},
		{"Any", `{"kind":"any"}`, false},
		{"Custom", `{"kind":"any"}`, false},
		{"Texted", `{"kind":"string"}`, false},
		{"Tree", `{"kind":"list","nullable":true,"elem":{"kind":"any"}}`, false},
		{"Node", ref("Node"), false},
		{"Color", ref("Color"), false},
		{"Moods", `{"kind":"map","nullable":true,"key":` + ref("Mood") + `,"elem":{"kind":"int","bits":32}}`, false},
		{"ByID", `{"kind":"map","nullable":true,"key":{"kind":"int","bits":64},"elem":{"kind":"string","nullable":true}}`, false},
		{"Pair", ref("Pair[string,example.com/game.Upper]"), false},
		{"Inline", `{"kind":"struct","fields":[{"name":"X","go":"X","type":{"kind":"float","bits":32}},` +
			`{"name":"Y","go":"Y","type":{"kind":"float","bits":32}}]}`, false},
		{"Proto", `{"kind":"ref","name":"google.golang.org/protobuf/types/known/durationpb.Duration","nullable":true}`, false},
		{"At", `{"kind":"any"}`, false}, // it has the MarshalJSON of time.Time
		{"Shade", `{"kind":"int","bits":64,"quoted":true}`, true},
		{"Word", `{"kind":"string","quoted":true}`, false},
		{"Suits", `{"kind":"list","nullable":true,"elem":{"kind":"string"}}`, false},
		{"Plain", `{"kind":"bytes","nullable":true}`, false},
		{"Odd", `{"kind":"int","bits":64}`, true}, // encoding/json ignores a name with a quotation mark
		{"Text", `{"kind":"string"}`, false},      // encoding/json ignores the option "string"
	}
	fields := c.Types["example.com/game.Everything"].Fields
	for i, f := range fields {
		if i >= len(want) {
			t.Errorf("field %s is more than the %d that are wanted", f.Name, len(want))
			continue
		}
		if got := form(t, f.Type); f.Name != want[i].name || got != want[i].typ || f.Optional != want[i].optional {
			t.Errorf("field %d = %s %s optional: %v, want %s %s optional: %v",
				i, f.Name, got, f.Optional, want[i].name, want[i].typ, want[i].optional)
		}
	}
	if len(fields) < len(want) {
		t.Errorf("%d fields, want %d", len(fields), len(want))
	}
	// A protobuf message is described like any other struct when the
	// serializer is JSON.
	if got := c.Types["google.golang.org/protobuf/types/known/durationpb.Duration"]; got.Kind != contract.KindStruct || got.Fields[0].Name != "seconds" {
		t.Errorf("a message in JSON = %s, want a struct", form(t, got))
	}
}

func TestSameBytes(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	dir := programtest.Write(t, map[string]string{"main.go": jsonProgram})
	first, err := load(t, dir).JSON()
	if err != nil {
		t.Fatal(err)
	}
	second, err := load(t, dir).JSON()
	if err != nil {
		t.Fatal(err)
	}
	if string(first) != string(second) {
		t.Error("the contracts of two runs differ")
	}
	parsed, err := contract.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	third, err := parsed.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if string(first) != string(third) {
		t.Error("the contract differs after it was parsed")
	}
	if _, err := contract.Parse([]byte(strings.Replace(string(first), `"version": 1`, `"version": 2`, 1))); err == nil {
		t.Error("Parse of version 2 = nil, want an error")
	}
}

// Several packages may declare a push.
func TestPushDeclaredTwice(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	const again = "\n\nvar OnAgain = nano.PushRoute[Out](\"onOpen\")\n\nvar OnInner = nano.PushRoute[Inner](\"onInner\")"
	var got []string
	for _, p := range changed(t, "// push", again).Pushes {
		got = append(got, p.Route+" "+p.Name)
	}
	if want := []string{"onInner OnInner", "onOpen OnOpen"}; !slices.Equal(got, want) {
		t.Errorf("the pushes are %v, want %v", got, want)
	}
}

const protobufProgram = `
package main

import (
	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/session"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

type Box struct{ component.Base }

func (*Box) Open(s *session.Session, in *structpb.Value) (*timestamppb.Timestamp, error) { return nil, nil }

func main() {
	cs := &component.Components{}
	cs.Register(&Box{})
	nano.Listen(":0", nano.WithComponents(cs))
}
`

func TestProtobuf(t *testing.T) {
	c := load(t, programtest.Write(t, map[string]string{"main.go": protobufProgram}))
	if c.Serializer != "protobuf" {
		t.Errorf("serializer = %q, want protobuf, the default", c.Serializer)
	}
	var got []string
	for _, name := range []string{"structpb.Value", "structpb.Struct", "structpb.ListValue", "timestamppb.Timestamp"} {
		for _, f := range c.Types["google.golang.org/protobuf/types/known/"+name].Fields {
			line := name + " " + form(t, f.Number) + " " + f.Name + " " + f.Wire + " " + f.Type.Kind
			if f.Optional {
				line += " optional"
			}
			if f.Oneof != "" {
				line += " of " + f.Oneof
			}
			if f.Type.Nullable || f.Type.Elem != nil && f.Type.Elem.Nullable {
				line += " nullable"
			}
			got = append(got, line)
		}
	}
	want := []string{
		"structpb.Value 1 nullValue varint ref optional of kind",
		"structpb.Value 2 numberValue fixed64 float optional of kind",
		"structpb.Value 3 stringValue bytes string optional of kind",
		"structpb.Value 4 boolValue varint bool optional of kind",
		"structpb.Value 5 structValue bytes ref optional of kind",
		"structpb.Value 6 listValue bytes ref optional of kind",
		"structpb.Struct 1 fields map:bytes:bytes map",
		"structpb.ListValue 1 values bytes list",
		"timestamppb.Timestamp 1 seconds varint int",
		"timestamppb.Timestamp 2 nanos varint int",
	}
	if !slices.Equal(got, want) {
		t.Errorf("fields:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const dynamicProgram = `
package main

import (
	"context"
	"os"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

type Input struct{ N int }

type Fixed struct{ component.Base }

func (*Fixed) Get(s *session.Session, in *Input) error { return nil }

// Store is generic, so its name has those of its type arguments.
type Store[A, B any] struct{ component.Base }

func (*Store[A, B]) Get(s *session.Session, in *A) error { return nil }

type Named struct{ component.Base }

func (*Named) Get(s *session.Session, in *Input) error { return nil }

// Peer serves nodes alone, so its name does not matter.
type Peer struct{ component.Base }

func (*Peer) Get(ctx context.Context, in *Input) (*Input, error) { return in, nil }

func main() {
	cs := &component.Components{}
	cs.Register(&Fixed{})
	host, _ := os.Hostname()
	cs.Register(&Peer{}, component.WithName("peer-"+host))
	DYNAMIC
	nano.Listen(":-1", nano.WithComponents(cs), nano.WithSerializer(json.NewSerializer()))
}
`

func TestDynamicNames(t *testing.T) {
	dir := programtest.Write(t, map[string]string{"main.go": strings.Replace(dynamicProgram, "DYNAMIC",
		`cs.Register(&Store[Input, []*component.Base]{})
	for _, name := range os.Args[1:] { cs.Register(&Named{}, component.WithName(name)) }`, 1)})
	var got []string
	for _, r := range load(t, dir, "one", "two").Routes {
		got = append(got, r.Route+" "+form(t, r.Request))
	}
	const input = ` {"kind":"ref","name":"example.com/game.Input"}`
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Fixed.Get" + input, "Store[main.Input,[]*github.com/lonng/nano/component.Base].Get" + input, "one.Get" + input, "peer-" + host + ".Get" + input, "two.Get" + input}
	if !slices.Equal(got, want) {
		t.Errorf("routes = %q, want %q", got, want)
	}
}

func TestConstantNamesStartNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	dir := programtest.Write(t, map[string]string{"main.go": strings.Replace(dynamicProgram, "DYNAMIC",
		`_ = os.WriteFile("started", nil, 0o600)`, 1)})
	if got := load(t, dir).Routes; len(got) != 1 || got[0].Route != "Fixed.Get" {
		t.Errorf("routes = %s, want Fixed.Get alone", form(t, got))
	}
	if _, err := os.Stat(filepath.Join(dir, "started")); err == nil {
		t.Error("the program was started, want its source to be enough")
	}
}

func TestLoadFails(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	for _, c := range []struct{ name, source, want string }{
		{"no go files", "", "no Go files"},
		{"not compiling", "package main\nfunc main() { undefined() }\n", "undefined: undefined"},
		{"no main", "package game\n", "want a main package"},
		{"exits before", strings.Replace(dynamicProgram, "DYNAMIC",
			`cs.Register(&Named{}, component.WithName(host)); println("no database"); os.Exit(3)`, 1), "exit status 3\nno database"},
		{"two types of a name", strings.Replace(dynamicProgram, "DYNAMIC", `
	cs.Register(&Named{}, component.WithName("x"))
	{ type Local struct{ A int }; nano.PushRoute[Local]("a") }
	{ type Local struct{ B int }; nano.PushRoute[Local]("b") }`, 1), "declare two types example.com/game.Local"},
		{"a push without a constant", strings.Replace(dynamicProgram, "DYNAMIC", `nano.PushRoute[Input](host)`, 1),
			"is not a constant"},
		{"a channel", strings.Replace(dynamicProgram, "DYNAMIC", `nano.PushRoute[struct{ C chan int }]("c")`, 1),
			"push c: field C: a chan int cannot be sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{}
			if c.source != "" {
				files["main.go"] = c.source
			}
			_, err := contract.Load(t.Context(), programtest.Write(t, files), ".")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Load = %v, want %q in it", err, c.want)
			}
		})
	}
}
