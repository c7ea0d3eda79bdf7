//go:build linux && !race && !386 && !s390x && !nano_portable

package rawio

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// TestBlockingSocket checks that no call waits for a socket that was made blocking, for example
// by a listener that sets an option through File and Fd. Such a call would stop the runtime.
func TestBlockingSocket(t *testing.T) {
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
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	err = Of(near).Control(func(fd uintptr) {
		if err := syscall.SetNonblock(int(fd), false); err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(10*time.Second, func() { _ = far.Close() }) // ends a call that waits
		defer late.Stop()
		b := make([]byte, 1<<20)
		if n, again, err := Read(fd, b); n != 0 || !again || err != nil {
			t.Errorf("Read = %d, %v, %v, want nothing yet", n, again, err)
		}
		for n, i := len(b), 0; n == len(b); i++ {
			if n, err = Write(fd, b); err != nil || i > 1000 {
				t.Fatalf("Write = %d, %v at %d MiB, want a full socket", n, err, i)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
