package proc

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// CPUs returns the numbers of the processors that this process may use. It returns nil if
// processes cannot be bound to processors.
func CPUs() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	var list []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			list = append(list, i)
		}
	}
	return list
}

// onCPUs calls start, which starts a process, on a thread bound to the given processors.
// The process inherits the binding, so its runtime counts only these.
func onCPUs(cpus []int, start func() error) error {
	if len(cpus) == 0 {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	for _, i := range cpus {
		set.Set(i)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }()
	return start()
}

// resident returns the resident memory of this process in bytes.
func resident(m *runtime.MemStats) int64 {
	b, err := os.ReadFile("/proc/self/statm")
	var size, pages int64
	if err == nil {
		_, err = fmt.Sscan(string(b), &size, &pages)
	}
	if err != nil {
		return int64(m.Sys - m.HeapReleased)
	}
	return pages * int64(os.Getpagesize())
}
