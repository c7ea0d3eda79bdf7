package agent

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// unframe takes one frame of a server apart, as RFC 6455 section 5.2 has it, and returns what follows. It reports
// false where b ends within the frame.
func unframe(t testing.TB, b []byte) (opcode byte, payload, rest []byte, whole bool) {
	t.Helper()
	if len(b) < 2 {
		return 0, nil, nil, false
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		t.Fatalf("frame % x..., want a final one, unmasked", b[:min(len(b), 10)])
	}
	opcode = b[0] & 0x0f
	n, at := uint64(b[1]), 2
	switch {
	case n == 126 && len(b) >= 4:
		if n, at = uint64(binary.BigEndian.Uint16(b[2:])), 4; n < 126 {
			t.Fatalf("a length of %d in two bytes, want the shortest form", n)
		}
	case n == 127 && len(b) >= 10:
		if n, at = binary.BigEndian.Uint64(b[2:]), 10; n <= 0xffff {
			t.Fatalf("a length of %d in eight bytes, want the shortest form", n)
		}
	}
	if uint64(len(b)-at) < n {
		return 0, nil, nil, false
	}
	b = b[at:]
	return opcode, b[:n], b[n:], true
}

func TestCloseFrame(t *testing.T) {
	for _, n := range []int{0, 1, 124, 125, 126, 127, 128, 255, 256, 0xfffe, 0xffff, 0x10000, 0x10001, 1 << 20} {
		payload := bytes.Repeat([]byte{'x', 'y', 'z'}, n/3+1)[:n]
		before := []byte("before")
		b := append(append(bytes.Clone(before), frameBinary, 0), payload...)
		b = completeFrame(b, len(before))
		if !bytes.HasPrefix(b, before) {
			t.Fatalf("%d bytes: what was before the frame is now % x", n, b[:len(before)])
		}
		opcode, got, rest, whole := unframe(t, b[len(before):])
		if !whole || opcode != 2 || !bytes.Equal(got, payload) || len(rest) != 0 {
			t.Errorf("%d bytes: opcode %d, %d bytes, %d left over", n, opcode, len(got), len(rest))
		}
	}
}

func TestAppendClose(t *testing.T) {
	for _, test := range []struct {
		code uint16
		want []byte
	}{
		{0, []byte{0x88, 2, 3, 0xe8}},
		{closeGoingAway, []byte{0x88, 2, 3, 0xe9}},
		{closeProtocolError, []byte{0x88, 2, 3, 0xea}},
		{closeUnsupported, []byte{0x88, 2, 3, 0xeb}},
		{closeNone, []byte{0x88, 0}},
	} {
		if got := appendClose([]byte("x"), test.code); !bytes.Equal(got[1:], test.want) {
			t.Errorf("appendClose(%d) = % x, want % x", test.code, got[1:], test.want)
		}
	}
}
