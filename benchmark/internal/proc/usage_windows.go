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
	return (ticks(kernel) + ticks(user)) * 100 // units of 100 ns
}

// FileLimit returns a usable number of open sockets. Windows has no fixed limit, but few
// ephemeral ports, and this program uses one loopback address.
func FileLimit() int { return 10_000 }
