package state

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// The bits of a message's head. The ticks start above them.
const (
	headSnapshot = 1 << iota
	headAck
	headBits = iota
)

// appendUint appends x as an unsigned varint.
func appendUint(b []byte, x uint64) []byte {
	if x < 0x80 {
		return append(b, byte(x))
	}
	return binary.AppendUvarint(b, x)
}

// zigzag maps small integers of either sign to small unsigned ones.
func zigzag(x int64) uint64 { return uint64(x)<<1 ^ uint64(x>>63) }

// unzigzag undoes zigzag.
func unzigzag(x uint64) int64 { return int64(x>>1) ^ -int64(x&1) }

// uintLen returns the length of x as an unsigned varint.
func uintLen(x uint64) int { return (bits.Len64(x|1) + 6) / 7 }

// The first bytes of a num: small integers take one or two bytes.
const (
	numInt2    = 0x80 // and one byte: integers to 16383
	numNeg1    = 0xc0 // -1 to -32
	numNeg2    = 0xe0 // and one byte: integers to -4096
	numFloat32 = 0xf0
	numFloat64 = 0xf1
)

// appendNum appends the exact value of x in its shortest form.
func appendNum(b []byte, x float64) []byte {
	if n := int64(x); n >= -4096 && n <= 16383 && float64(n) == x {
		switch {
		case n >= 128:
			return append(b, byte(numInt2|(n>>8)), byte(n))
		case n >= 0:
			return append(b, byte(n))
		case n >= -32:
			return append(b, byte(numNeg1|(-1-n)))
		}
		n = -1 - n
		return append(b, byte(numNeg2|(n>>8)), byte(n))
	}
	if f := float32(x); float64(f) == x || x != x {
		return binary.LittleEndian.AppendUint32(append(b, numFloat32), math.Float32bits(f))
	}
	return binary.LittleEndian.AppendUint64(append(b, numFloat64), math.Float64bits(x))
}

// insertUint inserts x as an unsigned varint at offset at of b.
func insertUint(b []byte, at int, x uint64) []byte {
	n := uintLen(x)
	for range n {
		b = append(b, 0)
	}
	copy(b[at+n:], b[at:len(b)-n])
	binary.PutUvarint(b[at:at+n], x)
	return b
}

// bitmap is a set of handles. Its length is a whole number of words of 64 bits.
type bitmap []uint64

func (b bitmap) has(h int) bool { return h>>6 < len(b) && b[h>>6]>>(h&63)&1 != 0 }

func (b *bitmap) set(h int) {
	b.grow(h>>6 + 1)
	(*b)[h>>6] |= 1 << (h & 63)
}

func (b bitmap) unset(h int) {
	if h>>6 < len(b) {
		b[h>>6] &^= 1 << (h & 63)
	}
}

// grow makes b at least n words long.
func (b *bitmap) grow(n int) {
	for len(*b) < n {
		*b = append(*b, 0)
	}
}

// copyFrom makes b the set src.
func (b *bitmap) copyFrom(src bitmap) { *b = append((*b)[:0], src...) }
