//go:build linux && !nano_portable

package mesh

import (
	"net"
	"syscall"
	"testing"
)

// The kernel ends an accepted connection whose peer acknowledges nothing.
func TestAcceptedConnectionHasUserTimeout(t *testing.T) {
	near, _ := socketPair(t)
	raw, err := near.Conn.(*net.TCPConn).SyscallConn()
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
