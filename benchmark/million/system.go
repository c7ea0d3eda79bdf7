package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// system reports the resources of the machine.
type system interface {
	freeMemory() (int64, error)   // bytes
	freeFiles() (int64, error)    // files that all processes together may still open
	kernelMemory() (int64, error) // bytes that the kernel uses for its objects, such as sockets
}

// linux reads the files of /proc.
type linux struct{}

func (linux) freeMemory() (int64, error) {
	free, err := meminfo("MemAvailable")
	if err != nil {
		return 0, err
	}
	// A container may have less than the machine. A limit of "max" is none.
	limit, err1 := number("/sys/fs/cgroup/memory.max")
	used, err2 := number("/sys/fs/cgroup/memory.current")
	if err1 == nil && err2 == nil {
		free = min(free, limit-used)
	}
	return free, nil
}

func (linux) freeFiles() (int64, error) {
	used, err := number("/proc/sys/fs/file-nr")
	if err != nil {
		return 0, err
	}
	limit, err := number("/proc/sys/fs/file-max")
	return limit - used, err
}

func (linux) kernelMemory() (int64, error) { return meminfo("Slab") }

// meminfo returns a value of /proc/meminfo in bytes.
func meminfo(name string) (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/meminfo has no %s", name)
}

// number returns the first number in a file.
func number(file string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\t")
	n, err := strconv.ParseUint(first, 10, 64)
	return int64(min(n, 1<<62)), err
}
