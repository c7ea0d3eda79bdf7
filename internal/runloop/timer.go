package runloop

import (
	"container/heap"
	"sync/atomic"
	"time"
)

// Endless is the count of a timer that fires until it is stopped.
const Endless = -1

const (
	defaultPoll = time.Second // between two checks of a condition
	longest     = 1 << 61     // 73 years: longer times are cut to it, so that no sum of times overflows
)

// Timer calls a function on the goroutine of a loop. Every, After or When start it, once. Its
// methods may be called concurrently.
type Timer struct {
	id       int64
	l        *Loop
	f        func()
	check    func(now time.Time) bool // the condition of a condition timer; nil for other timers
	interval time.Duration
	stopped  atomic.Bool
	account  *account // of f; used by the loop alone

	// Guarded by the loop's mu.
	left  int           // calls to come, or Endless
	exact time.Duration // when the next call would be due without a precision
	due   time.Duration // when it is due
	index int           // in the heap, or -1
}

// ID returns the number of the timer within its loop.
func (t *Timer) ID() int64 { return t.id }

// Stop ends the timer. A call that runs at this moment on another goroutine finishes; none comes
// after. Stopping again does nothing.
func (t *Timer) Stop() {
	t.stopped.Store(true)
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	if t.index >= 0 {
		heap.Remove(&t.l.timers, t.index)
		t.l.noteDue()
	}
}

// Every starts t, which calls f every interval, count times or Endless. interval is above 0, and
// count is not 0.
func (l *Loop) Every(t *Timer, interval time.Duration, count int, f func()) {
	t.f, t.interval, t.left = f, interval, max(count, Endless)
	l.add(t)
}

// After starts t, which calls f once when d has passed; with a d of 0 or less as soon as
// possible.
func (l *Loop) After(t *Timer, d time.Duration, f func()) {
	t.f, t.interval, t.left = f, max(d, 0), 1
	l.add(t)
}

// When starts t, which calls check once every timer precision, by default every second, and f each
// time that check returns true.
func (l *Loop) When(t *Timer, check func(now time.Time) bool, f func()) {
	t.f, t.check, t.left = f, check, Endless
	l.add(t)
}

// SetPrecision makes timers fire at multiples of d only; with 0, the default, when they are due.
// Condition timers are checked once every d, by default every second. A timer that exists
// follows after its next call.
func (l *Loop) SetPrecision(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.precision = clampPrecision(d)
}

func clampPrecision(d time.Duration) time.Duration { return min(max(d, 0), longest) }

// add puts a timer into the heap, or stops it if the loop is closed.
func (l *Loop) add(t *Timer) {
	l.mu.Lock()
	t.l = l
	l.lastTimer++
	t.id = l.lastTimer
	t.index = -1
	if l.closed {
		t.stopped.Store(true)
		l.mu.Unlock()
		return
	}
	t.exact = l.now() + l.every(t)
	t.due = l.round(t.exact)
	first := len(l.timers) == 0 || t.due < l.timers[0].due
	heap.Push(&l.timers, t)
	l.noteDue()
	wake := first && l.asleep
	if wake {
		l.asleep = false
	}
	l.mu.Unlock()
	if wake {
		l.wake <- struct{}{} // the loop sleeps until a later timer
	}
}

// every returns the time between two calls of t. The caller holds mu.
func (l *Loop) every(t *Timer) time.Duration {
	switch {
	case t.check == nil:
		return min(t.interval, longest)
	case l.precision > 0:
		return l.precision
	}
	return defaultPoll
}

// again sets when t is due next. Calls that were missed are skipped. The caller holds mu.
func (l *Loop) again(t *Timer, now time.Duration) {
	if p := l.precision; p > 0 {
		now = now / p * p
	}
	interval := l.every(t)
	if t.exact += interval; t.exact <= now {
		t.exact = now + interval - (now-t.exact)%interval
	}
	t.due = l.round(t.exact)
}

// dropTimers ends all timers. The caller holds mu.
func (l *Loop) dropTimers() {
	for _, t := range l.timers {
		t.index = -1
	}
	l.timers = nil
	l.nextDue.Store(0)
}

// round rounds a moment up to a multiple of the precision. The caller holds mu.
func (l *Loop) round(due time.Duration) time.Duration {
	if p := l.precision; p > 0 {
		due = (due + p - 1) / p * p
	}
	return max(due, 1)
}

// noteDue stores when the first timer is due, for the loop to read without mu. The caller holds mu.
func (l *Loop) noteDue() {
	if len(l.timers) == 0 {
		l.nextDue.Store(0)
		return
	}
	l.nextDue.Store(int64(l.timers[0].due))
}

// fire calls the timers that are due at now, each once, and returns the time.
func (l *Loop) fire(now time.Duration) time.Duration {
	started := now
	for {
		due := l.nextDue.Load()
		if due == 0 || now < time.Duration(due) {
			return started
		}
		l.mu.Lock()
		if len(l.timers) == 0 || l.timers[0].due > now {
			l.mu.Unlock()
			continue
		}
		t := l.timers[0]
		if t.left == 1 {
			heap.Pop(&l.timers)
		} else {
			if t.left > 0 {
				t.left--
			}
			l.again(t, now)
			heap.Fix(&l.timers, 0)
		}
		l.noteDue()
		l.mu.Unlock()
		l.busy.Store(int64(started) | 1)
		l.label, l.selfTimed = "", false
		l.run(t.call)
		end := l.now()
		took := end - started
		l.chargeTimer(t, took)
		if l.slow > 0 && took > l.slow {
			l.log.Warn("nano: slow timer", "task", taskName(t.f), "took", took)
		}
		started = end
	}
}

// setAlarm wakes the loop when the first timer is due. An alarm for a timer that was stopped wakes
// it too early; setting a new alarm each time the loop sleeps would cost more. The caller holds mu.
func (l *Loop) setAlarm() {
	due := time.Duration(l.nextDue.Load())
	if due == 0 || l.alarmAt != 0 && l.alarmAt <= due {
		return
	}
	l.alarmAt = due
	if l.alarm == nil {
		l.alarm = time.AfterFunc(due-l.now(), l.ring)
	} else {
		l.alarm.Reset(due - l.now())
	}
}

// ring wakes the loop for its timers.
func (l *Loop) ring() {
	l.mu.Lock()
	l.alarmAt = 0
	asleep := l.asleep
	l.asleep = false
	l.mu.Unlock()
	if asleep {
		l.wake <- struct{}{}
	}
}

// due reports whether a timer is due.
func (l *Loop) due() bool {
	due := l.nextDue.Load()
	return due != 0 && l.now() >= time.Duration(due)
}

// call checks the condition, if there is one, and calls the function.
func (t *Timer) call() {
	if t.stopped.Load() {
		return
	}
	if t.check != nil && (!t.check(time.Now()) || t.stopped.Load()) {
		return
	}
	t.f()
}

// timerHeap is ordered by due, then by id: timers that are due together fire in the order in which
// they were made.
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
