package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"
)

// startLimit is how long the default scheduler may wait for its server before that is logged.
const startLimit = 5 * time.Second

var (
	defaultMu sync.Mutex
	standard  *Scheduler  // the default scheduler; defaultMu guards it and the fields below
	watch     *time.Timer // logs that standard was not started; nil if nothing was queued
)

// Default returns the default scheduler, which the functions of this package use. Only
// nano.Listen starts it, or a server with the option nano.WithScheduler(scheduler.Default()).
// Until then it keeps its tasks and timers.
func Default() *Scheduler {
	defaultMu.Lock()
	defer defaultMu.Unlock()
	return current()
}

// current is Default; the caller holds defaultMu.
func current() *Scheduler {
	if standard == nil || standard.loop.Closed() {
		standard = newScheduler()
		stopWatch()
	}
	return standard
}

// used is Default for a function of this package that queues something. If the scheduler does
// not start soon, the first such call is logged.
func used() *Scheduler {
	defaultMu.Lock()
	defer defaultMu.Unlock()
	s := current()
	if watch == nil && !s.loop.Started() {
		name, at := caller()
		watch = time.AfterFunc(startLimit, func() {
			if s.loop.Started() {
				return
			}
			slog.Warn("nano: the default scheduler has not started, so its tasks and timers wait: "+
				"only nano.Listen starts it; with nano.New, nanotest or cluster tests use the server's Invoke and Scheduler, "+
				"or nano.WithScheduler(scheduler.Default())", "function", name, "caller", at)
		})
	}
	return s
}

// stopWatch forgets the pending warning. The caller holds defaultMu.
func stopWatch() {
	if watch != nil {
		watch.Stop()
		watch = nil
	}
}

// caller returns the function of this package, or of package nano, that the program called, and
// where.
func caller() (name, at string) {
	const module = "github.com/lonng/nano"
	var pcs [8]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		function, ours := strings.CutPrefix(f.Function, module)
		if !ours || !strings.HasPrefix(function, ".") && !strings.HasPrefix(function, "/scheduler.") {
			return name, fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		name = "nano" + function
		if i := strings.LastIndexByte(function, '/'); i >= 0 {
			name = function[i+1:]
		}
	}
	return name, ""
}

// Close closes the default scheduler as [Scheduler.Close] does. The next call of [Default] makes
// a new one.
func Close() {
	if s := take(); s != nil {
		s.Close()
	}
}

// Shutdown is [Close] with a deadline: if ctx ends first, Shutdown returns its error, and the
// tasks run on.
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

// take takes the default scheduler away and returns it, or nil if there is none.
func take() *Scheduler {
	defaultMu.Lock()
	defer defaultMu.Unlock()
	s := standard
	standard = nil
	stopWatch()
	return s
}

// Invoke queues f on the default scheduler; see [Scheduler.Invoke].
func Invoke(f func()) bool { return used().Invoke(f) }

// NewTimer makes a timer of the default scheduler; see [Scheduler.NewTimer].
func NewTimer(interval time.Duration, f TimerFunc) *Timer { return used().NewTimer(interval, f) }

// NewCountTimer makes a timer of the default scheduler; see [Scheduler.NewCountTimer].
func NewCountTimer(interval time.Duration, count int, f TimerFunc) *Timer {
	return used().NewCountTimer(interval, count, f)
}

// NewAfterTimer makes a timer of the default scheduler; see [Scheduler.NewAfterTimer].
func NewAfterTimer(d time.Duration, f TimerFunc) *Timer { return used().NewAfterTimer(d, f) }

// NewCondTimer makes a timer of the default scheduler; see [Scheduler.NewCondTimer].
func NewCondTimer(cond TimerCondition, f TimerFunc) *Timer { return used().NewCondTimer(cond, f) }
