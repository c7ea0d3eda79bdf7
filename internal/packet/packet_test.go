package packet

import (
	"bytes"
	"testing"
)

func TestHeader(t *testing.T) {
	tests := []struct {
		typ  Type
		n    int
		wire []byte
	}{
		{Handshake, 0, []byte{1, 0, 0, 0}},
		{Ack, 1, []byte{2, 0, 0, 1}},
		{Heartbeat, 255, []byte{3, 0, 0, 0xff}},
		{Data, 256, []byte{4, 0, 1, 0}},
		{Data, 64 << 10, []byte{4, 1, 0, 0}},
		{Data, 0x123456, []byte{4, 0x12, 0x34, 0x56}},
		{Kick, MaxLength, []byte{5, 0xff, 0xff, 0xff}},
		{0xff, MaxLength, []byte{0xff, 0xff, 0xff, 0xff}},
	}
	for _, test := range tests {
		b := []byte{9, 9, 9, 9, 9}
		PutHeader(b, test.typ, test.n)
		if !bytes.Equal(b[:HeadLength], test.wire) || b[HeadLength] != 9 {
			t.Errorf("PutHeader(%v, %d) = %x, want %x09", test.typ, test.n, b, test.wire)
		}
		if typ, n := Header(append(test.wire, 9)); typ != test.typ || n != test.n {
			t.Errorf("Header(%x) = %v, %d, want %v, %d", test.wire, typ, n, test.typ, test.n)
		}
	}
}

func TestType(t *testing.T) {
	names := map[Type]string{Handshake: "handshake", Ack: "ack", Heartbeat: "heartbeat", Data: "data", Kick: "kick"}
	for i := range 256 {
		typ := Type(i)
		name, valid := names[typ]
		if !valid {
			name = "unknown"
		}
		if typ.Valid() != valid || typ.String() != name {
			t.Errorf("type %d: Valid() = %v, String() = %q, want %v, %q", i, typ.Valid(), typ.String(), valid, name)
		}
	}
}
