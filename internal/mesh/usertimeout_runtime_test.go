//go:build linux && !nano_portable

package mesh

import (
	"net"
	"syscall"
	"testing"
)

// The kernel ends an accepted connection whose peer acknowledges nothing.
func TestAcceptedConnectionHasUserTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := sockets{l}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	raw, err := near.(*socket).Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	if err := raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout) }); err != nil {
		t.Fatal(err)
	}
	if want := int(silence.Milliseconds()); err != nil || got != want {
		t.Errorf("TCP_USER_TIMEOUT = %d ms, %v, want %d", got, err, want)
	}
}
