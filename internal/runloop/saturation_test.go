package runloop

import (
	"testing"
	"time"
)

// feed queues tasks one after another for d. The loop sleeps between them.
func feed(s *Loop, d time.Duration) {
	ran := make(chan struct{})
	for start := time.Now(); time.Since(start) < d; {
		s.Invoke(func() { ran <- struct{}{} })
		<-ran
	}
}

// state calls a function of the loop on its own goroutine.
func state(s *Loop, f func() bool) bool {
	answer := make(chan bool)
	s.Invoke(func() { answer <- f() })
	return <-answer
}

// TestWhatSaturates checks that a loop is saturated according to its recent idle time and
// its longest pause.
func TestWhatSaturates(t *testing.T) {
	const work = 30 * time.Microsecond
	for _, test := range []struct {
		name string
		gaps []time.Duration // between two batches, repeated
		want bool
	}{
		{"always something to do", []time.Duration{2 * time.Microsecond}, true},
		{"looking for what is ready takes a while", []time.Duration{0, 0, 0, 0, 0, 0, 0, 40 * time.Microsecond}, true},
		{"a third of the time", []time.Duration{2 * time.Microsecond, 2 * time.Microsecond, 50 * time.Microsecond}, true},
		{"bursts", []time.Duration{0, 0, 0, 0, 0, 0, 0, 0, 0, time.Millisecond}, false},
		{"rarely something to do", []time.Duration{100 * time.Microsecond}, false},
	} {
		s := New(DefaultConfig())
		now := time.Duration(0)
		saturated := 0
		const rounds = 1000
		for i := range rounds {
			gap := test.gaps[i%len(test.gaps)]
			s.idle = now
			now += gap
			s.noteLoad(now)
			if s.saturated {
				saturated++
			}
			now += work
		}
		if got := saturated > rounds*8/10; got != test.want || !test.want && saturated > 0 {
			t.Errorf("%s: saturated in %d of %d batches, want so: %v", test.name, saturated, rounds, test.want)
		}
		s.Start()
		s.Close()
	}
}

// TestSaturated checks that a loop that always has a task is saturated, and that a loop
// with recent idle time is not.
func TestSaturated(t *testing.T) {
	s := New(DefaultConfig())
	s.Start()
	defer s.Close()
	saturated := func() bool { return state(s, func() bool { return s.saturated }) }
	time.Sleep(4 * longRest)
	if saturated() {
		t.Error("a loop that rested is saturated")
	}
	for end := time.Now().Add(10 * time.Second); ; { // on a busy machine the loop may have to wait for the processor
		feed(s, 3*saturatedAfter)
		if saturated() {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a loop that had no pause is not saturated")
		}
	}
	time.Sleep(4 * longRest)
	if saturated() {
		t.Error("a loop is saturated just after it rested")
	}
}
