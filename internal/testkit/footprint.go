package testkit

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// Footprint is what a process holds.
type Footprint struct {
	goroutines, files int
	Heap              uint64
}

func MeasureFootprint() Footprint {
	runtime.GC()
	runtime.GC() // the second one empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f := Footprint{goroutines: runtime.NumGoroutine(), Heap: m.HeapAlloc}
	if list, err := os.ReadDir("/proc/self/fd"); err == nil { // Linux has it
		f.files = len(list)
	}
	return f
}

const Mebibyte = 1 << 20

// CheckReleased waits until no more is held than before, but for some memory.
func (f Footprint) CheckReleased(t testing.TB) {
	t.Helper()
	f.CheckGrowth(t, 4*Mebibyte)
}

// CheckGrowth is back for so many bytes of memory.
func (f Footprint) CheckGrowth(t testing.TB, memory uint64) {
	t.Helper()
	t.Helper()
	var now Footprint
	deadline := time.Now().Add(Patience)
	for {
		now = MeasureFootprint()
		if now.goroutines <= f.goroutines && now.files <= f.files && now.Heap <= f.Heap+memory {
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
