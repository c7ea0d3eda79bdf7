package contract_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/lonng/nano/cmd/nano/internal/contract"
	"github.com/lonng/nano/cmd/nano/internal/programtest"
)

const oldProgram = `
package main

import (
	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

type Mode string

const (
	Fast Mode = "fast"
	Slow Mode = "slow"
)

type In struct {
	Name   string
	Count  int64
	Mode   Mode
	Parent *In
	Gone   int // field
}

type Out struct {
	Total int32
	Names []string
	Label string
	Mode  Mode
	Inner Inner
}

type Inner struct{ Score int16 }

type Box struct{ component.Base }

func (*Box) Open(s *session.Session, in *In) (*Out, error) { return nil, nil }

func (*Box) Close(s *session.Session, in *In) error { return nil } // route

func (*Box) Answered(s *session.Session, in *Inner) (*Inner, error) { return nil, nil } // reply

var OnOpen = nano.PushRoute[Out]("onOpen") // push

func main() {
	cs := &component.Components{}
	cs.Register(&Box{})
	nano.Listen(":0", nano.WithComponents(cs), nano.WithSerializer(json.NewSerializer()))
}
`

// changed loads the old program after replacing each pair of texts.
func changed(t *testing.T, pairs ...string) *contract.Contract {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(oldProgram, pairs[i]) {
			t.Fatalf("the program has no %q", pairs[i])
		}
	}
	return load(t, programtest.Write(t, map[string]string{"main.go": strings.NewReplacer(pairs...).Replace(oldProgram)}))
}

func TestDiffFindsBreakingChanges(t *testing.T) {
	now := changed(t,
		"	Gone   int // field\n", "",
		"Count  int64", "Count  int32",
		"Parent *In", "Parent []In",
		"func (*Box) Close(s *session.Session, in *In) error { return nil } // route\n", "",
		"func (*Box) Answered(s *session.Session, in *Inner) (*Inner, error) { return nil, nil } // reply",
		"func (*Box) Answered(s *session.Session, in *Inner) error { return nil }",
		`var OnOpen = nano.PushRoute[Out]("onOpen") // push`, "",
		"Total int32", "Total int64",
		"Names []string", "Names map[string]string",
		"Label string\n", "Label string `json:\",omitempty\"`\n",
		"Score int16", "Score string",
		`Slow Mode = "slow"`, `Idle Mode = "idle"`,
	)
	want := []string{
		"field Count of request of route Box.Open was int64 and is int32",
		"field Gone of request of route Box.Open is gone",
		"field Label of reply of route Box.Open may be missing now",
		"field Mode of reply of route Box.Open may have the new value idle",
		"field Mode of request of route Box.Open does not take the value slow any more",
		"field Names of reply of route Box.Open was list of string and is map of string",
		"field Parent of request of route Box.Open was In and is list of In",
		"field Score of field Inner of reply of route Box.Open was int16 and is string",
		"field Score of request of route Box.Answered was int16 and is string",
		"field Total of reply of route Box.Open was int32 and is int64",
		"push onOpen is gone",
		"route Box.Answered has no reply any more",
		"route Box.Close is gone",
	}
	got := contract.Diff(changed(t), now)
	if !slices.Equal(got, want) {
		t.Errorf("changes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDiffAllowsCompatibleChanges(t *testing.T) {
	now := changed(t,
		"type In struct {", "type In struct {\n	Extra string",
		"type Out struct {", "type Out struct {\n	Extra []string",
		"Total int32", "Total int16",
		"	Label string", "	Label Label",
		"type Box struct", "type Label string\n\nconst LabelA Label = \"a\"\n\ntype Box struct",
		"// route", "\n\nfunc (*Box) New(s *session.Session, in *In) error { return nil }",
		"// reply", "// the same with another comment",
		"// push", "\n\nvar OnMore = nano.PushRoute[Out](\"onMore\")",
	)
	if got := contract.Diff(changed(t), now); len(got) != 0 {
		t.Errorf("changes:\n%s\nwant none", strings.Join(got, "\n"))
	}
	if got := contract.Diff(now, now); len(got) != 0 {
		t.Errorf("changes between a contract and itself: %q, want none", got)
	}
}

// A contract of a file has float64 numbers.
func TestDiffWithParsedContract(t *testing.T) {
	enum := func(values ...int64) *contract.Contract {
		typ := &contract.Type{Kind: contract.KindEnum, Elem: &contract.Type{Kind: contract.KindInt, Bits: 64}}
		for _, v := range values {
			typ.Values = append(typ.Values, contract.Value{Name: "V", Value: v})
		}
		return &contract.Contract{
			Version: contract.Version,
			Routes:  []contract.Route{{Route: "Box.Open", Kind: contract.Request, Request: typ, Reply: typ}},
		}
	}
	data, err := enum(-1, 0, 1<<20, 1<<62+1).JSON()
	if err != nil {
		t.Fatal(err)
	}
	old, err := contract.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if got := contract.Diff(old, enum(-1, 0, 1<<20, 1<<62+1)); len(got) > 0 {
		t.Errorf("changes between a contract and itself: %q, want none", got)
	}
	want := []string{
		"reply of route Box.Open may have the new value 3000000",
		"request of route Box.Open does not take the value 1048576 any more",
	}
	if got := contract.Diff(old, enum(-1, 0, 3e6, 1<<62+1)); !slices.Equal(got, want) {
		t.Errorf("changes: %q, want %q", got, want)
	}
}

// TestDiffOfWidenings checks that a request may accept more, but that an answer may not have more.
func TestDiffOfWidenings(t *testing.T) {
	num := func(kind string, bits int) *contract.Type { return &contract.Type{Kind: kind, Bits: bits} }
	list := func(n int) *contract.Type {
		return &contract.Type{Kind: contract.KindList, Len: n, Elem: num(contract.KindInt, 32)}
	}
	field := func(optional bool) *contract.Type {
		return &contract.Type{Kind: contract.KindStruct, Fields: []contract.Field{{Name: "A", Type: num(contract.KindInt, 32), Optional: optional}}}
	}
	for _, c := range []struct {
		name             string
		serializer       string
		narrow, wide     *contract.Type
		request, replies int // changes if the request, or the reply, becomes wider
	}{
		{"int to float", "json", num(contract.KindInt, 32), num(contract.KindFloat, 64), 0, 1},
		{"int to a float that rounds it", "json", num(contract.KindInt, 64), num(contract.KindFloat, 32), 1, 1},
		{"int to float in protobuf", "protobuf", num(contract.KindInt, 32), num(contract.KindFloat, 64), 1, 1},
		{"array to slice", "json", list(3), list(0), 0, 1},
		{"array to longer array", "json", list(3), list(4), 1, 1},
		{"field that becomes optional", "json", field(false), field(true), 0, 1},
		{"field that is new", "json", &contract.Type{Kind: contract.KindStruct}, field(false), 0, 0},
	} {
		diff := func(request, reply [2]*contract.Type) []string {
			of := func(i int) *contract.Contract {
				return &contract.Contract{Serializer: c.serializer, Routes: []contract.Route{{Route: "Box.Open", Request: request[i], Reply: reply[i]}}}
			}
			return contract.Diff(of(0), of(1))
		}
		same, wider := [2]*contract.Type{c.narrow, c.narrow}, [2]*contract.Type{c.narrow, c.wide}
		if got := diff(wider, same); len(got) != c.request {
			t.Errorf("%s, in a request: changes %q, want %d", c.name, got, c.request)
		}
		if got := diff(same, wider); len(got) != c.replies {
			t.Errorf("%s, in a reply: changes %q, want %d", c.name, got, c.replies)
		}
	}
}

func TestDiffOfErrors(t *testing.T) {
	of := func(codes ...string) *contract.Contract {
		c := &contract.Contract{}
		for _, code := range codes {
			c.Errors = append(c.Errors, contract.Error{Code: code})
		}
		return c
	}
	want := []string{"error FULL is gone"}
	if got := contract.Diff(of("FULL", "LATE"), of("LATE", "NEW")); !slices.Equal(got, want) {
		t.Errorf("changes: %q, want %q", got, want)
	}
}

// TestParseVersions checks that the error for a contract of another version says what to do.
func TestParseVersions(t *testing.T) {
	for data, want := range map[string]string{
		`{"routes": []}`:  "contract: the file is not a contract: it has no version; nano routes --json prints one",
		`{"version": -1}`: "contract: version -1 is too old, want 1: print it again from its source with nano routes --json",
		`{"version": 2}`:  "contract: version 2 is too new, want 1: update the nano command",
	} {
		if _, err := contract.Parse([]byte(data)); err == nil || err.Error() != want {
			t.Errorf("Parse(%s) = %v, want %s", data, err, want)
		}
	}
}
