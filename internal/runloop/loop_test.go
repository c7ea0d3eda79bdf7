package runloop_test

import (
	"bytes"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/runloop"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record is a log that the test can read.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// count returns how many lines contain text.
func (r *record) count(text string) int {
	n := 0
	for line := range strings.Lines(r.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// newLog returns a log, and the configuration of a loop that writes to it.
func newLog() (*record, runloop.Config) {
	r := &record{}
	c := runloop.DefaultConfig()
	c.Log = slog.New(slog.NewTextHandler(r, nil))
	return r, c
}

// stopped runs f in fake time with a loop that is not started, and closes the loop. Log
// lines fail the test unless f returns true.
func stopped(t *testing.T, f func(l *runloop.Loop, log *record) (logs bool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log, config := newLog()
		l := runloop.New(config)
		defer l.Close()
		if !f(l, log) && log.String() != "" {
			t.Errorf("logged %s", log)
		}
	})
}

// started is stopped with a loop that is started.
func started(t *testing.T, f func(l *runloop.Loop, log *record) (logs bool)) {
	t.Helper()
	stopped(t, func(l *runloop.Loop, log *record) bool {
		l.Start()
		return f(l, log)
	})
}

// pass advances the fake time by d and waits until the process is idle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// trace is a list of events in order.
type trace struct {
	mu   sync.Mutex
	list []string
}

func (r *trace) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, what)
}

func (r *trace) expect(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.list, want) {
		t.Errorf("happened: %q, want %q", r.list, want)
	}
}

// do runs f on the loop and waits for it.
func do(l *runloop.Loop, f func()) {
	done := make(chan struct{})
	l.Invoke(func() { defer close(done); f() })
	<-done
}

func TestRunning(t *testing.T) {
	started(t, func(l *runloop.Loop, _ *record) bool {
		_, config := newLog()
		other := runloop.New(config)
		defer other.Close()
		if l.Running() {
			t.Error("Running() = true outside, want false")
		}
		do(l, func() {
			if !l.Running() || other.Running() {
				t.Errorf("Running() = %v, of another scheduler %v, in a task, want true and false", l.Running(), other.Running())
			}
			done := make(chan bool)
			go func() { done <- l.Running() }()
			if <-done {
				t.Error("Running() = true on a goroutine that a task started, want false")
			}
		})
		var inTimer bool
		l.After(new(runloop.Timer), time.Millisecond, func() { inTimer = l.Running() })
		pass(time.Millisecond)
		if !inTimer {
			t.Error("Running() = false in a timer, want true")
		}
		l.Close()
		if l.Running() {
			t.Error("Running() = true after Close, want false")
		}
		return false
	})
}

func TestStopped(t *testing.T) {
	stopped(t, func(l *runloop.Loop, _ *record) bool {
		var steps trace
		l.Invoke(func() { steps.add("first") })
		l.After(new(runloop.Timer), 10*time.Millisecond, func() { steps.add("timer") })
		pass(5 * time.Millisecond)
		steps.expect(t)
		l.Start()
		l.Start()
		l.Invoke(func() { steps.add("second") })
		synctest.Wait()
		steps.expect(t, "first", "second")
		pass(5 * time.Millisecond)
		steps.expect(t, "first", "second", "timer")
		return false
	})
}

func TestCloseWithoutStart(t *testing.T) {
	stopped(t, func(l *runloop.Loop, _ *record) bool {
		ran := false
		l.Invoke(func() { ran = true })
		l.Close()
		if !ran {
			t.Error("Close of a scheduler that was not started dropped what it had accepted")
		}
		l.Start()
		if l.Invoke(func() {}) {
			t.Error("Invoke() = true after Close and Start, want false")
		}
		return false
	})
}

func TestConfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, config := newLog()
		ignored, other := newLog()
		config.Slow, other.Slow = time.Millisecond, time.Hour
		l := runloop.New(runloop.DefaultConfig())
		l.Configure(config)
		l.Start()
		l.Configure(other)
		l.Invoke(func() { time.Sleep(2 * time.Millisecond) })
		l.Close()
		if log.count("slow task") != 1 || ignored.String() != "" {
			t.Errorf("logs = %q and %q, want what was configured before Start to hold", log, ignored)
		}
	})
}

func sleepSixSeconds() { time.Sleep(6 * time.Second) }

func TestCheckStuck(t *testing.T) {
	started(t, func(l *runloop.Loop, log *record) bool {
		for i, push := range []func(){
			func() { l.Invoke(sleepSixSeconds) },
			func() { l.After(new(runloop.Timer), 0, sleepSixSeconds) },
			func() { l.Invoke(func() { l.SelfTimed(); sleepSixSeconds() }) },
		} {
			push()
			pass(4900 * time.Millisecond)
			l.CheckStuck()
			if n := log.count("stuck"); n != i {
				t.Fatalf("task %d: %d lines name a stuck task after 4.9 s, want %d: %s", i, n, i, log)
			}
			pass(200 * time.Millisecond)
			for range 3 {
				l.CheckStuck()
			}
			if n := log.count("stuck"); n != i+1 {
				t.Fatalf("task %d: %d lines name a stuck task after 5.1 s, want %d, once a task: %s", i, n, i+1, log)
			}
			if n := log.count("runloop_test.sleepSixSeconds("); n != i+1 {
				t.Errorf("task %d: %d stacks logged, want %d: %s", i, n, i+1, log)
			}
			pass(time.Minute)
			l.CheckStuck()
		}
		if n := log.count("stuck"); n != 3 {
			t.Errorf("%d lines name a stuck task while nothing runs, want 3: %s", n, log)
		}
		return true
	})
}

func TestBeginAndEnd(t *testing.T) {
	var events trace
	note := func(what string) func() { return func() { events.add(what) } }
	synctest.Test(t, func(t *testing.T) {
		_, config := newLog()
		config.Begin, config.End = note("begin"), note("end")
		l := runloop.New(config)
		l.Invoke(note("1"))
		l.Invoke(note("2"))
		l.Start()
		synctest.Wait()
		l.After(new(runloop.Timer), time.Second, note("timer"))
		synctest.Wait() // wakes up without tasks
		pass(2 * time.Second)
		l.Invoke(func() {
			events.add("3")
			l.Invoke(note("4"))
		})
		synctest.Wait()
		release := make(chan struct{})
		l.Invoke(func() { <-release })
		synctest.Wait()
		for range 5 { // one batch that takes 3.5 ms
			l.Invoke(func() { time.Sleep(700 * time.Microsecond); events.add("slow") })
		}
		close(release)
		pass(time.Second)
		l.Invoke(func() { events.add("exit"); runtime.Goexit() })
		synctest.Wait()
		l.Invoke(func() { panic("boom") })
		l.Close()
	})
	events.expect(t,
		"begin", "1", "2", "end",
		"begin", "timer", "end",
		"begin", "3", "end", "begin", "4", "end",
		"begin", "end",
		"begin", "slow", "slow", "end", "begin", "slow", "slow", "end", "begin", "slow", "end",
		"begin", "exit", "end",
		"begin", "end",
	)
}

// TestEndedAt checks that a task may pass its end time to the loop, which uses it as the
// start time of the next task.
func TestEndedAt(t *testing.T) {
	l := runloop.New(runloop.DefaultConfig())
	l.Start()
	defer l.Close()
	var began, ended, next time.Duration
	ran := make(chan struct{})
	l.Invoke(func() {
		l.Invoke(func() {
			began = l.SelfTimed()
			ended = l.Now()
			l.EndedAt(ended)
		})
		l.Invoke(func() {
			next = l.SelfTimed()
			close(ran)
		})
	})
	<-ran
	if began <= 0 || ended < began || next != ended {
		t.Errorf("a task began at %v and ended at %v, the next began at %v, want at the same time", began, ended, next)
	}
}

// Programs create timers before nano.Listen sets the precision.
func TestConditionTimerMadeBeforeThePrecisionWasSet(t *testing.T) {
	stopped(t, func(l *runloop.Loop, _ *record) bool {
		var polls []time.Duration
		start := time.Now()
		var timer runloop.Timer
		l.When(&timer, func(time.Time) bool { polls = append(polls, time.Since(start)); return false }, func() {})
		config := runloop.DefaultConfig()
		config.Precision = 250 * time.Millisecond
		l.Configure(config)
		l.Start()
		pass(1800 * time.Millisecond)
		timer.Stop()
		want := []time.Duration{time.Second, 1250 * time.Millisecond, 1500 * time.Millisecond, 1750 * time.Millisecond}
		if !slices.Equal(polls, want) {
			t.Errorf("checked at %v, want %v", polls, want)
		}
		return false
	})
}
