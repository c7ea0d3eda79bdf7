//go:build !unix

package main

import (
	"runtime/metrics"
	"time"
)

// cpuTime returns the processor time that the process has used, as the Go runtime estimates it.
func cpuTime() time.Duration {
	s := []metrics.Sample{{Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"}}
	metrics.Read(s)
	return time.Duration((s[0].Value.Float64() - s[1].Value.Float64()) * float64(time.Second))
}
