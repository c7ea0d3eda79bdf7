package runloop_test

import (
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/internal/runloop/looptest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newLog returns a log, and the configuration of a loop that writes to it.
func newLog() (*looptest.Log, runloop.Config) {
	r := &looptest.Log{}
	c := runloop.DefaultConfig()
	c.Log = r.Logger()
	return r, c
}

// stopped runs f in fake time with a loop that is not started, and closes the loop. Log
// lines fail the test unless f returns true.
func stopped(t *testing.T, f func(l *runloop.Loop, log *looptest.Log) (logs bool)) {
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
func started(t *testing.T, f func(l *runloop.Loop, log *looptest.Log) (logs bool)) {
	t.Helper()
	stopped(t, func(l *runloop.Loop, log *looptest.Log) bool {
		l.Start()
		return f(l, log)
	})
}

func TestRunning(t *testing.T) {
	started(t, func(l *runloop.Loop, _ *looptest.Log) bool {
		_, config := newLog()
		other := runloop.New(config)
		defer other.Close()
		if l.Running() {
			t.Error("Running() = true outside, want false")
		}
		looptest.Do(l, func() {
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
		looptest.Pass(time.Millisecond)
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
	stopped(t, func(l *runloop.Loop, _ *looptest.Log) bool {
		var steps looptest.Trace
		l.Invoke(func() { steps.Add("first") })
		l.After(new(runloop.Timer), 10*time.Millisecond, func() { steps.Add("timer") })
		looptest.Pass(5 * time.Millisecond)
		steps.Expect(t)
		l.Start()
		l.Start()
		l.Invoke(func() { steps.Add("second") })
		synctest.Wait()
		steps.Expect(t, "first", "second")
		looptest.Pass(5 * time.Millisecond)
		steps.Expect(t, "first", "second", "timer")
		return false
	})
}

func TestCloseWithoutStart(t *testing.T) {
	stopped(t, func(l *runloop.Loop, _ *looptest.Log) bool {
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
		if log.Count("slow task") != 1 || ignored.String() != "" {
			t.Errorf("logs = %q and %q, want what was configured before Start to hold", log, ignored)
		}
	})
}

func sleepSixSeconds() { time.Sleep(6 * time.Second) }

func TestCheckStuck(t *testing.T) {
	started(t, func(l *runloop.Loop, log *looptest.Log) bool {
		for i, push := range []func(){
			func() { l.Invoke(sleepSixSeconds) },
			func() { l.After(new(runloop.Timer), 0, sleepSixSeconds) },
			func() { l.Invoke(func() { l.SelfTimed(); sleepSixSeconds() }) },
		} {
			push()
			looptest.Pass(4900 * time.Millisecond)
			l.CheckStuck()
			if n := log.Count("stuck"); n != i {
				t.Fatalf("task %d: %d lines name a stuck task after 4.9 s, want %d: %s", i, n, i, log)
			}
			looptest.Pass(200 * time.Millisecond)
			for range 3 {
				l.CheckStuck()
			}
			if n := log.Count("stuck"); n != i+1 {
				t.Fatalf("task %d: %d lines name a stuck task after 5.1 s, want %d, once a task: %s", i, n, i+1, log)
			}
			if n := log.Count("runloop_test.sleepSixSeconds("); n != i+1 {
				t.Errorf("task %d: %d stacks logged, want %d: %s", i, n, i+1, log)
			}
			looptest.Pass(time.Minute)
			l.CheckStuck()
		}
		if n := log.Count("stuck"); n != 3 {
			t.Errorf("%d lines name a stuck task while nothing runs, want 3: %s", n, log)
		}
		return true
	})
}

func TestBeginAndEnd(t *testing.T) {
	var events looptest.Trace
	note := func(what string) func() { return func() { events.Add(what) } }
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
		looptest.Pass(2 * time.Second)
		l.Invoke(func() {
			events.Add("3")
			l.Invoke(note("4"))
		})
		synctest.Wait()
		release := make(chan struct{})
		l.Invoke(func() { <-release })
		synctest.Wait()
		for range 5 { // one batch that takes 3.5 ms
			l.Invoke(func() { time.Sleep(700 * time.Microsecond); events.Add("slow") })
		}
		close(release)
		looptest.Pass(time.Second)
		l.Invoke(func() { events.Add("exit"); runtime.Goexit() })
		synctest.Wait()
		l.Invoke(func() { panic("boom") })
		l.Close()
	})
	events.Expect(t,
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
	stopped(t, func(l *runloop.Loop, _ *looptest.Log) bool {
		var polls []time.Duration
		start := time.Now()
		var timer runloop.Timer
		l.When(&timer, func(time.Time) bool { polls = append(polls, time.Since(start)); return false }, func() {})
		config := runloop.DefaultConfig()
		config.Precision = 250 * time.Millisecond
		l.Configure(config)
		l.Start()
		looptest.Pass(1800 * time.Millisecond)
		timer.Stop()
		want := []time.Duration{time.Second, 1250 * time.Millisecond, 1500 * time.Millisecond, 1750 * time.Millisecond}
		if !slices.Equal(polls, want) {
			t.Errorf("checked at %v, want %v", polls, want)
		}
		return false
	})
}
