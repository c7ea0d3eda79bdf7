package state

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

// Cargo has a field of every kind that can be saved.
type Cargo struct {
	On      bool
	Small   int8
	Big     int64  `state:"big"`
	Huge    uint64 `state:"big"`
	Ratio   float32
	Exact   float64 `state:"q=0.5"`
	Angle   float64 `state:"turn"`
	Name    string
	Mode    uint8 `state:"enum=a|b"`
	Nested  struct{ A, B int }
	Pointer *Crate
	None    *Crate
	List    []int
	Empty   []int
	Nil     []int
	Crates  []Crate
	Refs    []*Crate
	Three   [3]uint8
	Counts  map[string]int
	NoMap   map[string]int
	Plain   map[int32]*Crate
	Typed   Map[string, Crate]
	Zero    Map[uint8, Crate]
	private int
	Local   func() `state:"-"`
}

type Crate struct {
	Label string
	Items []string
	Deep  Map[int, Leaf]
}

type Leaf struct{ N float64 }

func cargo() *Cargo {
	c := &Cargo{
		On: true, Small: -128, Big: math.MinInt64, Huge: math.MaxUint64, Ratio: 0.1, Exact: 0.123456789, Angle: -40.25,
		Name: "näme\x00", Mode: 1, Pointer: &Crate{Label: "p"}, List: []int{1, -2, 3}, Empty: []int{},
		Crates: []Crate{{Label: "x", Items: []string{"", "y"}}, {}}, Refs: []*Crate{nil, {Label: "r"}}, Three: [3]uint8{7, 0, 255},
		Counts: map[string]int{"a": 1, "": -1}, Plain: map[int32]*Crate{-5: {Label: "five"}, 0: nil}, private: 3,
	}
	c.Nested.B = 9
	deep := &Crate{Label: "deep"}
	deep.Deep.Put(-1, &Leaf{math.Inf(-1)})
	c.Typed.Put("k", deep)
	c.Typed.Put("gone", &Crate{})
	c.Typed.Delete("gone")
	return c
}

func TestSaveIsExact(t *testing.T) {
	from := cargo()
	s, err := New(from)
	if err != nil {
		t.Fatal(err)
	}
	data := s.Save()
	to := &Cargo{List: []int{9}, private: 8, Pointer: &Crate{Label: "old"}}
	to.Typed.Put("old", &Crate{})
	s2, err := New(to)
	if err != nil {
		t.Fatal(err)
	}
	if err := s2.Tick(1); err != nil { // the map is attached
		t.Fatal(err)
	}
	if err := s2.Load(data); err != nil {
		t.Fatalf("Load = %v", err)
	}
	if to.private != 8 || to.Local != nil {
		t.Error("Load changed a field that is not sent")
	}
	if to.Typed.Len() != 1 || to.Typed.Get("k").Deep.Get(-1).N != math.Inf(-1) || to.Zero.Len() != 0 {
		t.Error("the maps differ")
	}
	want := cargo()
	want.private, want.Typed, to.Typed = 8, Map[string, Crate]{}, Map[string, Crate]{}
	if !reflect.DeepEqual(to, want) {
		t.Errorf("Load gives %+v, want %+v", to, want)
	}
}

// A client that follows the state gets what was loaded.
func TestLoadIsSent(t *testing.T) {
	from, to := cargo(), &Cargo{}
	s, err := New(from)
	if err != nil {
		t.Fatal(err)
	}
	s2, err := New(to)
	if err != nil {
		t.Fatal(err)
	}
	if err := s2.Load(s.Save()); err != nil {
		t.Fatal(err)
	}
	snapshot := func(s *Sync) map[string]any {
		d, err := NewDecoder(s.Schema().JSON)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Tick(5); err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(s.NewView(nil).Append(nil)); err != nil {
			t.Fatal(err)
		}
		return d.State()
	}
	if got, want := snapshot(s2), snapshot(s); !reflect.DeepEqual(got, want) {
		t.Errorf("the client has %v, want %v", got, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	s, err := New(cargo())
	if err != nil {
		t.Fatal(err)
	}
	data := s.Save()
	for n := range data {
		if err := s.Load(data[:n]); err == nil {
			t.Fatalf("Load of the first %d of %d bytes has no error", n, len(data))
		}
	}
	if err := s.Load(append(data, 0)); err == nil {
		t.Error("Load of a further byte has no error")
	}
	other, err := New(&struct{ A int }{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(other.Save()); err == nil || !strings.Contains(err.Error(), "schema") {
		t.Errorf("Load of another schema = %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	s, err := New(cargo())
	if err != nil {
		f.Fatal(err)
	}
	data := s.Save()
	head := len(s.Schema().Hash) + 1
	f.Add(data[head:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := New(&Cargo{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Load(append(data[:head:head], b...)) != nil {
			return
		}
		again, err := New(&Cargo{})
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Load(s.Save()); err != nil {
			t.Errorf("Load of what Save returned = %v", err)
		}
	})
}
