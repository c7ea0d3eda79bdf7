//go:build race

package main

import "runtime"

func init() {
	leakHands = 10 // the race detector makes hands several times slower; .ci/run plays all without it

	// The timers of a synctest bubble share one context of the race detector. Two processors may
	// use it at once, if goroutines look at timers that are due, and that ends the process with a
	// segmentation fault (Go 1.26, timer.unlockAndRun). The games here have many bubbles and timers.
	runtime.GOMAXPROCS(1)
}
