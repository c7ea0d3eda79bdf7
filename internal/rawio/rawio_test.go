package rawio_test

import (
	"net"
	"testing"

	"github.com/lonng/nano/internal/rawio"
)

// TestOf checks that only sockets have a raw side.
func TestOf(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := rawio.Of(c) != nil; got != rawio.Supported {
		t.Errorf("a socket has a raw side: %v, want %v", got, rawio.Supported)
	}
	if rawio.Of(struct{ *net.TCPConn }{c.(*net.TCPConn)}) != nil {
		t.Error("a wrapper's socket is used behind its back")
	}
	p, q := net.Pipe()
	_, _ = p.Close(), q.Close()
	if rawio.Of(p) != nil {
		t.Error("a pipe has a raw side")
	}
}
