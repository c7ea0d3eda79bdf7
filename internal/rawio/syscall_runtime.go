//go:build unix && (!linux || race || 386 || s390x) && !nano_portable

package rawio

import "syscall"

// Under the race detector, these functions keep the order that package syscall records
// between a write and the read of its bytes.

func readOnce(fd uintptr, b []byte) (int, syscall.Errno)  { return errno(syscall.Read(int(fd), b)) }
func writeOnce(fd uintptr, b []byte) (int, syscall.Errno) { return errno(syscall.Write(int(fd), b)) }

func errno(n int, err error) (int, syscall.Errno) {
	if err == nil {
		return n, 0
	}
	e, ok := err.(syscall.Errno)
	if !ok {
		e = syscall.EIO
	}
	return 0, e
}
