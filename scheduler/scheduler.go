// Package scheduler owns the logic goroutine: one goroutine that runs tasks and timers one after the other, so
// that what they touch needs no lock. A server has one; programs make further ones for rooms with New. It knows
// nothing of sessions and messages.
//
// The functions of the package (PushTask, NewTimer and the like) serve the default scheduler, the one of the server
// that nano.Listen starts. A server made by nano.New has its own: use its Invoke and Scheduler.
package scheduler

import (
	"bytes"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/gosched"
)

// Task is a piece of work for the logic goroutine.
type Task func()

// LocalScheduler runs tasks one after the other in the order they were given, each once. A *Scheduler is one; a session
// may hold others, to which component.WithSchedulerName routes the messages of a component. One that ends while sessions
// hold it also has the method Offer(Task) bool, as a *Scheduler has: a session's messages wait for ever behind a task that
// is dropped without a word.
type LocalScheduler interface {
	// Schedule queues a task and returns without waiting for it. It may be called concurrently.
	Schedule(Task)
}

const (
	defaultSlow  = 100 * time.Millisecond // a task that runs longer is logged
	stuckAfter   = 5 * time.Second        // a task that runs longer has its stack logged while it runs
	flushEvery   = time.Millisecond       // the longest a batch runs before its output is flushed
	pause        = 20 * time.Microsecond  // a loop rests when it has nothing to do for longer
	rest         = 500 * time.Microsecond // one that has rested for longer at once is not pressed
	pressedAfter = 2 * time.Millisecond   // one that has rested for less than half of so long is
	closeRounds  = 100                    // batches that Close runs at most: tasks that queue tasks have an end
)

// Scheduler runs tasks and timers on one goroutine. Its methods may be called concurrently.
type Scheduler struct {
	log   *slog.Logger
	slow  time.Duration
	begin func() // called before a batch of tasks
	flush func() // called after a batch, and every flushEvery within one
	held  bool   // New does not start it

	base time.Time // all times below are since base

	mu        sync.Mutex
	queue     []Task        // waiting; mu guards it and what follows
	oldest    time.Duration // when the first task of queue was put there
	started   bool
	asleep    bool // the loop waits on wake
	closing   bool
	closed    bool
	timers    timerHeap
	precision time.Duration
	lastTimer int64
	alarm     *time.Timer   // wakes the loop for its timers; nil before the first
	alarmAt   time.Duration // when it rings, 0 for never

	wake chan struct{} // capacity 1
	done chan struct{} // closed when the loop has ended

	nextDue atomic.Int64  // when the first timer is due, or 0
	busy    atomic.Int64  // when the running task started, or 0
	delay   atomic.Int64  // how long the first task of the last batch had waited
	stuck   atomic.Int64  // the busy value whose stack has been logged
	routine atomic.Uint64 // the number of the loop's goroutine
	pressed atomic.Bool   // see press; written by the loop alone

	// Of the loop's goroutine alone.
	batch   []Task
	at      int           // the next task of batch
	rounds  int           // batches since Close was called
	began   time.Duration // when the running task began
	until   time.Duration // when it ended, where it has told; else 0
	watched bool          // the running task watches its own time
	begun   bool          // begin was called, and flush has yet to be
	yielder gosched.Yielder
	idle    time.Duration // when the last batch had run
	since   time.Duration // when rested began to be added up
	rested  time.Duration // how long the loop has rested since
}

// Option configures a Scheduler that New makes.
type Option func(*Scheduler)

// WithLogger has panics and slow tasks logged to log instead of slog.Default.
func WithLogger(log *slog.Logger) Option { return func(s *Scheduler) { s.log = log } }

// WithSlow sets how long a task may run before it is logged: 100 ms by default, 0 for never.
func WithSlow(d time.Duration) Option { return func(s *Scheduler) { s.slow = d } }

// WithPrecision sets the timer precision; see SetPrecision.
func WithPrecision(d time.Duration) Option {
	return func(s *Scheduler) { s.precision = min(max(d, 0), forever) }
}

// WithBatch has begin called before every batch of tasks, and end after it and once a millisecond within a long
// one, both on the scheduler's goroutine: what the tasks produced can be sent on together. Both are short and do
// not panic.
func WithBatch(begin, end func()) Option {
	return func(s *Scheduler) { s.begin, s.flush = begin, end }
}

// Stopped makes a scheduler that keeps what it is given until Start.
func Stopped() Option { return func(s *Scheduler) { s.held = true } }

// New makes a scheduler and starts it. Whoever makes it ends it with Close.
func New(opts ...Option) *Scheduler {
	s := &Scheduler{
		log:   slog.Default(),
		slow:  defaultSlow,
		base:  time.Now(),
		begin: func() {},
		flush: func() {},
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
	for _, o := range opts {
		o(s)
	}
	if !s.held {
		s.Start()
	}
	return s
}

// Configure applies options to a scheduler that was not started. On one that runs it does nothing.
func (s *Scheduler) Configure(opts ...Option) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return
	}
	for _, o := range opts {
		o(s)
	}
}

// Running reports whether the caller is on the scheduler's goroutine: inside a task or a timer.
func (s *Scheduler) Running() bool { return s.routine.Load() == goroutine() }

// Start starts a scheduler that was made Stopped. Starting again does nothing.
func (s *Scheduler) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return
	}
	s.started = true
	go s.loop()
}

func (s *Scheduler) now() time.Duration { return time.Since(s.base) }

// PushTask queues a task. It never blocks, not even from inside a task. After Close it drops the task.
func (s *Scheduler) PushTask(t Task) { s.Offer(t) }

// Offer queues a task as PushTask does, and reports false if the scheduler is closed and the task dropped.
func (s *Scheduler) Offer(t Task) bool {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	if len(s.queue) == 0 {
		s.oldest = s.now()
	}
	s.queue = append(s.queue, t)
	asleep := s.asleep
	s.asleep = false
	s.mu.Unlock()
	if asleep {
		s.wake <- struct{}{} // capacity 1, and only who cleared asleep sends
	}
	return true
}

// Schedule is PushTask; it makes a *Scheduler a LocalScheduler.
func (s *Scheduler) Schedule(t Task) { s.PushTask(t) }

// SetPrecision has timers fire at multiples of d only, 0 for when they are due, which is the default; condition
// timers are polled once every d, by default every second. For timers that exist it holds after their next call.
func (s *Scheduler) SetPrecision(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.precision = min(max(d, 0), forever)
}

// Pending returns how many tasks wait, not counting the batch that runs.
func (s *Scheduler) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

// Delay returns how long the tasks that began to run last had waited.
func (s *Scheduler) Delay() time.Duration { return time.Duration(s.delay.Load()) }

// Pressed reports whether the loop has hardly rested for the last milliseconds: who has work for it had better bring
// much at a time then than little at once.
func (s *Scheduler) Pressed() bool { return s.pressed.Load() }

// Watched tells the scheduler that the running task itself logs what is slow. Only the running task may call it. It
// returns when the task began, on the clock of Now.
func (s *Scheduler) Watched() time.Duration {
	s.watched = true
	return s.began
}

// Now returns how long ago the scheduler was made, on the monotonic clock.
func (s *Scheduler) Now() time.Duration { return s.now() }

// Done tells the scheduler that the running task is about to end, and when it has last looked at the clock of Now: that is
// taken for its end, which spares the scheduler a look of its own. Only the running task may call it.
func (s *Scheduler) Done(at time.Duration) { s.until = at }

// Close runs what is queued, and what that queues in turn, up to 100 rounds of it, after which tasks are dropped as they
// are pushed; stops the timers; and returns when the goroutine has ended. From inside a task it returns at once, and the
// end comes when the task returns. Closing again waits likewise.
func (s *Scheduler) Close() {
	s.mu.Lock()
	s.closing = true
	if !s.started {
		// Nothing has run; run it here, so that what was accepted is not lost.
		s.started = true
		go s.loop()
	}
	asleep := s.asleep
	s.asleep = false
	s.mu.Unlock()
	if asleep {
		s.wake <- struct{}{}
	}
	if s.Running() {
		return
	}
	<-s.done
}

// goroutine returns the number of the calling goroutine, as stack traces print it.
func goroutine() uint64 {
	var buf [64]byte
	b := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

func (s *Scheduler) loop() {
	ended := false
	s.routine.Store(goroutine())
	defer func() {
		if !ended {
			// A task ended the goroutine with runtime.Goexit: another takes over where it stopped.
			s.busy.Store(0)
			s.log.Error("nano: a task ended the logic goroutine with runtime.Goexit")
			go s.loop()
		}
	}()
	s.runBatch()
	s.end()
	for {
		s.mu.Lock()
		if s.closing && len(s.queue) == 0 {
			s.closed = true
			s.dropTimers()
			if s.alarm != nil {
				s.alarm.Stop()
			}
			s.mu.Unlock()
			ended = true
			close(s.done)
			return
		}
		cut := false
		if s.closing {
			// What was accepted runs, so the last round begins with accepting no more.
			s.rounds++
			cut = s.rounds == closeRounds
			s.closed = s.closed || cut
		}
		if len(s.queue) == 0 && !s.due() {
			s.asleep = true
			s.setAlarm()
			s.mu.Unlock()
			s.sleep()
			continue
		}
		s.batch, s.queue, s.at = s.queue, s.batch[:0], 0
		oldest := s.oldest
		s.mu.Unlock()
		if cut {
			s.log.Error("nano: scheduler closed while tasks went on to queue tasks")
		}
		if len(s.batch) > 0 {
			s.press(oldest)
			s.delay.Store(int64(s.now() - oldest))
		}
		s.runBatch()
		s.end()
	}
}

// ended reports whether Close has come so far that no more tasks are accepted.
func (s *Scheduler) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// end flushes what a batch produced.
func (s *Scheduler) end() {
	if s.begun {
		s.begun = false
		s.flush()
		s.idle = s.now()
	}
}

// sleep waits for a task, for Close, or for the alarm.
func (s *Scheduler) sleep() {
	<-s.wake
	if s.pressed.Load() {
		// Who is ready to run has more for us: what one poll of the network brought then makes one batch, and its
		// answers go out in a row, so that a receiver on another core is woken once and not for each of them.
		s.yielder.Yield()
	}
}

// press notes whether the loop has hardly rested for a while: then it saves time by taking more at once, else it had
// better begin at once. Where many connections are ready at a time, the runtime takes some 100 µs to find them: that is no
// rest. A batch is about to run whose first task was queued at oldest.
func (s *Scheduler) press(oldest time.Duration) {
	gap := oldest - s.idle
	if gap > pause {
		s.rested += gap
	}
	if gap > rest {
		s.setPressed(false)
	} else if passed := oldest - s.since; passed > pressedAfter {
		s.setPressed(s.rested < passed/2)
	} else {
		return
	}
	s.since, s.rested = oldest, 0
}

func (s *Scheduler) setPressed(pressed bool) {
	if s.pressed.Load() != pressed {
		s.pressed.Store(pressed)
	}
}

// setAlarm has the loop woken when the first timer is due. An alarm that is early, because that timer was stopped,
// costs a look; setting it anew whenever the loop sleeps would cost more. The caller holds mu.
func (s *Scheduler) setAlarm() {
	due := time.Duration(s.nextDue.Load())
	if due == 0 || s.alarmAt != 0 && s.alarmAt <= due {
		return
	}
	s.alarmAt = due
	if s.alarm == nil {
		s.alarm = time.AfterFunc(due-s.now(), s.ring)
	} else {
		s.alarm.Reset(due - s.now())
	}
}

// ring wakes the loop for its timers.
func (s *Scheduler) ring() {
	s.mu.Lock()
	s.alarmAt = 0
	asleep := s.asleep
	s.asleep = false
	s.mu.Unlock()
	if asleep {
		s.wake <- struct{}{}
	}
}

// due reports whether a timer is due.
func (s *Scheduler) due() bool {
	due := s.nextDue.Load()
	return due != 0 && s.now() >= time.Duration(due)
}

// runBatch runs what is left of the batch, and the timers that are due meanwhile.
func (s *Scheduler) runBatch() {
	if s.at == len(s.batch) && !s.due() {
		return
	}
	if !s.begun {
		s.begun = true
		s.begin()
	}
	now := s.fire(s.now())
	flushed := now
	for s.at < len(s.batch) {
		t := s.batch[s.at]
		s.batch[s.at] = nil
		s.at++
		s.busy.Store(int64(now) | 1)
		s.began, s.until, s.watched = now, 0, false
		s.run(t)
		end := s.until
		if end == 0 {
			end = s.now()
		}
		if took := end - now; s.slow > 0 && took > s.slow && !s.watched {
			s.log.Warn("nano: slow task", "task", taskName(t), "took", took)
		}
		now = end
		if now-flushed > flushEvery {
			s.flush()
			s.begin()
			now = s.now()
			flushed = now
		}
		now = s.fire(now)
	}
	s.busy.Store(0)
}

func (s *Scheduler) run(t Task) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("nano: panic in a task", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	t()
}

func taskName(t Task) string {
	if f := runtime.FuncForPC(reflect.ValueOf(t).Pointer()); f != nil {
		return f.Name()
	}
	return "unknown"
}

// CheckStuck logs the stack of a task that has run for more than five seconds, once a task. A server calls it now
// and then.
func (s *Scheduler) CheckStuck() {
	busy := s.busy.Load()
	if busy == 0 || s.slow <= 0 || s.now()-time.Duration(busy) < stuckAfter || s.stuck.Swap(busy) == busy {
		return
	}
	s.log.Error("nano: the logic goroutine is stuck in one task",
		"for", (s.now() - time.Duration(busy)).Round(time.Millisecond), "stack", stackOf(s.routine.Load()))
}

// stackOf returns the stack of one goroutine, cut out of a dump of all.
func stackOf(routine uint64) string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	head := fmt.Appendf(nil, "goroutine %d ", routine)
	for part := range bytes.SplitSeq(buf, []byte("\n\n")) {
		if bytes.HasPrefix(part, head) {
			return string(part)
		}
	}
	return "not among the first goroutines"
}
