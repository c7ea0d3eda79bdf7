package state

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

type loop struct {
	N    int
	Next *loop
}

type level0 struct{ A level1 }
type level1 struct{ A level2 }
type level2 struct{ A level3 }
type level3 struct{ A level4 }
type level4 struct{ A level5 }
type level5 struct{ A level6 }
type level6 struct{ A level7 }
type level7 struct{ A level8 }
type level8 struct{ B bool }

type shallow struct{ A level3 }

func TestNewListsFaults(t *testing.T) {
	type hand struct {
		Cards []uint8 `state:"owner"`
	}
	type deep struct {
		Cards []uint8 `state:"level=2"`
	}
	for _, c := range []struct {
		name string
		root any
		want []string // lines of the error, without the first
	}{
		{"kinds", struct {
			I any
			F func()
			C chan int
			Z complex64
			P *int
			M map[float64]int
			V map[string]frog
			L [][]int
			T time.Time
			D []map[string]int
		}{}, []string{
			"state.I: interface {} cannot be sent",
			"state.F: func() cannot be sent",
			"state.C: chan int cannot be sent",
			"state.Z: complex64 cannot be sent",
			"state.P: a pointer has to point to a struct, not to int",
			"state.M: a map's key is a string or an integer, not float64",
			"state.V: structs in a map cannot be changed in place: hold *state.frog",
			"state.L[]: []int within a list or a map: wrap it in a struct",
			"state.T: time.Time has no exported fields",
			"state.D[]: map[string]int within a list or a map: wrap it in a struct",
		}},
		{"tags", struct {
			a int     `state:"q=1"`
			B int     `state:"q=0.1"`
			C float32 `state:"q=-1"`
			D float32 `state:"snap"`
			E float32 `state:"q=1,turn"`
			F float32 `state:"turn=5"`
			G int32   `state:"big"`
			H string  `state:"enum=a"`
			J bool    `state:"colour=red"`
			K bool    `state:"name=a b"`
			L bool    `state:"level=16"`
			M bool    `state:"touch"`
			N bool    `state:"level"`
			O bool    `state:"owner=1"`
			P int8    `state:"enum=a,big"`
			Q int     `state:"name=__proto__"`
			R float32 `state:"q=NaN"`
		}{}, []string{
			"state.a: a tagged field has to be exported",
			"state.B: q is not for an integer",
			"state.C: q=-1 is not a positive number",
			"state.D: snap needs q or turn",
			"state.E: q and turn exclude each other",
			"state.F: turn=5 is not an even number from 2 to 16777216",
			"state.G: big is for integers of 64 bits, not for int32",
			"state.H: enum is not for a string",
			`state.J: unknown tag "colour=red"`,
			"state.K: name=a b is not an identifier",
			"state.L: level=16 is not a number from 0 to 15",
			"state.M: touch is not for a bool",
			"state.N: level needs a value: level=...",
			"state.O: owner takes no value",
			"state.P: big is not for an enum",
			"state.P: enum and big exclude each other",
			"state.Q: name=__proto__ is not an identifier",
			"state.R: q=NaN is not a positive number",
		}},
		{"names", struct {
			HP  int
			Hp  int `state:"name=hp"`
			Pos vec
			Bad int `state:"name=pos"`
		}{}, []string{
			`state.Hp: the name "hp" is that of HP`,
			`state.Pos.X: the name "pos" is that of Bad`,
			`state.Pos.Y: the name "pos" is that of Bad`,
			`state.Pos.Far.Z: the name "pos" is that of Bad`,
		}},
		{"owner", struct {
			Root  int `state:"owner"`
			Other map[uint32]*hand
			Mine  map[playerID]*hand
			List  []hand
			Typed Map[string, hand]
			Deep  *deep
		}{}, []string{
			"state.Other[].Cards: owner needs a map keyed by state.playerID, not by uint32",
			"state.List[].Cards: owner needs a map of the root, keyed by the owner type",
			"state.Typed[].Cards: owner needs a map keyed by state.playerID, not by string",
			"state.Deep.Cards: level within state.deep: tag the field that holds it",
			"state.Root: owner needs a map of the root, keyed by the owner type",
		}},
		{"itself", struct{ L *loop }{}, []string{"state.L.Next: state.loop contains itself"}},
		{"depth", struct{ A level0 }{}, []string{"state.A.A.A.A.A.A.A.A: structs are at most 8 deep"}},
		{"snap of a map", struct {
			M map[string]float64 `state:"q=1,snap"`
		}{}, []string{"state.M: snap cannot change the values of a map"}},
		{"touch of a plain map", struct {
			M map[string]int `state:"touch"`
		}{}, []string{"state.M: touch is for a state.Map"}},
		{"a Map of scalars", struct{ M Map[string, int] }{}, []string{"state.M: a state.Map holds structs, not int"}},
	} {
		_, err := newSync(reflect.New(reflect.TypeOf(c.root)).Elem(), Owner[playerID]())
		if err == nil {
			t.Errorf("%s: New succeeded", c.name)
			continue
		}
		lines := strings.Split(err.Error(), "\n\t")[1:]
		if !reflect.DeepEqual(lines, c.want) {
			t.Errorf("%s: New's faults:\n\t%s\nwant\n\t%s", c.name, strings.Join(lines, "\n\t"), strings.Join(c.want, "\n\t"))
		}
	}
}

func TestNewTakes(t *testing.T) {
	for _, root := range []any{
		struct{}{}, shallow{}, struct{ A, B *shallow }{}, unit{}.Bag,
		struct {
			M Map[string, dot] `state:"touch,level=3,name=units"`
		}{},
	} {
		typ := reflect.TypeOf(root)
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if _, err := newSync(reflect.New(typ).Elem()); err != nil {
			t.Error(err)
		}
	}
}

func TestNewBounds(t *testing.T) {
	wide := func(n int) reflect.Value {
		var fields []reflect.StructField
		for i := range n {
			fields = append(fields, reflect.StructField{Name: "F" + strings.Repeat("x", i), Type: reflect.TypeFor[bool]()})
		}
		return reflect.New(reflect.StructOf(fields)).Elem()
	}
	if _, err := newSync(wide(64)); err != nil {
		t.Errorf("64 fields: %v", err)
	}
	if _, err := newSync(wide(65)); err == nil || !strings.Contains(err.Error(), "has 65 fields, more than 64") {
		t.Errorf("65 fields: %v", err)
	}
	if _, err := New(new(int)); err == nil {
		t.Error("New of an int succeeded")
	}
	if _, err := New[pond](nil); err == nil {
		t.Error("New of nil succeeded")
	}
	if _, err := New(&pond{}); err == nil || !strings.Contains(err.Error(), "pond.Frogs[].Hand: owner needs the option Owner") {
		t.Errorf("owner without the option: %v", err)
	}
}

func TestLowerCamel(t *testing.T) {
	for in, want := range map[string]string{
		"X": "x", "ID": "id", "HPMax": "hpMax", "UserID": "userID", "Name": "name", "X1": "x1", "HTTPServer": "httpServer",
		"A_B": "a_B",
	} {
		if got := lowerCamel(in); got != want {
			t.Errorf("lowerCamel(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSchema(t *testing.T) {
	var root struct {
		Units Map[playerID, unit]
		Rates map[int64]float64 `state:"q=0.25"`
		Marks map[string]*dot
	}
	s, err := New(&root, Owner[playerID]())
	if err != nil {
		t.Fatal(err)
	}
	want := `[["",["units","map","uint",["obj",1]],["rates","map","int",["q",4]],["marks","map","str",["obj",4]]],` +
		`["unit",["level","int"],["alive","bool"],["name","str"],["x","q",10],["y","q",10],["angle","turn",256],` +
		`["exact","num"],["wide","num"],["big","big"],["ubig","ubig"],["mood","enum",["calm","angry","sad"]],` +
		`["pos.x","num"],["pos.y","num"],["pos.deep.z","int"],["bag","obj",2],["names","list",["str"]],` +
		`["bits","list",["bool"]],["path","list",["q",2]],["cards","list",["obj",3]],["bags","map","int",["obj",2]],` +
		`["typed","map","str",["obj",3]],["flags","map","uint",["bool"]],` +
		`["hand","list",["u8"]],["secret","int"],["deep","obj",3]],` +
		`["bag",["gold","int"],["cards","list",["struct",3]],["best","obj",3],["items","map","str",["big"]]],` +
		`["card",["suit","enum",["hearts","spades","äöü"]],["rank","i8"],["up","bool"],["tags","list",["str"]]],` +
		`["dot",["x","num"],["y","num"],["color","int"],["hurt","bool"],["label","str"]]]`
	if got := s.Schema().JSON; got != want {
		t.Errorf("Schema().JSON = %s\nwant %s", got, want)
	}
	if got := s.Schema().Hash; len(got) != 16 {
		t.Errorf("Schema().Hash = %q, want 16 digits", got)
	}
	if _, err := parseSchema(want); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"", "{}", "[]", "[[]]", `[["a",["b"]]]`, `[["a",["b","obj",7]]]`, `[["a",["b","obj",0]]]`, `[["a",["b","what"]]]`,
		`[["a",["b","q",0]]]`, `[["a",["b","enum",[]]]]`, `[["a",["b","map","float",["int"]]]]`, `[["a",["b","list",[]]]]`,
		`[["a",["b","list",["list",["list",["list",["int"]]]]]]]`,
	} {
		if _, err := NewDecoder(bad); err == nil {
			t.Errorf("NewDecoder(%q) succeeded", bad)
		}
	}
}
