package wsframe

import (
	"encoding/binary"
	"math/bits"
)

// Mask masks or unmasks b in place. The lowest byte of key belongs to b[0]. Mask returns
// the key for the bytes that follow b.
func Mask(b []byte, key uint32) uint32 {
	if len(b) >= 8 {
		word := uint64(key)<<32 | uint64(key)
		for ; len(b) >= 32; b = b[32:] {
			w := b[:32]
			binary.LittleEndian.PutUint64(w, binary.LittleEndian.Uint64(w)^word)
			binary.LittleEndian.PutUint64(w[8:], binary.LittleEndian.Uint64(w[8:])^word)
			binary.LittleEndian.PutUint64(w[16:], binary.LittleEndian.Uint64(w[16:])^word)
			binary.LittleEndian.PutUint64(w[24:], binary.LittleEndian.Uint64(w[24:])^word)
		}
		for ; len(b) >= 8; b = b[8:] {
			binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
		}
	}
	for i := range b {
		b[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
	return key
}
