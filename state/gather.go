package state

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// section returns the section of a view without hidden entries at level 0.
func (r *region) section() []byte {
	if r.sharedSeq == r.s.seq {
		return r.shared
	}
	r.sharedSeq = r.s.seq
	if r.levels > 1 {
		r.own = r.gather(r.own[:0], &area{}, r.before, r.m.live, 0)
		r.shared = r.own
		return r.shared
	}
	r.shared = nil
	if r.last >= 0 {
		r.shared = r.s.enc.buf[r.run.from:r.run.to]
	}
	if len(r.m.resting)+len(r.m.added) > 0 {
		r.own = r.appendBlock(r.own[:0], &area{}, nil, r.before, r.m.live, 0)
		r.own = append(r.own, r.shared...)
		r.shared = r.own
	}
	return r.shared
}

// gather appends the section of a client. before holds the entries that the client had,
// and now those that it will have. The levels of entries are in a.raised and a.next.
func (r *region) gather(b []byte, a *area, before, now bitmap, level int) []byte {
	turned := a.turned(before, now)
	b = r.appendBlock(b, a, turned, before, now, level)
	return r.records(b, a, turned, before, now, level)
}

// appendBlock appends the entries that leave and those that enter, if there are any. The entries
// in turned have changed their level, so they leave and enter again.
func (r *region) appendBlock(b []byte, a *area, turned []int, before, now bitmap, level int) []byte {
	n, enters := len(turned), len(turned)
	for w, x := range now {
		n += bits.OnesCount64(before.word(w) &^ x)
		enters += bits.OnesCount64(x &^ before.word(w))
	}
	if n+enters == 0 {
		return b
	}
	b = append(b, 1)
	b = appendUint(b, uint64(n))
	b = r.leaves(b, turned, before, now)
	b = r.enters(b, a, turned, before, now, level)
	return append(b, 0)
}

// word returns word w of b, or 0 beyond its end.
func (b bitmap) word(w int) uint64 {
	if w < len(b) {
		return b[w]
	}
	return 0
}

// of returns the bits of the ascending handles that fall in word w, and the rest.
func of(handles []int, w int) (word uint64, rest []int) {
	for len(handles) > 0 && handles[0]>>6 == w {
		word |= 1 << (handles[0] & 63)
		handles = handles[1:]
	}
	return word, handles
}

func (r *region) leaves(b []byte, turned []int, before, now bitmap) []byte {
	last := -1
	var x uint64
	for w := range before {
		x, turned = of(turned, w)
		for x |= before[w] &^ now.word(w); x != 0; x &= x - 1 {
			h := w<<6 + bits.TrailingZeros64(x)
			b = appendUint(b, uint64(h-last))
			last = h
		}
	}
	return b
}

func (r *region) enters(b []byte, a *area, turned []int, before, now bitmap, level int) []byte {
	last, mask := -1, uint64(0)
	raised := a.next
	scalar := r.levels == 0
	var x uint64
	for w := range now {
		x, turned = of(turned, w)
		for x |= now[w] &^ before.word(w); x != 0; x &= x - 1 {
			h := w<<6 + bits.TrailingZeros64(x)
			c := r.full(h)
			if r.levels > 1 {
				var at int
				at, raised = levelOf(raised, h, level)
				c = r.cut(c, r.fullEnd, h, at)
			}
			tag := uint64(h-last) << 1
			switch {
			case scalar:
				b = appendUint(b, tag)
			case c.mask == mask:
				b = appendUint(b, tag|1)
			default:
				b = appendUint(b, tag)
				b = appendUint(b, c.mask)
			}
			b = r.m.appendKey(b, h)
			b = append(b, r.s.enc.buf[c.from:c.to]...)
			last, mask = h, c.mask
		}
	}
	return b
}

func (r *region) records(b []byte, a *area, turned []int, before, now bitmap, level int) []byte {
	last, mask := -1, uint64(0)
	raised := a.next
	scalar := r.levels == 0
	buf := r.s.enc.buf
	var skip uint64
	for w, x := range r.changed {
		skip, turned = of(turned, w)
		for x &= now.word(w) & before.word(w) &^ skip; x != 0; x &= x - 1 {
			h := w<<6 + bits.TrailingZeros64(x)
			c := r.recs[h]
			if r.levels > 1 {
				var at int
				at, raised = levelOf(raised, h, level)
				if c = r.cut(c, r.ends, h, at); c.mask == 0 {
					continue // only fields that the client does not see changed
				}
			}
			tag := uint64(h-last) << 1
			switch {
			case scalar:
				b = appendUint(b, tag)
			case c.mask == mask:
				b = appendUint(b, tag|1)
			default:
				b = appendUint(b, tag)
				b = appendUint(b, c.mask)
			}
			b = appendShort(b, buf, c.span)
			last, mask = h, c.mask
		}
	}
	return b
}

// appendShort appends the span of src, usually a few bytes. If there is room, it copies
// eight bytes at once, which is faster than calling memmove.
func appendShort(b, src []byte, s span) []byte {
	n, size := len(b), int(s.to-s.from)
	if size > 8 || cap(b)-n < 8 || len(src)-int(s.from) < 8 {
		return append(b, src[s.from:s.to]...)
	}
	binary.LittleEndian.PutUint64(b[n:n+8], binary.LittleEndian.Uint64(src[s.from:]))
	return b[:n+size]
}

// levelOf returns the level of handle h, and the raised entries from there on.
func levelOf(raised []raise, h, level int) (int, []raise) {
	for len(raised) > 0 && raised[0].handle < h {
		raised = raised[1:]
	}
	if len(raised) > 0 && raised[0].handle == h {
		return raised[0].level, raised
	}
	return level, raised
}

// turned returns the handles in before and now whose level changed, in ascending order.
// Changes are rare, so it may allocate.
func (a *area) turned(before, now bitmap) (out []int) {
	if slices.Equal(a.raised, a.next) {
		return nil
	}
	both := append(slices.Clone(a.raised), a.next...)
	for _, c := range both {
		was, _ := levelOf(a.raised, c.handle, -1)
		is, _ := levelOf(a.next, c.handle, -1)
		if was != is && before.has(c.handle) && now.has(c.handle) {
			out = append(out, c.handle)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// trim removes entering entries over the limit from a.now, the farthest first. It reports
// whether it removed none.
func (a *area) trim(r *region, before bitmap, own, limit int) bool {
	entering := 0
	for w, x := range a.now {
		entering += bits.OnesCount64(x &^ before.word(w))
	}
	if entering <= limit {
		return true
	}
	if len(a.circles) > 0 {
		r.locate()
	}
	type candidate struct {
		handle   int
		distance float32
	}
	var list []candidate
	for h := range a.now.all {
		if before.has(h) || h == own || slices.ContainsFunc(a.shown, func(s raise) bool { return s.handle == h }) {
			continue
		}
		c := candidate{handle: h}
		for i, at := range a.circles {
			dx, dy := r.xs[h]-at.x, r.ys[h]-at.y
			if d := dx*dx + dy*dy; i == 0 || d < c.distance {
				c.distance = d
			}
		}
		list = append(list, c)
	}
	if len(list) <= limit {
		return true
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.handle, b.handle))
	})
	for _, c := range list[limit:] {
		a.now.unset(c.handle)
	}
	return false
}
