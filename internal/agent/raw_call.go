//go:build unix && (!linux || race)

package agent

import "syscall"

// Under the race detector these keep the order that package syscall notes between a write and the read of its bytes.

func readOnce(fd uintptr, b []byte) (int, error)  { return syscall.Read(int(fd), b) }
func writeOnce(fd uintptr, b []byte) (int, error) { return syscall.Write(int(fd), b) }
