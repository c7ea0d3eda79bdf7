// Package runloop implements the logic goroutine: one goroutine that runs tasks and timers one at a
// time, so that the data they share needs no lock.
//
// Package scheduler is its public API. The server uses a loop directly, because it needs methods
// that programs do not get.
package runloop

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/goid"
	"github.com/lonng/nano/internal/gosched"
	"github.com/lonng/nano/internal/histogram"
)

const (
	defaultSlow = 100 * time.Millisecond
	flushEvery  = time.Millisecond // the longest a batch runs before its output is flushed
	closeRounds = 100              // batches that Close runs at most: tasks that queue tasks have an end
)

// Config holds the settings of a [Loop].
type Config struct {
	Log       *slog.Logger  // gets panics and slow tasks
	Slow      time.Duration // a task that takes longer is logged; 0 for none
	Precision time.Duration // see [Loop.SetPrecision]

	// Begin is called before a batch of tasks; End is called after it, and once a millisecond
	// within a long one. Both are called on the loop's goroutine, are short and do not panic.
	// They let a server send the output of the tasks together.
	Begin, End func()
}

// DefaultConfig returns the settings of a loop without options: slog.Default, 100 ms, no
// precision.
func DefaultConfig() Config {
	return Config{Log: slog.Default(), Slow: defaultSlow, Begin: func() {}, End: func() {}}
}

// Loop runs tasks and timers on one goroutine. Its methods may be called concurrently unless
// they say otherwise.
type Loop struct {
	base time.Time // all times below are since base
	goid goid.Mark // marks the loop's goroutine

	mu        sync.Mutex
	queue     []func()      // waiting; mu guards it and the fields below
	oldest    time.Duration // when the first task of queue was put there
	started   bool
	asleep    bool // the loop waits on wake
	closing   bool
	closed    bool
	timers    timerHeap
	precision time.Duration
	lastTimer int64
	alarm     *time.Timer   // fires when the next timer is due; nil before the first
	alarmAt   time.Duration // when alarm fires, 0 for never

	accounts accounts // the time of tasks and timers

	wake chan struct{} // capacity 1
	done chan struct{} // closed when the loop has ended

	nextDue   atomic.Int64        // when the first timer is due, or 0
	busy      atomic.Int64        // when the running task started, or 0
	delays    histogram.Histogram // how long the first task of each batch had waited
	delay     atomic.Int64        // how long the first task of the last batch had waited
	stuck     atomic.Int64        // the busy value whose stack has been logged
	busyTime  atomic.Int64        // sum of the times of the batches
	flushTime atomic.Int64        // sum of the times of the flushes

	// Used by the loop's goroutine alone.
	log           *slog.Logger
	slow          time.Duration
	begin         func()
	flush         func()
	batch         []func()
	at            int           // the next task of batch
	rounds        int           // batches since Close was called
	began         time.Duration // when the running task began
	until         time.Duration // when the running task ended, as given to EndedAt; 0 without a call of EndedAt
	selfTimed     bool          // the running task logs slow parts itself
	prefix, label string        // of the running task; see Label
	begun         bool          // begin was called, and flush was not called since
	batchBegan    time.Duration // when begin returned
	ran           time.Duration // when the last task or timer of the batch ended
	yielder       gosched.Yielder
	idle          time.Duration // when the last batch had run
	since         time.Duration // when the loop began to add up rested
	rested        time.Duration // how long the loop has rested since
	saturated     bool          // the loop has rested for less than half of the last milliseconds; see noteLoad
}

// New makes a loop that keeps its tasks until Start.
func New(c Config) *Loop {
	l := &Loop{
		base: time.Now(),
		wake: make(chan struct{}, 1),
		done: make(chan struct{}),
	}
	l.set(c)
	return l
}

// Configure replaces the settings of a loop that was not started. On one that runs it does
// nothing.
func (l *Loop) Configure(c Config) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.started {
		l.set(c)
	}
}

// set stores the settings before the loop runs.
func (l *Loop) set(c Config) {
	l.log, l.slow, l.begin, l.flush = c.Log, c.Slow, c.Begin, c.End
	l.precision = clampPrecision(c.Precision)
}

// Start starts the loop. Starting again does nothing.
func (l *Loop) Start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.startLocked()
}

// startLocked is Start; the caller holds mu.
func (l *Loop) startLocked() {
	if !l.started {
		l.started = true
		go l.goid.Run(l.loop)
	}
}

// Started reports whether the loop was started.
func (l *Loop) Started() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.started
}

// Closed reports whether the loop accepts no more tasks.
func (l *Loop) Closed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Running reports whether the caller is on the loop's goroutine: inside a task or a timer.
func (l *Loop) Running() bool { return l.goid.Current() }

// Now returns how long ago the loop was made, on the monotonic clock.
func (l *Loop) Now() time.Duration { return l.now() }

func (l *Loop) now() time.Duration { return time.Since(l.base) }

// Invoke queues a task. It never blocks. It reports false if the loop is closed and the task
// dropped.
func (l *Loop) Invoke(f func()) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	if len(l.queue) == 0 {
		l.oldest = l.now()
	}
	l.queue = append(l.queue, f)
	asleep := l.asleep
	l.asleep = false
	l.mu.Unlock()
	if asleep {
		l.wake <- struct{}{} // capacity 1, and only the caller that cleared asleep sends
	}
	return true
}

// Pending returns how many tasks wait, not counting the batch that runs.
func (l *Loop) Pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// Delay returns how long the oldest task of the last batch had waited.
func (l *Loop) Delay() time.Duration { return time.Duration(l.delay.Load()) }

// Delays returns the delays of all batches: see [histogram.Histogram.Counts].
func (l *Loop) Delays() (first int, counts []int64) { return l.delays.Counts() }

// Close runs the queued tasks, and those that they queue in turn, in at most 100 rounds; later
// tasks are dropped. Then it stops the timers and returns when the goroutine has ended. Inside
// a task it returns at once, and the loop ends after that task. Closing again waits likewise.
func (l *Loop) Close() {
	l.mu.Lock()
	l.closing = true
	l.startLocked() // so that accepted tasks run
	asleep := l.asleep
	l.asleep = false
	l.mu.Unlock()
	if asleep {
		l.wake <- struct{}{}
	}
	if l.Running() {
		return
	}
	<-l.done
}

// loop runs batches until Close.
func (l *Loop) loop() {
	ended := false
	defer func() {
		if !ended {
			// A task ended the goroutine with runtime.Goexit: another takes over where it stopped.
			l.busy.Store(0)
			l.log.Error("nano: a task ended the logic goroutine with runtime.Goexit")
			go l.goid.Run(l.loop)
		}
	}()
	l.runBatch()
	l.end()
	for {
		l.mu.Lock()
		if l.closing && len(l.queue) == 0 {
			l.closed = true
			l.dropTimers()
			if l.alarm != nil {
				l.alarm.Stop()
			}
			l.mu.Unlock()
			ended = true
			close(l.done)
			return
		}
		cut := false
		if l.closing {
			// Accepted tasks run, so the last round begins by accepting no more.
			l.rounds++
			cut = l.rounds == closeRounds
			l.closed = l.closed || cut
		}
		if len(l.queue) == 0 && !l.due() {
			l.asleep = true
			l.setAlarm()
			l.mu.Unlock()
			l.sleep()
			continue
		}
		l.batch, l.queue, l.at = l.queue, l.batch[:0], 0
		oldest := l.oldest
		l.mu.Unlock()
		if cut {
			l.log.Error("nano: scheduler closed although tasks kept queuing tasks")
		}
		if len(l.batch) > 0 {
			l.noteLoad(oldest)
			delay := l.now() - oldest
			l.delay.Store(int64(delay))
			l.delays.Add(delay, 1)
		}
		l.runBatch()
		l.end()
	}
}

// end flushes the output of a batch.
func (l *Loop) end() {
	if l.begun {
		l.begun = false
		l.flush()
		l.idle = l.now()
		l.flushTime.Add(int64(l.idle - l.ran))
		l.busyTime.Add(int64(l.idle - l.batchBegan))
	}
}

// sleep waits for a task, for Close, or for the alarm.
func (l *Loop) sleep() {
	<-l.wake
	if l.saturated {
		// Goroutines that are ready to run have more tasks. If the loop lets them run first, what
		// one poll of the network brought makes one batch, and its answers go out together.
		l.yielder.Yield()
	}
}
