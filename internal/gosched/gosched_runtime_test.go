//go:build !nano_portable

package gosched

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// TestYield checks that goroutines that are ready run before Yield returns.
func TestYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var y Yielder
	for range 100 {
		ran := make(chan struct{}, 1)
		go func() { ran <- struct{}{} }()
		y.Yield()
		select {
		case <-ran:
			return
		default: // the runtime does not guarantee it
		}
	}
	t.Error("no other goroutine ran in 100 yields")
}

// TestYieldBesideOthersThatCompute checks that Yield does not wait for goroutines that
// compute without pause.
func TestYieldBesideOthersThatCompute(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var stop atomic.Bool
	defer stop.Store(true)
	for range 4 {
		go func() {
			for n := 0; !stop.Load(); n++ {
				_ = n
			}
		}()
	}
	var y Yielder
	for end := time.Now().Add(20 * time.Second); y.slow < maxSlow; {
		if time.Now().After(end) {
			t.Fatal("yields beside others that compute never took long")
		}
		y.Yield()
	}
	for until := y.until; time.Now().Before(until.Add(-pause / 2)); {
		y.Yield()
		if !y.until.Equal(until) {
			t.Fatal("others were waited for again at once")
		}
		time.Sleep(time.Millisecond)
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(y.until); {
		if time.Now().After(end) {
			t.Fatal("the pause does not end")
		}
		time.Sleep(10 * time.Millisecond)
	}
	until := y.until
	y.Yield()
	if y.slow == maxSlow && y.until.Equal(until) {
		t.Error("others were not waited for after the pause")
	}
}
