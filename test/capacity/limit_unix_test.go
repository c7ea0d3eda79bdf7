//go:build unix

package capacity_test

import (
	"syscall"
)

func init() {
	descriptors = func() int {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
			return 256
		}
		return int(min(l.Cur, 1<<20))
	}
}
