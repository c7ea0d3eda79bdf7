package state

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

type shape2D struct {
	X    float32 `state:"q=0.5,snap"`
	Y    float32
	Name string
	Path []int
	path int // a field that is never sent is kept too
}

type arena struct {
	Shapes Map[int32, shape2D] `state:"history"`
	Rest   Map[string, dot]
}

// contents returns what a past holds, checked against Get.
func contents(t *testing.T, p Past[int32, shape2D]) map[int32]string {
	t.Helper()
	out := map[int32]string{}
	last := int32(-1 << 31)
	for k, v := range p.All() {
		if k < last {
			t.Fatalf("key %d after %d", k, last)
		}
		last = k
		got, ok := p.Get(k)
		if text := fmt.Sprint(v); !ok || fmt.Sprint(got) != text {
			t.Fatalf("Get(%d) = %v, %v, want %s", k, got, ok, text)
		}
		out[k] = fmt.Sprint(v.X, v.Y, v.Name, v.path)
	}
	if p.Len() != len(out) {
		t.Fatalf("Len = %d, want %d", p.Len(), len(out))
	}
	for k := range int32(40) {
		if _, ok := p.Get(k); ok != (out[k] != "") {
			t.Fatalf("Get(%d) = %v", k, ok)
		}
	}
	return out
}

// TestHistory plays random games against a model that keeps everything.
func TestHistory(t *testing.T) {
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 9))
		a := &arena{}
		s, err := New(a)
		if err != nil {
			t.Fatal(err)
		}
		size := defaultHistory
		if seed > 0 {
			size = 1 + r.IntN(12)
			s.History(size)
		}
		if p := a.Shapes.At(1); p.Len() != 0 || p.Tick() != 0 {
			t.Fatalf("before the first Tick, At = %d entries of tick %d", p.Len(), p.Tick())
		}
		a.Shapes.Put(1, &shape2D{Name: "n1"})
		var ticks []uint64
		model := map[uint64]map[int32]string{}
		tick := uint64(0)
		for range 60 {
			for range r.IntN(6) {
				k := int32(r.IntN(40))
				switch v := a.Shapes.Get(k); {
				case v == nil || r.IntN(8) == 0:
					a.Shapes.Put(k, &shape2D{Name: fmt.Sprint("n", k), X: r.Float32() * 100, Path: []int{1}})
				case r.IntN(4) == 0:
					a.Shapes.Delete(k)
				default:
					v.X += r.Float32()
					v.Y = r.Float32()
					v.path++
				}
			}
			tick += 1 + r.Uint64N(3)
			if err := s.Tick(tick); err != nil {
				t.Fatal(err)
			}
			now := map[int32]string{}
			for k, v := range a.Shapes.All() {
				now[k] = fmt.Sprint(v.X, v.Y, v.Name, v.path)
			}
			model[tick] = now
			for _, v := range a.Shapes.All() {
				v.Y, v.path = -1, -1 // At returns the end of the tick, without what happens after
			}
			ticks = append(ticks, tick)
			kept := ticks[max(0, len(ticks)-size):]
			for _, at := range []uint64{0, kept[0] - 1, kept[0], kept[len(kept)/2], kept[len(kept)/2] + 1, tick - 1, tick, tick + 9, math.MaxUint64} {
				want := kept[0]
				for _, k := range kept {
					if k <= at {
						want = k
					}
				}
				p := a.Shapes.At(at)
				if p.Tick() != want {
					t.Fatalf("seed %d: At(%d) is of tick %d, want %d of %v", seed, at, p.Tick(), want, kept)
				}
				if got := contents(t, p); !maps.Equal(got, model[want]) {
					t.Fatalf("seed %d: At(%d) = %v, want %v", seed, at, got, model[want])
				}
			}
		}
	}
}

func TestHistoryOfAMapThatIsReplaced(t *testing.T) {
	a := &arena{}
	s, err := New(a)
	if err != nil {
		t.Fatal(err)
	}
	a.Shapes.Put(1, &shape2D{Name: "old"})
	_ = s.Tick(1)
	a.Shapes = Map[int32, shape2D]{}
	_ = s.Tick(2)
	if n := a.Shapes.At(2).Len(); n != 0 {
		t.Errorf("an empty map holds %d entries", n)
	}
	a.Shapes.Put(2, &shape2D{Name: "new"})
	_ = s.Tick(3)
	if v, ok := a.Shapes.At(1).Get(2); !ok || v.Name != "new" {
		t.Errorf("Get = %v, %v, want the entry of the new map, whose oldest tick is 3", v, ok)
	}
	if _, ok := a.Shapes.At(1).Get(1); ok {
		t.Error("the new map holds an entry of the old one")
	}
	s.History(3)
	_ = s.Tick(4)
	if got := a.Shapes.At(3).Tick(); got != 4 {
		t.Errorf("after History, At(3) is of tick %d, want 4", got)
	}
}

func TestHistoryFaults(t *testing.T) {
	for _, test := range []struct {
		name string
		f    func() error
		want string
	}{
		{"a plain map", func() error {
			_, err := New(&struct {
				M map[string]int `state:"history"`
			}{})
			return err
		}, "state.M: history is for a state.Map of the root"},
		{"a map within an entity", func() error {
			_, err := New(&struct {
				M map[string]*struct {
					N Map[string, dot] `state:"history"`
				}
			}{})
			return err
		}, "state.M[].N: history is for a state.Map of the root"},
		{"a list", func() error {
			_, err := New(&struct {
				L []int `state:"history"`
			}{})
			return err
		}, "state.L: history is for a state.Map of the root"},
		{"a number", func() error {
			_, err := New(&struct {
				N int `state:"history"`
			}{})
			return err
		}, "state.N: history is not for an integer"},
		{"a value", func() error {
			_, err := New(&struct {
				M Map[string, dot] `state:"history=10"`
			}{})
			return err
		}, "state.M: history takes no value"},
	} {
		err := test.f()
		if err == nil || !slices.Contains(strings.Split(err.Error(), "\n\t"), test.want) {
			t.Errorf("%s: New = %v, want %q", test.name, err, test.want)
		}
	}
}

func TestHistoryWithoutTag(t *testing.T) {
	a := &arena{}
	s, err := New(a)
	if err != nil {
		t.Fatal(err)
	}
	a.Rest.Put("a", &dot{})
	_ = s.Tick(1)
	defer func() {
		if recover() == nil {
			t.Error("At of a map without the tag history did not panic")
		}
	}()
	a.Rest.At(1)
}

// TestHistoryAllocations checks that a steady map needs no memory.
func TestHistoryAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	a := &arena{}
	s, err := New(a)
	if err != nil {
		t.Fatal(err)
	}
	for k := range int32(100) {
		a.Shapes.Put(k, &shape2D{})
	}
	tick := uint64(0)
	step := func() {
		tick++
		for _, v := range a.Shapes.All() {
			v.Y++
		}
		_ = s.Tick(tick)
	}
	for range 2 * defaultHistory {
		step()
	}
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("%v allocations a tick, want 0", n)
	}
}
