//go:build unix && !nano_portable

package rawio

import (
	"net"
	"syscall"
)

// Supported is true: sockets can be read and written with system calls.
const Supported = true

// Of returns the raw connection of c, or nil if reads and writes must use its methods. It
// accepts only concrete types, because a wrapper with its own Read may also implement
// syscall.Conn.
func Of(c net.Conn) syscall.RawConn {
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

// Read reads once. again is true if there is nothing to read yet.
func Read(fd uintptr, b []byte) (n int, again bool, err error) {
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

// Write writes as much of b as the socket accepts. A full socket is not an error.
func Write(fd uintptr, b []byte) (n int, err error) {
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
