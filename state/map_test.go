package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestMap(t *testing.T) {
	var m Map[int, dot]
	if m.Len() != 0 || m.Get(1) != nil || m.Delete(1) {
		t.Error("the zero Map is not empty")
	}
	m.Touch(1)
	for range m.All() {
		t.Error("the zero Map yields an entry")
	}
	want := map[int]*dot{}
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		k := r.IntN(60) - 30
		switch r.IntN(5) {
		case 0:
			_, ok := want[k]
			if got := m.Delete(k); got != ok {
				t.Fatalf("Delete(%d) = %v, want %v", k, got, ok)
			}
			delete(want, k)
		case 1, 2:
			want[k] = &dot{X: r.Float32()}
			m.Put(k, want[k])
		case 3:
			var keys, sorted []int
			for k, v := range m.All() {
				if v != want[k] {
					t.Fatalf("All yields %p for %d, want %p", v, k, want[k])
				}
				keys = append(keys, k)
			}
			for k := range want {
				sorted = append(sorted, k)
			}
			if slices.Sort(sorted); !slices.Equal(keys, sorted) {
				t.Fatalf("All yields %v, want %v", keys, sorted)
			}
		}
		if m.Get(k) != want[k] || m.Len() != len(want) {
			t.Fatalf("Get(%d) = %p, want %p; Len() = %d, want %d", k, m.Get(k), want[k], m.Len(), len(want))
		}
	}
}

func TestMapAllWhileItChanges(t *testing.T) {
	var m Map[int, dot]
	for i := range 10 {
		m.Put(i*2, &dot{})
	}
	var keys []int
	for k := range m.All() {
		keys = append(keys, k)
		m.Delete(k + 2)
		m.Put(k+1, &dot{})
		for range m.All() { // sorts the added keys
			break
		}
	}
	if got, want := fmt.Sprint(keys), "[0 4 8 12 16]"; got != want {
		t.Errorf("All yields %s, want %s", got, want)
	}
}

func TestMapTouch(t *testing.T) {
	var root struct {
		Dots Map[int, dot] `state:"touch"`
	}
	for i := range 4 {
		root.Dots.Put(i, &dot{})
	}
	s := mustNew(t, &root)
	c := newClient(t, s, nil)
	mustTick(t, s)
	c.flush()
	root.Dots.Get(3).X = 3
	root.Dots.Get(1).X = 1
	root.Dots.Get(2).X = 2
	root.Dots.Touch(3)
	root.Dots.Touch(1)
	root.Dots.Touch(1)
	root.Dots.Touch(9)
	mustTick(t, s)
	c.flush()
	if got := fmt.Sprint(c.get("dots", "1", "x"), c.get("dots", "2", "x"), c.get("dots", "3", "x")); got != "1 0 3" {
		t.Errorf("after Touch of 1 and 3 the client has %s", got)
	}
	root.Dots.Touch(2)
	root.Dots.Delete(2)
	root.Dots.Put(2, &dot{X: 5})
	root.Dots.Put(0, &dot{X: 6})
	root.Dots.Touch(1)
	root.Dots.Delete(1)
	mustTick(t, s)
	c.flush()
	if got := fmt.Sprint(c.keys("dots"), c.get("dots", "2", "x"), c.get("dots", "0", "x")); got != "[0 2 3] 5 6" {
		t.Errorf("the client has %s", got)
	}
}

func TestMapDeleteAndPutKeepsEntry(t *testing.T) {
	w := line(3)
	s := mustNew(t, w)
	c := newClient(t, s, nil)
	mustTick(t, s)
	c.flush()
	old := w.Dots.Get(1)
	w.Dots.Delete(1)
	w.Dots.Put(1, &dot{X: 1, Label: "new"})
	old.X = 99 // no longer in the map
	mustTick(t, s)
	msg := c.v.Append(nil)
	if want := "\x04\x01\x04\x10\x03new"; string(msg) != want {
		t.Errorf("Append = %x, want %x", msg, want)
	}
}

func TestMapNear(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	w := &dots{}
	for range w.Dots.Near(0, 0, 1) {
		t.Error("Near of a Map that is not sent yields an entry")
	}
	for i := range 500 {
		w.Dots.Put(i, &dot{X: r.Float32()*200 - 100, Y: r.Float32()*200 - 100})
	}
	w.Dots.Get(7).X = 1e30
	w.Dots.Get(8).X = -1e30
	s := mustNew(t, w)
	mustTick(t, s)
	for range 200 {
		x, y, distance := r.Float32()*240-120, r.Float32()*240-120, r.Float32()*r.Float32()*150
		var got, want []int
		for k := range w.Dots.Near(x, y, distance) {
			got = append(got, k)
		}
		for k, v := range w.Dots.All() {
			if dx, dy := v.X-x, v.Y-y; dx*dx+dy*dy <= distance*distance {
				want = append(want, k)
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Fatalf("Near(%v, %v, %v) yields %v, want %v", x, y, distance, got, want)
		}
	}
	w.Dots.Delete(3)
	for k := range w.Dots.Near(0, 0, 1e30) {
		if k == 3 {
			t.Error("Near yields an entry that was deleted")
		}
	}
}
