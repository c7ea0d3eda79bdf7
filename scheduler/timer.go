package scheduler

import (
	"container/heap"
	"sync/atomic"
	"time"
)

// TimerFunc is what a timer calls, on the scheduler's goroutine.
type TimerFunc func()

// TimerCondition decides whether a condition timer fires.
type TimerCondition interface {
	// Check is called once every timer precision, on the scheduler's goroutine.
	Check(now time.Time) bool
}

const (
	infinite    = -1
	defaultPoll = time.Second // between two checks of a condition
	forever     = 1 << 61     // 73 years: longer times are cut to it, so that no sum of times overflows
)

// Timer calls a function on the scheduler's goroutine. Its methods may be called concurrently.
type Timer struct {
	id       int64
	s        *Scheduler
	f        TimerFunc
	cond     TimerCondition
	interval time.Duration
	stopped  atomic.Bool

	// Guarded by the scheduler's mu.
	left  int           // calls to come, or infinite
	exact time.Duration // when the next call would be due without a precision
	due   time.Duration // when it is due
	index int           // in the heap, or -1
}

// ID returns the number of the timer within its scheduler.
func (t *Timer) ID() int64 { return t.id }

// Stop ends the timer. A call that runs at this moment on another goroutine finishes; none comes after. Stopping
// again does nothing.
func (t *Timer) Stop() {
	t.stopped.Store(true)
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.index >= 0 {
		heap.Remove(&t.s.timers, t.index)
		t.s.noteDue()
	}
}

// NewTimer calls f every interval until it is stopped. Calls that come too late are skipped, never made up for.
// An interval of 0 or less, or a nil f, panics.
func (s *Scheduler) NewTimer(interval time.Duration, f TimerFunc) *Timer {
	return s.NewCountTimer(interval, infinite, f)
}

// NewCountTimer calls f every interval, count times; a count below 0 is for ever. An interval of 0 or less, a count
// of 0, or a nil f, panics.
func (s *Scheduler) NewCountTimer(interval time.Duration, count int, f TimerFunc) *Timer {
	if interval <= 0 {
		panic("scheduler: a timer needs an interval above 0")
	}
	if count == 0 {
		panic("scheduler: a count timer needs a count other than 0")
	}
	return s.add(&Timer{f: f, interval: interval, left: max(count, infinite)})
}

// NewAfterTimer calls f once, when d has passed; with a d of 0 or less as soon as it can. A nil f panics.
func (s *Scheduler) NewAfterTimer(d time.Duration, f TimerFunc) *Timer {
	return s.add(&Timer{f: f, interval: max(d, 0), left: 1})
}

// NewCondTimer asks cond once every timer precision, by default every second, and calls f each time it says yes,
// until it is stopped. A nil cond or f panics.
func (s *Scheduler) NewCondTimer(cond TimerCondition, f TimerFunc) *Timer {
	if cond == nil {
		panic("scheduler: a condition timer needs a condition")
	}
	return s.add(&Timer{f: f, cond: cond, left: infinite})
}

func (s *Scheduler) add(t *Timer) *Timer {
	if t.f == nil {
		panic("scheduler: a timer needs a function")
	}
	s.mu.Lock()
	t.s = s
	s.lastTimer++
	t.id = s.lastTimer
	t.index = -1
	if s.closed {
		t.stopped.Store(true)
		s.mu.Unlock()
		return t
	}
	t.exact = s.now() + s.every(t)
	t.due = s.round(t.exact)
	first := len(s.timers) == 0 || t.due < s.timers[0].due
	heap.Push(&s.timers, t)
	s.noteDue()
	wake := first && s.asleep
	if wake {
		s.asleep = false
	}
	s.mu.Unlock()
	if wake {
		s.wake <- struct{}{} // the loop sleeps until a later timer
	}
	return t
}

// every returns the time between two calls of t. The caller holds mu.
func (s *Scheduler) every(t *Timer) time.Duration {
	switch {
	case t.cond == nil:
		return min(t.interval, forever)
	case s.precision > 0:
		return s.precision
	}
	return defaultPoll
}

// again sets when t is called next, now being the time: not before the next moment at which timers fire, however
// many calls were missed. The caller holds mu.
func (s *Scheduler) again(t *Timer, now time.Duration) {
	if p := s.precision; p > 0 {
		now = now / p * p
	}
	interval := s.every(t)
	if t.exact += interval; t.exact <= now {
		t.exact = now + interval - (now-t.exact)%interval
	}
	t.due = s.round(t.exact)
}

// dropTimers ends all timers. The caller holds mu.
func (s *Scheduler) dropTimers() {
	for _, t := range s.timers {
		t.index = -1
	}
	s.timers = nil
	s.nextDue.Store(0)
}

// round moves a moment up to the next multiple of the precision. The caller holds mu.
func (s *Scheduler) round(due time.Duration) time.Duration {
	if p := s.precision; p > 0 {
		due = (due + p - 1) / p * p
	}
	return max(due, 1)
}

// noteDue keeps the moment of the first timer where the loop reads it without the lock. The caller holds mu.
func (s *Scheduler) noteDue() {
	if len(s.timers) == 0 {
		s.nextDue.Store(0)
		return
	}
	s.nextDue.Store(int64(s.timers[0].due))
}

// fire calls the timers that are due at now, each once, and returns the time.
func (s *Scheduler) fire(now time.Duration) time.Duration {
	started := now
	for {
		due := s.nextDue.Load()
		if due == 0 || now < time.Duration(due) {
			return started
		}
		s.mu.Lock()
		if len(s.timers) == 0 || s.timers[0].due > now {
			s.mu.Unlock()
			continue
		}
		t := s.timers[0]
		if t.left == 1 {
			heap.Pop(&s.timers)
		} else {
			if t.left > 0 {
				t.left--
			}
			s.again(t, now)
			heap.Fix(&s.timers, 0)
		}
		s.noteDue()
		s.mu.Unlock()
		s.busy.Store(int64(started) | 1)
		s.run(t.call)
		end := s.now()
		if took := end - started; s.slow > 0 && took > s.slow {
			s.log.Warn("nano: slow timer", "task", taskName(Task(t.f)), "took", took)
		}
		started = end
	}
}

func (t *Timer) call() {
	if t.stopped.Load() {
		return
	}
	if t.cond != nil && (!t.cond.Check(time.Now()) || t.stopped.Load()) {
		return
	}
	t.f()
}

// timerHeap is ordered by due, then by id: timers that are due together fire in the order they were made.
type timerHeap []*Timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return h[i].id < h[j].id
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
