package agent

import (
	"bytes"
	"io"
	"testing"
	"time"
)

// FuzzProxied reads a PROXY protocol header whole and in pieces. The address and the
// bytes after the header must be the same.
func FuzzProxied(f *testing.F) {
	v2 := "\r\n\r\n\x00\r\nQUIT\n"
	for _, s := range []string{
		"PROXY TCP4 203.0.113.9 198.51.100.1 4711 3250\r\n\x01\x00\x00\x00",
		"PROXY TCP6 2001:db8::9 2001:db8::1 4711 3250\r\n\x01",
		"PROXY UNKNOWN\r\n\x01\x00\x00\x00",
		"PROXY", "P", "\r", "", "\x01\x00\x00\x02{}",
		v2 + "\x21\x11\x00\x0c\xcb\x00\x71\x09\xc6\x33\x64\x01\x12\x67\x0c\xb2\x01\x00\x00\x00",
		v2 + "\x20\x00\x00\x00\x01", v2 + "\x20\x11\x00\x03abc\x01", v2 + "\x21\x31\x00\x04abcd",
	} {
		f.Add([]byte(s), uint16(len(s)/3), uint16(len(s)/2))
	}
	h := newHost(f, nil)
	read := func(t *testing.T, pieces [][]byte) (remote string, behind []byte, ok bool) {
		conn := &script{pieces: pieces}
		addr, rest, err := proxied(h.steady(conn), time.Second)
		if err != nil {
			return "", nil, false
		}
		more, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		return addr.String(), append(rest, more...), true
	}
	f.Fuzz(func(t *testing.T, stream []byte, i, j uint16) {
		remote, behind, ok := read(t, [][]byte{bytes.Clone(stream)})
		if ok && !bytes.HasSuffix(stream, behind) {
			t.Errorf("proxied(%q) leaves %q, want an end of it", stream, behind)
		}
		r, b, o := read(t, cut(bytes.Clone(stream), int(i), int(j)))
		if r != remote || !bytes.Equal(b, behind) || o != ok {
			t.Errorf("proxied(%q) = %s, %q, %v, and in pieces %s, %q, %v", stream, remote, behind, ok, r, b, o)
		}
	})
}
