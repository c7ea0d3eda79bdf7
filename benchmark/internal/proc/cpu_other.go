//go:build !linux

package proc

import "runtime"

// CPUs returns nil, because processes cannot be bound to processors on this system.
func CPUs() []int { return nil }

func onCPUs(_ []int, start func() error) error { return start() }

// resident returns the bytes of memory that the runtime holds, which approximates the
// resident memory.
func resident(m *runtime.MemStats) int64 { return int64(m.Sys - m.HeapReleased) }
