package runloop

import (
	"fmt"
	"time"

	"github.com/lonng/nano/internal/stacktrace"
)

// stuckAfter is how long a task runs before CheckStuck logs its stack.
const stuckAfter = 5 * time.Second

// runBatch runs the rest of the batch, and the timers that become due meanwhile.
func (l *Loop) runBatch() {
	if l.at == len(l.batch) && !l.due() {
		if l.begun { // the last task has ended the goroutine
			l.ran = l.now()
		}
		return
	}
	fresh := !l.begun
	if fresh {
		l.begun = true
		l.begin()
	}
	now := l.now()
	if fresh {
		l.batchBegan = now
	}
	now = l.fire(now)
	flushed := now
	for l.at < len(l.batch) {
		t := l.batch[l.at]
		l.batch[l.at] = nil
		l.at++
		l.busy.Store(int64(now) | 1)
		l.began, l.until, l.selfTimed, l.label = now, 0, false, ""
		l.run(t)
		end := l.until
		if end == 0 {
			end = l.now()
		}
		if !l.selfTimed {
			took := end - now
			l.chargeTask(t, took)
			if l.slow > 0 && took > l.slow {
				l.log.Warn("nano: slow task", "task", taskName(t), "took", took)
			}
		}
		now = end
		if now-flushed > flushEvery {
			l.flush()
			l.begin()
			now = l.now()
			l.flushTime.Add(int64(now - end))
			flushed = now
		}
		now = l.fire(now)
	}
	l.ran = now
	l.busy.Store(0)
}

// run calls a task. A panic costs this task alone.
func (l *Loop) run(f func()) {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("nano: panic in a task", "panic", fmt.Sprint(p), stacktrace.Attr())
		}
	}()
	f()
}

// SelfTiming reports whether the running task has called SelfTimed. Only the running task
// may call it.
func (l *Loop) SelfTiming() bool { return l.selfTimed }

// SelfTimed disables the loop's log record for the running task if it is slow, because the
// task logs slow parts itself. It returns the start time of the task, on the clock of Now.
// Only the running task may call it.
func (l *Loop) SelfTimed() time.Duration {
	l.selfTimed = true
	return l.began
}

// EndedAt tells the loop when the running task, which is about to return, has last read the
// clock of Now. The loop takes that for the end of the task and does not read the clock. Only
// the running task may call it.
func (l *Loop) EndedAt(t time.Duration) { l.until = t }

// CheckStuck logs the stack of a task that has run for more than five seconds, once for each
// task. A server calls it once a second.
func (l *Loop) CheckStuck() {
	busy := l.busy.Load()
	if busy == 0 || l.slow <= 0 || l.now()-time.Duration(busy) < stuckAfter || l.stuck.Swap(busy) == busy {
		return
	}
	l.log.Error("nano: the logic goroutine is stuck in one task",
		"for", (l.now() - time.Duration(busy)).Round(time.Millisecond), "stack", l.goid.Stack())
}
