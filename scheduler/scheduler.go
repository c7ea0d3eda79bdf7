package scheduler

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/lonng/nano/internal/runloop"
)

// Task is a function for the logic goroutine.
type Task func()

// LocalScheduler runs tasks one at a time in the order they were given, each once. A session may
// hold one under a key that component.WithSchedulerName names. A [Scheduler] is one.
type LocalScheduler interface {
	// Schedule queues a task and returns without waiting for it. It may be called concurrently.
	Schedule(Task)
}

// Invoker is implemented by a [LocalScheduler] that can end while sessions hold it. Without it,
// the messages of a session wait without limit behind a task that was dropped.
type Invoker interface {
	// Invoke queues a function and returns without waiting for it. It reports false if the
	// scheduler has ended and f is dropped. It may be called concurrently.
	Invoke(f func()) bool
}

var (
	_ LocalScheduler = (*Scheduler)(nil)
	_ Invoker        = (*Scheduler)(nil)
)

// Scheduler runs tasks and timers on one goroutine. Its methods may be called concurrently.
type Scheduler struct {
	loop *runloop.Loop
}

func init() {
	runloop.Register(
		func(l *runloop.Loop) any { return &Scheduler{loop: l} },
		func(v any) *runloop.Loop {
			if s, ok := v.(*Scheduler); ok && s != nil {
				return s.loop
			}
			return nil
		},
	)
}

// Option configures a [Scheduler] that [New] makes.
type Option func(*config)

type config = runloop.Config

// WithLogger sets where panics and slow tasks are logged. The default, and nil, is
// slog.Default.
func WithLogger(log *slog.Logger) Option {
	return func(c *config) { c.Log = cmp.Or(log, slog.Default()) }
}

// WithSlow sets how long a task may run before it is logged. The default is 100 ms; with 0 or
// less no task is logged.
func WithSlow(d time.Duration) Option { return func(c *config) { c.Slow = d } }

// WithPrecision sets the timer precision; see [Scheduler.SetPrecision].
func WithPrecision(d time.Duration) Option { return func(c *config) { c.Precision = d } }

// New makes a scheduler and starts its goroutine. End it with [Scheduler.Close].
func New(opts ...Option) *Scheduler {
	s := newScheduler(opts...)
	s.loop.Start()
	return s
}

// newScheduler is New without the start.
func newScheduler(opts ...Option) *Scheduler {
	c := runloop.DefaultConfig()
	for _, o := range opts {
		o(&c)
	}
	return &Scheduler{loop: runloop.New(c)}
}

// Invoke queues f to run on the scheduler's goroutine, after all tasks queued before. It
// never blocks, not even from inside a task. It reports false if the scheduler is closed;
// f is dropped then.
func (s *Scheduler) Invoke(f func()) bool { return s.loop.Invoke(f) }

// Schedule is [Scheduler.Invoke] without a result; it implements [LocalScheduler].
func (s *Scheduler) Schedule(t Task) { s.loop.Invoke(t) }

// SetPrecision makes timers fire at multiples of d only. With 0, the default, or less they fire
// when they are due. Condition timers are checked once every d, by default every second. A timer
// that exists follows after its next call.
func (s *Scheduler) SetPrecision(d time.Duration) { s.loop.SetPrecision(d) }

// Pending returns how many tasks wait, not counting the batch that runs.
func (s *Scheduler) Pending() int { return s.loop.Pending() }

// Delay returns how long the oldest task of the last batch had waited before it ran.
func (s *Scheduler) Delay() time.Duration { return s.loop.Delay() }

// Close runs the queued tasks, and those that they queue in turn, in at most 100 rounds; later
// tasks are dropped. Then it stops the timers and returns when the goroutine has ended. Inside
// a task it returns at once, and the goroutine ends after that task. Closing again waits
// likewise.
func (s *Scheduler) Close() { s.loop.Close() }
