package scheduler

import (
	"time"

	"github.com/lonng/nano/internal/runloop"
)

// TimerFunc is the function that a timer calls, on the scheduler's goroutine.
type TimerFunc func()

// TimerCondition decides whether a condition timer fires.
type TimerCondition interface {
	// Check is called once every timer precision, on the scheduler's goroutine.
	Check(now time.Time) bool
}

// Timer calls a function on the scheduler's goroutine. Its methods may be called concurrently.
type Timer struct {
	t runloop.Timer
}

// ID returns the number of the timer within its scheduler.
func (t *Timer) ID() int64 { return t.t.ID() }

// Stop ends the timer. If a call runs at this moment on another goroutine, that call finishes; no
// further call begins. Stopping again does nothing.
func (t *Timer) Stop() { t.t.Stop() }

// NewTimer calls f every interval until it is stopped. Calls that were missed are skipped. It
// panics if interval is 0 or less, or f is nil.
func (s *Scheduler) NewTimer(interval time.Duration, f TimerFunc) *Timer {
	return s.NewCountTimer(interval, runloop.Endless, f)
}

// NewCountTimer calls f every interval, count times; a count below 0 means without end. It panics
// if interval is 0 or less, count is 0, or f is nil.
func (s *Scheduler) NewCountTimer(interval time.Duration, count int, f TimerFunc) *Timer {
	if interval <= 0 {
		panic("scheduler: a timer needs an interval above 0")
	}
	if count == 0 {
		panic("scheduler: a count timer needs a count other than 0")
	}
	needFunction(f)
	t := &Timer{}
	s.loop.Every(&t.t, interval, count, f)
	return t
}

// NewAfterTimer calls f once, when d has passed; with a d of 0 or less as soon as possible. It
// panics if f is nil.
func (s *Scheduler) NewAfterTimer(d time.Duration, f TimerFunc) *Timer {
	needFunction(f)
	t := &Timer{}
	s.loop.After(&t.t, d, f)
	return t
}

// NewCondTimer checks cond once every timer precision, by default every second, and calls f each
// time that Check returns true, until the timer is stopped. It panics if cond or f is nil.
func (s *Scheduler) NewCondTimer(cond TimerCondition, f TimerFunc) *Timer {
	if cond == nil {
		panic("scheduler: a condition timer needs a condition")
	}
	needFunction(f)
	t := &Timer{}
	s.loop.When(&t.t, cond.Check, f)
	return t
}

func needFunction(f TimerFunc) {
	if f == nil {
		panic("scheduler: a timer needs a function")
	}
}
