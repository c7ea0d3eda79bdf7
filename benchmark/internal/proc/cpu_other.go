//go:build !linux

package proc

import "runtime"

// CPUs returns nil: processes cannot be bound to processors here.
func CPUs() []int { return nil }

func onCPUs(_ []int, start func() error) error { return start() }

// resident returns the bytes of memory that the runtime holds, which is about what is resident.
func resident(m *runtime.MemStats) int64 { return int64(m.Sys - m.HeapReleased) }
