package testkit

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// Mebibyte is 1024 * 1024 bytes.
const Mebibyte = 1 << 20

// Footprint is the number of goroutines, open files and heap bytes of this process.
type Footprint struct {
	goroutines, files int
	Heap              uint64
}

// MeasureFootprint collects garbage and returns the current footprint.
func MeasureFootprint() Footprint {
	runtime.GC()
	runtime.GC() // the second collection empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f := Footprint{goroutines: runtime.NumGoroutine(), Heap: m.HeapAlloc}
	if list, err := os.ReadDir("/proc/self/fd"); err == nil { // exists on Linux
		f.files = len(list)
	}
	return f
}

// The poller of idle connections starts with the first of them, and has a goroutine and a
// file until the server ends.
const poller = 1

// CheckReleased waits until goroutines and files are at most those of f and of a poller,
// and the heap is within 4 MiB of f.
func (f Footprint) CheckReleased(t testing.TB) {
	t.Helper()
	f.CheckGrowth(t, 4*Mebibyte)
}

// CheckGrowth waits until goroutines and files are at most those of f and of a poller, and
// the heap is within memory bytes of f.
func (f Footprint) CheckGrowth(t testing.TB, memory uint64) {
	t.Helper()
	var now Footprint
	deadline := time.Now().Add(Patience)
	for {
		now = MeasureFootprint()
		if now.goroutines <= f.goroutines+poller && now.files <= f.files+poller && now.Heap <= f.Heap+memory {
			return
		}
		if time.Now().After(deadline) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d files and %d KiB are held, before it was %d, %d and %d",
		now.goroutines, now.files, now.Heap>>10, f.goroutines, f.files, f.Heap>>10)
}
