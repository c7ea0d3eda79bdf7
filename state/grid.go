package state

import (
	"iter"
	"math"
	"math/bits"
)

// keep is the radius at which an entry leaves a view, divided by the radius at which it
// enters.
const keep = 1.08

// grid finds entries by position. It is a hash table of square cells, built once a tick
// by a counting sort.
type grid struct {
	seq    uint64
	cell   float32 // edge of a cell
	mask   uint32  // mask for bucket numbers
	starts []int32 // start of each bucket in spots
	spots  []spot
}

type spot struct {
	x, y float32
	h    uint32
}

// cellOf returns the number of the cell of coordinate x.
func (g *grid) cellOf(x float32) int32 {
	c := math.Floor(float64(x / g.cell))
	return int32(min(max(c, -1<<30), 1<<30))
}

// bucket returns the bucket of a cell. Cells of one column are in consecutive buckets, so
// that a search reads a column in one range.
func (g *grid) bucket(cx, cy int32) uint32 {
	h := uint32(cx) * 0x9e3779b1
	return (h ^ h>>15 + uint32(cy)) & g.mask
}

// build sorts the live entries of r into cells of edge cell.
func (g *grid) build(r *region, cell float32) {
	r.locate()
	g.seq, g.cell = r.s.seq, cell
	width := max(bits.Len(uint(2*r.m.n)), 4)
	g.mask = 1<<width - 1
	n := 1<<width + 1
	if cap(g.starts) < n {
		g.starts = make([]int32, n)
	}
	g.starts = g.starts[:n]
	clear(g.starts)
	extend(&g.spots, r.m.n)
	g.spots = g.spots[:r.m.n]
	// Count, then make each start the end of its bucket, then fill from the end.
	for h := range r.m.live.all {
		g.starts[g.bucket(g.cellOf(r.xs[h]), g.cellOf(r.ys[h]))]++
	}
	sum := int32(0)
	for i, c := range g.starts {
		sum += c
		g.starts[i] = sum
	}
	for h := range r.m.live.all {
		b := g.bucket(g.cellOf(r.xs[h]), g.cellOf(r.ys[h]))
		g.starts[b]--
		g.spots[g.starts[b]] = spot{r.xs[h], r.ys[h], uint32(h)}
	}
}

// scan calls f for each entry within distance of the point x, y. It may call f twice for
// an entry, and for entries beyond the distance.
func (r *region) scan(x, y, distance float32, f func(spots []spot)) {
	if !(distance >= 0) || r.m.n == 0 {
		return
	}
	g := &r.grid
	if g.seq != r.s.seq {
		cell := distance / 3
		if !(cell > 1e-6) || cell > math.MaxFloat32/4 {
			cell = 1
		}
		g.build(r, cell)
	}
	x0, x1 := g.cellOf(x-distance), g.cellOf(x+distance)
	y0, y1 := g.cellOf(y-distance), g.cellOf(y+distance)
	if cells := (float64(x1) - float64(x0) + 1) * (float64(y1) - float64(y0) + 1); !(cells <= float64(r.m.n)) {
		f(g.spots)
		return
	}
	for cx := x0; cx <= x1; cx++ {
		// Both ends are buckets. The range wraps around if the last is below the first.
		first, last := g.bucket(cx, y0), g.bucket(cx, y1)
		switch {
		case uint32(y1-y0) >= g.mask:
			f(g.spots)
		case first <= last:
			f(g.spots[g.starts[first]:g.starts[last+1]])
		default:
			f(g.spots[g.starts[first]:])
			f(g.spots[:g.starts[last+1]])
		}
	}
}

// search adds the entries within the circle to now, and also the entries of before that
// are slightly beyond. Both bitmaps are as long as the bitmap of live entries.
func (r *region) search(c circle, before, now bitmap) {
	near, far := c.r*c.r, c.r*keep*c.r*keep
	r.scan(c.x, c.y, c.r*keep, func(spots []spot) {
		for i := range spots {
			s := &spots[i]
			dx, dy := s.x-c.x, s.y-c.y
			d := dx*dx + dy*dy
			// There is no branch, because the processor could not predict it.
			w, bit := s.h>>6, s.h&63
			now[w] |= (one(d <= near) | one(d <= far)&(before[w]>>bit)) << bit
		}
	})
}

// one returns 1 for true and 0 for false.
func one(b bool) (n uint64) {
	if b {
		n = 1
	}
	return n
}

// Near yields the entries within r of the point x, y, in the same order in each run of a
// game. Positions are those of the last [Sync.Tick]; entries that were put since are not
// found. It is for a map of the root. Near panics if the values have no numeric fields X
// and Y.
func (m *Map[K, T]) Near(x, y, r float32) iter.Seq2[K, *T] {
	return func(yield func(K, *T) bool) {
		if m.c == nil || m.c.m == nil || m.c.m.region == nil {
			return
		}
		c, at := m.c, m.c.m.region
		if !at.positioned() {
			panic("state: Near: the values have no numeric fields X and Y")
		}
		var found bitmap
		found.grow(len(at.m.live))
		at.search(circle{x, y, r}, found, found)
		for h := range found.all {
			if v := c.vals[h]; v != nil && !yield(c.keys[h], v) {
				return
			}
		}
	}
}
