//go:build unix

package agent

import "syscall"

// rawSupported: sockets are read and written with system calls of their own.
const rawSupported = true

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
