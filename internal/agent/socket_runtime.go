//go:build unix && !nano_portable

package agent

import (
	"net"
	"syscall"
)

// rawSupported: sockets are read and written with system calls of their own.
const rawSupported = true

// rawConn returns the raw side of a connection that can be read and written without its
// own buffers and goroutines, or nil. Only the concrete types will do: a wrapper with a
// Read of its own may also satisfy syscall.Conn.
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

// writeNow writes b if the socket takes it at once.
func writeNow(conn net.Conn, b []byte) {
	if raw := rawConn(conn); raw != nil {
		w := rawWriters.Get().(*rawWriter)
		_, _ = w.write(raw, b)
		rawWriters.Put(w)
	}
}

// rawRead reads once; again is true when there is nothing to read yet.
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

// rawWrite writes as much of b as the socket takes; a full socket is no error.
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
