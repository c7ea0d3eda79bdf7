package scheduler

import (
	"context"
	"sync"
	"time"
)

var (
	defaultMu sync.Mutex
	standard  *Scheduler // the default scheduler; defaultMu guards it
)

// Default returns the scheduler that the functions of this package serve: the one that nano.Listen starts. Until
// then it keeps what it is given.
func Default() *Scheduler {
	defaultMu.Lock()
	defer defaultMu.Unlock()
	if standard == nil || standard.ended() {
		standard = New(Stopped())
	}
	return standard
}

// Sched starts the default scheduler, unless it runs. nano.Listen does so; programs need it only in tests.
func Sched() { Default().Start() }

// Close closes the default scheduler as Scheduler.Close does, and leaves a fresh one in its place for the next
// Listen.
func Close() {
	if s := take(); s != nil {
		s.Close()
	}
}

// Shutdown is Close that waits until ctx ends at the most, and then returns its error; the tasks run on meanwhile.
func Shutdown(ctx context.Context) error {
	s := take()
	if s == nil {
		return nil
	}
	closed := make(chan struct{})
	go func() {
		s.Close()
		close(closed)
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take takes the default scheduler away; nil where there is none.
func take() *Scheduler {
	defaultMu.Lock()
	defer defaultMu.Unlock()
	s := standard
	standard = nil
	return s
}

// PushTask queues a task on the default scheduler. It never blocks.
func PushTask(t Task) { Default().PushTask(t) }

// NewTimer is Scheduler.NewTimer of the default scheduler.
func NewTimer(interval time.Duration, f TimerFunc) *Timer { return Default().NewTimer(interval, f) }

// NewCountTimer is Scheduler.NewCountTimer of the default scheduler.
func NewCountTimer(interval time.Duration, count int, f TimerFunc) *Timer {
	return Default().NewCountTimer(interval, count, f)
}

// NewAfterTimer is Scheduler.NewAfterTimer of the default scheduler.
func NewAfterTimer(d time.Duration, f TimerFunc) *Timer { return Default().NewAfterTimer(d, f) }

// NewCondTimer is Scheduler.NewCondTimer of the default scheduler.
func NewCondTimer(cond TimerCondition, f TimerFunc) *Timer { return Default().NewCondTimer(cond, f) }
