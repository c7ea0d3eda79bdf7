//go:build unix && !nano_portable

package agent

import (
	"net"
	"syscall"
)

// rawSupported is true: sockets are read and written with system calls.
const rawSupported = true

// rawConn returns the raw connection of c, or nil if reads and writes must use its
// methods. It accepts only concrete types, because a wrapper with its own Read may also
// implement syscall.Conn.
func rawConn(c net.Conn) syscall.RawConn {
	var sc syscall.Conn
	switch c := c.(type) {
	case *net.TCPConn:
		sc = c
	case *net.UnixConn:
		sc = c
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// writeNow writes as much of b as the socket accepts without waiting.
func writeNow(conn net.Conn, b []byte) {
	if raw := rawConn(conn); raw != nil {
		w := rawWriters.Get().(*rawWriter)
		_, _ = w.write(raw, b)
		rawWriters.Put(w)
	}
}

// rawRead reads once. again is true if there is nothing to read yet.
func rawRead(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		n, e := readOnce(fd, b)
		switch e {
		case 0:
			return n, false, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, true, nil
		default:
			return 0, false, e
		}
	}
}

// rawWrite writes as much of b as the socket accepts. A full socket is not an error.
func rawWrite(fd uintptr, b []byte) (n int, err error) {
	for n < len(b) {
		k, e := writeOnce(fd, b[n:])
		switch e {
		case 0:
			n += k
		case syscall.EINTR:
		case syscall.EAGAIN:
			return n, nil
		default:
			return n, e
		}
	}
	return n, nil
}
