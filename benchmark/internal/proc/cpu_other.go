//go:build !linux

package proc

import (
	"errors"
	"runtime"
	"time"
)

// CPUs returns nil, because processes cannot be bound to processors on this system.
func CPUs() []int { return nil }

func onCPUs(_ []int, start func() error) error { return start() }

// resident returns the bytes of memory that the runtime holds, which approximates the
// resident memory.
func resident(m *runtime.MemStats) int64 { return int64(m.Sys - m.HeapReleased) }

// cpuOf fails, because the CPU time of other processes is known on Linux only.
func cpuOf(int) (time.Duration, error) {
	return 0, errors.New("the CPU time of another process is known on Linux only")
}
