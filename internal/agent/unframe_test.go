package agent

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/lonng/nano/internal/packet"
)

// unframe parses one server frame (RFC 6455, section 5.2), and returns its payload and
// the bytes after it. It reports false if b ends within the frame.
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

// TestFrame checks that each packet gets its own frame, whatever its size, and that the
// bytes before it are unchanged.
func TestFrame(t *testing.T) {
	var packets []byte
	sizes := []int{0, 1, 120, 121, 122, 123, 250, 0xffff - 4, 0xffff - 3, 1 << 20}
	for _, n := range sizes {
		packets = append(packets, pack(t, packet.Data, strings.Repeat("x", n))...)
	}
	b := frame([]byte("before"), packets)
	if !bytes.HasPrefix(b, []byte("before")) {
		t.Fatalf("what was before the frames is now % x", b[:6])
	}
	b = b[6:]
	for _, n := range sizes {
		opcode, got, rest, whole := unframe(t, b)
		if !whole || opcode != 2 || len(got) != packet.HeadLength+n || !bytes.HasPrefix(packets, got) {
			t.Fatalf("a frame of opcode %d with %d bytes, want a packet of %d bytes", opcode, len(got), n)
		}
		b, packets = rest, packets[len(got):]
	}
	if len(b) != 0 {
		t.Errorf("%d bytes are left over", len(b))
	}
}
