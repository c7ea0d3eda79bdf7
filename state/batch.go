package state

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// batchSize is the number of entries that are compared at once, field by field. Their
// values fit the first-level cache.
const batchSize = 64

// batch holds entries of a region that are compared at once.
type batch struct {
	n       int
	handles [batchSize]int32
	masks   [batchSize]uint64 // changed fields
	slow    [batchSize]uint64 // changed fields without a code, which are not recorded as sent yet
	codes   []uint64          // codes of the other changed fields, batchSize for each field
}

func newBatch(p *plan) *batch { return &batch{codes: make([]uint64, len(p.fields)*batchSize)} }

// column returns the codes of field f.
func (b *batch) column(f int) *[batchSize]uint64 {
	return (*[batchSize]uint64)(b.codes[f*batchSize:])
}

// A code holds the bytes that encode a difference, the first byte in the lowest bits. The
// highest byte is their number, at most 7.
const codeLen = 56

// shortCode returns the code of z as a varint of one or two bytes. z is below 1<<14.
func shortCode(z uint64) uint64 {
	more := (z + 1<<14 - 1<<7) >> 14 // 1 if there are two bytes
	return 1<<codeLen + z + z&^0x7f + more*(1<<codeLen+1<<7)
}

// code returns the code of the difference between slot last and slot n. It returns false if
// the difference takes more bytes than a code has.
func (v *value) code(last, n uint64) (c uint64, ok bool) {
	var data [16]byte
	size := len(v.append(data[:0], last, n))
	return binary.LittleEndian.Uint64(data[:]) | uint64(size)<<codeLen, size <= 7
}

// add is update for the entries of word w that are set in need, which cols bind. It may
// delay the update until flush.
func (r *region) add(w int, need uint64, cols columns) {
	b := r.batch
	n := b.n
	for x := need; x != 0; x &= x - 1 {
		if n == batchSize {
			b.n = n
			r.flush(cols)
			n = 0
		}
		b.handles[n&(batchSize-1)] = int32(w<<6 + bits.TrailingZeros64(x))
		n++
	}
	b.n = n
}

// flush compares the entries of the batch, encodes what changed, and empties the batch.
func (r *region) flush(cols columns) {
	b := r.batch
	if b.n == 0 {
		return
	}
	clear(b.masks[:b.n])
	clear(b.slow[:b.n])
	for _, c := range cols {
		c.compare(b, &r.m.tab)
	}
	r.encode(b, cols)
	b.n = 0
}

// encode appends the records of the entries of the batch that changed.
func (r *region) encode(b *batch, cols columns) {
	e := &r.s.enc
	room := 1 + 8*len(cols) // for the tag and the codes
	for i := 0; i < b.n; i++ {
		if r.levels < 2 {
			if i = r.encodeShort(b, i); i == b.n {
				return
			}
		}
		mask := b.masks[i]
		if mask == 0 {
			continue
		}
		if cap(e.buf)-len(e.buf) < room {
			e.buf = slices.Grow(e.buf, room)
		}
		at := len(e.buf)
		if r.levels > 1 {
			mask = r.encodeLevels(b, i, mask, cols)
		} else {
			e.buf = e.buf[:at+1] // for the tag
			mask = r.encodeFields(b, i, mask, cols)
		}
		if mask == 0 {
			e.buf = e.buf[:at]
			continue
		}
		r.record(int(b.handles[i]), mask, at)
	}
}

// encodeShort appends the records of entries from index i on, until one needs more than
// codes and a short head. It returns the index of that one. The loop calls no functions,
// so its variables stay in registers.
func (r *region) encodeShort(b *batch, i int) int {
	e := &r.s.enc
	size := cap(e.buf)
	rest := e.buf[len(e.buf):size]
	codes, recs, changed, last, lastMask := b.codes, r.recs, r.changed, r.last, r.lastMask
	room := 2 + len(codes)/(batchSize/8)
	for ; i < b.n; i++ {
		mask := b.masks[i&(batchSize-1)]
		if mask == 0 {
			continue
		}
		h := int(b.handles[i&(batchSize-1)])
		tag := h - last
		if tag >= 0x40 || mask != lastMask && mask >= 0x80 || b.slow[i&(batchSize-1)] != 0 || len(rest) < room {
			break
		}
		if last < 0 {
			r.run.from = uint32(size - len(rest))
		}
		if mask == lastMask {
			rest[0] = byte(tag<<1 | 1)
			rest = rest[1:]
		} else {
			rest[0], rest[1] = byte(tag<<1), byte(mask)
			rest = rest[2:]
		}
		from := size - len(rest)
		for x := mask; x != 0; x &= x - 1 {
			c := codes[bits.TrailingZeros64(x)*batchSize+i]
			binary.LittleEndian.PutUint64(rest, c) // the bytes after the code are overwritten
			rest = rest[c>>codeLen:]
		}
		recs[h] = rec{mask, span{uint32(from), uint32(size - len(rest))}}
		changed[h>>6] |= 1 << (h & 63)
		last, lastMask = h, mask
	}
	e.buf = e.buf[:size-len(rest)]
	r.last, r.lastMask = last, lastMask
	return i
}

// encodeFields appends the fields in mask of entry i of the batch. It returns the mask
// without those that cannot be sent.
func (r *region) encodeFields(b *batch, i int, mask uint64, cols columns) uint64 {
	e := &r.s.enc
	out := e.buf[:cap(e.buf)]
	n := len(e.buf)
	for x := mask; x != 0; x &= x - 1 {
		f := bits.TrailingZeros64(x)
		if b.slow[i]>>f&1 == 0 {
			c := b.codes[f*batchSize+i]
			binary.LittleEndian.PutUint64(out[n:], c) // the bytes after the code are overwritten
			n += int(c >> codeLen)
			continue
		}
		h := int(b.handles[i])
		buf, ok := cols[f].append(out[:n], h, &r.m.tab)
		if !ok {
			mask &^= x & -x
			e.unsentField(r.m, h, f, cols)
			continue
		}
		n = len(buf)
		out = slices.Grow(buf, 8*len(cols))
		out = out[:cap(out)]
	}
	e.buf = out[:n]
	return mask
}

// encodeLevels is encodeFields for entries with levels.
func (r *region) encodeLevels(b *batch, i int, mask uint64, cols columns) (sent uint64) {
	ends := r.endsOf(int(b.handles[i]))
	var below uint64
	for level, fields := range r.m.val.obj.levels {
		sent |= r.encodeFields(b, i, mask&fields&^below, cols)
		ends[level] = uint32(len(r.s.enc.buf))
		below = fields
	}
	return sent
}

// unsentField reports field f of entry h of m, whose value cannot be sent.
func (e *encoder) unsentField(m *members, h, f int, cols columns) {
	last := &e.trail[len(e.trail)-1]
	last.m, last.at = m, h
	d := &m.val.obj.fields[f]
	e.unsent(&d.value, d.path, cols[f].value(h))
}
