package proc

import (
	"syscall"
	"time"
)

func cpuTime() time.Duration {
	var created, exited, kernel, user syscall.Filetime
	self, err := syscall.GetCurrentProcess()
	if err != nil || syscall.GetProcessTimes(self, &created, &exited, &kernel, &user) != nil {
		return 0
	}
	ticks := func(t syscall.Filetime) time.Duration {
		return time.Duration(t.HighDateTime)<<32 | time.Duration(t.LowDateTime)
	}
	return (ticks(kernel) + ticks(user)) * 100 // of 100 ns
}

// FileLimit returns how many sockets a process may be expected to have open: Windows has no fixed limit, but few
// ephemeral ports, and loopback has one address here.
func FileLimit() int { return 10_000 }
