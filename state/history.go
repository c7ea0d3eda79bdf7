package state

import (
	"iter"
	"slices"
)

// defaultHistory is the number of ticks that maps with the tag history keep: half a second
// at 20 ticks a second.
const defaultHistory = 10

// History sets how many ticks the maps with the tag history keep for [Map.At], at least 1.
// The default is 10. Maps forget what they keep if the number changes.
func (s *Sync) History(ticks int) { s.history = max(ticks, 1) }

// remember keeps the entries of the maps with the tag history.
func (s *Sync) remember() {
	for _, r := range s.regions {
		if r.field.history && r.m.core != nil {
			r.m.core.remember(s.tick, s.history)
		}
	}
}

// Past is the content of a [Map] at an earlier tick. It is valid until the next
// [Sync.Tick]. The zero Past is empty.
type Past[K Key, T any] struct {
	m *moment[K, T]
}

// moment is the content of a map at one tick.
type moment[K Key, T any] struct {
	tick uint64
	keys []K // ascending
	vals []T
}

// history is a ring of moments.
type history[K Key, T any] struct {
	ring   []moment[K, T]
	latest int
	n      int // moments in ring
}

func (c *core[K, T]) remember(tick uint64, size int) {
	h := &c.past
	if len(h.ring) != size {
		*h = history[K, T]{ring: make([]moment[K, T], size)}
	}
	h.latest = (h.latest + 1) % size
	h.n = min(h.n+1, size)
	m := &h.ring[h.latest]
	clear(m.vals) // what the entries point to
	m.tick, m.keys, m.vals = tick, m.keys[:0], m.vals[:0]
	c.sort()
	for _, it := range c.order {
		if it.val != nil {
			m.keys = append(m.keys, it.key)
			m.vals = append(m.vals, *it.val)
		}
	}
}

// At returns the content of the map at the end of a tick, for lag compensation: a server
// that knows the tick that a player saw can test a shot against that state. The map needs
// the tag history, and is a map of the root. It keeps the latest ticks; see [Sync.History].
//
// If the state was not sent at the tick, At returns the latest state before it. If the map
// does not keep the tick any more, At returns the oldest state that it keeps: compare
// [Past.Tick]. Before the first [Sync.Tick] the result is empty. At panics if the state was
// sent and the map does not have the tag.
func (m *Map[K, T]) At(tick uint64) Past[K, T] {
	c := m.c
	if c == nil || c.m == nil {
		return Past[K, T]{}
	}
	if c.m.region == nil || !c.m.region.field.history {
		panic("state: At: the map is not a map of the root with the tag history")
	}
	h := &c.past
	var found *moment[K, T]
	for i := range h.n {
		found = &h.ring[(h.latest-i+len(h.ring))%len(h.ring)]
		if found.tick <= tick {
			break
		}
	}
	return Past[K, T]{found}
}

// Tick returns the tick of the state, 0 if there is none.
func (p Past[K, T]) Tick() uint64 {
	if p.m == nil {
		return 0
	}
	return p.m.tick
}

// Len returns the number of keys.
func (p Past[K, T]) Len() int {
	if p.m == nil {
		return 0
	}
	return len(p.m.keys)
}

// Get returns a copy of the value of key k, and whether the map had it. Pointers, slices
// and maps in the copy refer to what they refer to now.
func (p Past[K, T]) Get(k K) (v T, ok bool) {
	if p.m == nil {
		return v, false
	}
	i, ok := slices.BinarySearch(p.m.keys, k)
	if !ok {
		return v, false
	}
	return p.m.vals[i], true
}

// All yields the keys and copies of the values in the order of the keys.
func (p Past[K, T]) All() iter.Seq2[K, T] {
	return func(yield func(K, T) bool) {
		if p.m == nil {
			return
		}
		for i, k := range p.m.keys {
			if !yield(k, p.m.vals[i]) {
				return
			}
		}
	}
}
