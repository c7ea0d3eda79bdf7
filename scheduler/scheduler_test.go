package scheduler_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/internal/runloop/looptest"
	"github.com/lonng/nano/scheduler"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ scheduler.LocalScheduler = (*scheduler.Scheduler)(nil)

func newLog() (*looptest.Log, scheduler.Option) {
	r := &looptest.Log{}
	return r, scheduler.WithLogger(r.Logger())
}

// inFakeTime runs f in fake time with a running scheduler, and closes the scheduler. Log
// lines fail the test unless f returns true.
func inFakeTime(t *testing.T, f func(s *scheduler.Scheduler, log *looptest.Log) (logs bool), opts ...scheduler.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log, option := newLog()
		s := scheduler.New(append([]scheduler.Option{option}, opts...)...)
		defer s.Close()
		if !f(s, log) && log.String() != "" {
			t.Errorf("logged %s", log)
		}
	})
}

// loop returns the run loop of a scheduler.
func loop(s *scheduler.Scheduler) *runloop.Loop {
	l, ok := runloop.Of(s)
	if !ok {
		panic("the scheduler has no loop")
	}
	return l
}

func TestTasksRunInOrder(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		var got []int
		for i := range 1000 {
			switch i % 3 {
			case 0:
				s.Invoke(func() { got = append(got, i) })
			case 1:
				s.Schedule(func() { got = append(got, i) })
			default:
				if !s.Invoke(func() { got = append(got, i) }) {
					t.Error("Invoke() = false on a running scheduler, want true")
				}
			}
		}
		synctest.Wait()
		if len(got) != 1000 || !slices.IsSorted(got) {
			t.Errorf("1000 tasks ran as %v, want all in order", got)
		}
		return false
	})
}

// TestTasksOfManyGoroutines checks that tasks of several goroutines run one at a time,
// and that those of each goroutine run in order.
func TestTasksOfManyGoroutines(t *testing.T) {
	const goroutines, each = 8, 2000
	s := scheduler.New()
	var seen [goroutines]int // not guarded, so the race detector finds tasks that overlap
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				s.Invoke(func() {
					if seen[g] != i {
						t.Errorf("task %d of goroutine %d ran after %d others of it", i, g, seen[g])
					}
					seen[g]++
				})
			}
		})
	}
	wg.Wait()
	s.Close()
	for g, n := range seen {
		if n != each {
			t.Errorf("%d tasks of goroutine %d ran, want %d", n, g, each)
		}
	}
}

// TestPushFromInsideATaskNeverBlocks checks that a task may queue any number of tasks. A
// scheduler with a bounded queue would deadlock.
func TestPushFromInsideATaskNeverBlocks(t *testing.T) {
	const n = 200_000
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		var ran []int
		looptest.Do(s, func() {
			for i := range n {
				s.Invoke(func() { ran = append(ran, i) })
			}
			if len(ran) != 0 {
				t.Errorf("%d tasks ran inside the task that pushed them, want none", len(ran))
			}
			if s.Pending() != n {
				t.Errorf("Pending() = %d, want %d", s.Pending(), n)
			}
		})
		synctest.Wait()
		if len(ran) != n || !slices.IsSorted(ran) {
			t.Errorf("%d tasks ran, sorted %v, want %d in order", len(ran), slices.IsSorted(ran), n)
		}
		return false
	})
}

func TestPushToABusySchedulerNeverBlocks(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		release := make(chan struct{})
		s.Invoke(func() { <-release })
		synctest.Wait()
		for range 100_000 {
			s.Invoke(func() {})
		}
		if s.Pending() != 100_000 {
			t.Errorf("Pending() = %d, want 100000", s.Pending())
		}
		close(release)
		synctest.Wait()
		if s.Pending() != 0 {
			t.Errorf("Pending() = %d when all have run, want 0", s.Pending())
		}
		return false
	})
}

func TestCloseRunsWhatIsQueued(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		var ran int
		s.Invoke(func() { time.Sleep(50 * time.Millisecond) })
		for range 100 {
			s.Invoke(func() {
				ran++
				s.Invoke(func() { ran++; s.Invoke(func() { ran++ }) })
			})
		}
		s.Close()
		if ran != 300 {
			t.Errorf("%d tasks ran before Close returned, want 300", ran)
		}
		if s.Invoke(func() { t.Error("a task ran that was offered after Close") }) {
			t.Error("Invoke() = true after Close, want false")
		}
		s.Invoke(func() { t.Error("a task ran that was pushed after Close") })
		return false
	})
}

func TestCloseTwice(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		start := time.Now()
		s.Invoke(func() { time.Sleep(80 * time.Millisecond) })
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				s.Close()
				if took := time.Since(start); took != 80*time.Millisecond {
					t.Errorf("Close returned after %v, want 80ms: when the task has ended", took)
				}
			})
		}
		wg.Wait()
		s.Close()
		return false
	})
}

func TestCloseFromInsideATask(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		var steps looptest.Trace
		s.Invoke(func() {
			s.Invoke(func() { steps.Add("queued before Close") })
			s.Close()
			s.Close()
			steps.Add("Close returned")
			s.Invoke(func() { steps.Add("queued after Close") })
		})
		synctest.Wait()
		s.Close()
		steps.Expect(t, "Close returned", "queued before Close", "queued after Close")
		if s.Invoke(func() {}) {
			t.Error("Invoke() = true when the scheduler has ended, want false")
		}
		return false
	})
}

func TestCloseFromInsideATimer(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		calls := 0
		s.NewTimer(time.Millisecond, func() { calls++; s.Close() })
		looptest.Pass(time.Second)
		s.Close()
		if calls != 1 {
			t.Errorf("a timer that closed its scheduler was called %d times, want once", calls)
		}
		return false
	})
}

// TestCloseWithTasksThatGoOn checks that tasks that always queue another task do not
// block Close. Accepted tasks still run.
func TestCloseWithTasksThatGoOn(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, log *looptest.Log) bool {
		accepted, ran := 1, 0
		var again func()
		again = func() {
			ran++
			if s.Invoke(again) {
				accepted++
			}
		}
		s.Invoke(again)
		s.Close()
		if ran < 2 {
			t.Errorf("a task that queues itself ran %d times, want more", ran)
		}
		if ran != accepted {
			t.Errorf("%d tasks were accepted and %d ran, want all that were accepted to run", accepted, ran)
		}
		if log.Count("although tasks kept queuing") != 1 {
			t.Errorf("log = %q, want a line about the tasks that kept queuing", log)
		}
		return true
	})
}

func TestPanicCostsOneTask(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, log *looptest.Log) bool {
		for _, f := range []func(){
			func() { panic("boom 1") },
			func() { panic(errors.New("boom 2")) },
			func() { panic(nil) },
			nil,
			func() { _ = []int{}[s.Pending()] },
		} {
			s.Invoke(f)
		}
		ran := false
		s.Invoke(func() { ran = true })
		synctest.Wait()
		if !ran {
			t.Error("the task after those that panicked did not run")
		}
		if n := log.Count("nano: panic in a task"); n != 5 {
			t.Errorf("%d panics logged, want 5: %s", n, log)
		}
		for _, text := range []string{"boom 1", "boom 2", "index out of range", "TestPanicCostsOneTask"} {
			if log.Count(text) == 0 {
				t.Errorf("log does not contain %q: %s", text, log)
			}
		}
		return true
	})
}

// TestNoLogger checks that a nil logger is the default one.
func TestNoLogger(t *testing.T) {
	var out bytes.Buffer
	previous := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	defer slog.SetDefault(previous)
	s := scheduler.New(scheduler.WithLogger(nil))
	s.Invoke(func() { panic("lost") })
	s.Close()
	if !strings.Contains(out.String(), "lost") {
		t.Errorf("the log has %q, want the panic", out.String())
	}
}

func TestPanicInATimer(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, log *looptest.Log) bool {
		calls, others := 0, 0
		s.NewCountTimer(10*time.Millisecond, 3, func() { calls++; panic("boom") })
		s.NewCountTimer(10*time.Millisecond, 3, func() { others++ })
		s.NewCondTimer(check(func(time.Time) bool { panic("check") }), func() {})
		looptest.Pass(1500 * time.Millisecond)
		if calls != 3 || others != 3 {
			t.Errorf("the timer that panics was called %d times, the other %d, want 3 and 3", calls, others)
		}
		if log.Count("boom") != 3 || log.Count("panic=check") != 1 {
			t.Errorf("log = %s, want three panics with boom and one with check", log)
		}
		return true
	})
}

// TestGoexit checks that the scheduler continues on a new goroutine after runtime.Goexit,
// which t.FailNow calls.
func TestGoexit(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, log *looptest.Log) bool {
		var steps looptest.Trace
		timer := s.NewTimer(10*time.Millisecond, func() {
			steps.Add("timer")
			runtime.Goexit()
		})
		release := make(chan struct{})
		s.Invoke(func() { <-release })
		s.Invoke(func() { runtime.Goexit() })
		s.Invoke(func() {
			steps.Add("queued")
			if !loop(s).Running() {
				t.Error("Running() = false in a task after Goexit, want true")
			}
		})
		s.Invoke(func() { runtime.Goexit() })
		close(release)
		synctest.Wait()
		steps.Expect(t, "queued")
		looptest.Pass(25 * time.Millisecond)
		timer.Stop()
		steps.Expect(t, "queued", "timer", "timer")
		if n := log.Count("runtime.Goexit"); n != 4 {
			t.Errorf("Goexit was logged %d times, want 4: %s", n, log)
		}
		ran := 0
		for range 3 {
			s.Invoke(func() { ran++; runtime.Goexit() })
		}
		s.Close()
		if ran != 3 {
			t.Errorf("%d tasks ran before Close returned, want 3", ran)
		}
		return true
	})
}

func slowpoke() { time.Sleep(150 * time.Millisecond) }

func TestSlowTaskIsLogged(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, log *looptest.Log) bool {
		looptest.Do(s, func() { time.Sleep(99 * time.Millisecond) })
		s.NewAfterTimer(0, func() { time.Sleep(99 * time.Millisecond) })
		looptest.Pass(time.Second)
		if log.String() != "" {
			t.Errorf("log = %q after 99 ms, want nothing below 100 ms", log)
		}
		s.Invoke(slowpoke)
		looptest.Pass(time.Second)
		if log.Count("slow task") != 1 || log.Count("scheduler_test.slowpoke") != 1 || log.Count("took=150ms") != 1 {
			t.Errorf("log = %q, want the slow task with its name and its 150 ms, once", log)
		}
		s.NewAfterTimer(0, slowpoke)
		looptest.Pass(time.Second)
		if log.Count("slow timer") != 1 || log.Count("scheduler_test.slowpoke") != 2 {
			t.Errorf("log = %q, want the slow timer with its name, once", log)
		}
		looptest.Do(s, func() { loop(s).SelfTimed(); slowpoke() })
		synctest.Wait()
		if log.Count("slow") != 2 {
			t.Errorf("log = %q, want nothing more of a task that watches itself", log)
		}
		s.Invoke(slowpoke)
		looptest.Pass(time.Second)
		if log.Count("slow task") != 2 {
			t.Errorf("log = %q, want SelfTimed to hold for one task only", log)
		}
		return true
	})
}

func TestSlowOff(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		s.Invoke(func() { time.Sleep(time.Minute) })
		s.NewAfterTimer(0, func() { time.Sleep(time.Minute) })
		looptest.Pass(10 * time.Second)
		loop(s).CheckStuck()
		looptest.Pass(5 * time.Minute)
		return false
	}, scheduler.WithSlow(0))
}

func TestDelayAndPending(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		looptest.Do(s, func() {})
		if s.Delay() != 0 || s.Pending() != 0 {
			t.Errorf("Delay() = %v, Pending() = %d of an idle scheduler, want 0 and 0", s.Delay(), s.Pending())
		}
		release := make(chan struct{})
		s.Invoke(func() { <-release })
		synctest.Wait()
		s.Invoke(func() {})
		looptest.Pass(30 * time.Millisecond)
		s.Invoke(func() {})
		looptest.Pass(10 * time.Millisecond)
		if s.Pending() != 2 {
			t.Errorf("Pending() = %d, want 2", s.Pending())
		}
		close(release)
		synctest.Wait()
		if s.Delay() != 40*time.Millisecond || s.Pending() != 0 {
			t.Errorf("Delay() = %v, Pending() = %d, want 40ms, the wait of the first of two, and 0", s.Delay(), s.Pending())
		}
		return false
	})
}

// TestConcurrentUse runs pushes, timers, reads of the counters and Close concurrently,
// for the race detector.
func TestConcurrentUse(t *testing.T) {
	_, log := newLog()
	s := scheduler.New(log)
	var accepted, ran atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				if s.Invoke(func() { ran.Add(1) }) {
					accepted.Add(1)
				}
				timer := s.NewTimer(100*time.Microsecond, func() {})
				poll := s.NewCondTimer(check(func(time.Time) bool { return true }), func() {})
				_, _, _ = s.Pending(), s.Delay(), loop(s).Running()
				loop(s).CheckStuck()
				s.SetPrecision(time.Duration(i%2) * time.Millisecond)
				timer.Stop()
				if i%10 > 0 {
					poll.Stop()
				}
			}
		})
	}
	wg.Go(func() {
		for ran.Load() < 400 {
			runtime.Gosched()
		}
		s.Close()
	})
	wg.Wait()
	s.Close()
	if accepted.Load() != ran.Load() {
		t.Errorf("%d tasks were accepted and %d ran, want as many", accepted.Load(), ran.Load())
	}
}

func TestDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer scheduler.Close()
		var steps looptest.Trace
		scheduler.Invoke(func() { steps.Add("before Sched") })
		looptest.Pass(time.Second)
		steps.Expect(t)
		first := scheduler.Default()
		scheduler.Sched()
		scheduler.Sched()
		if scheduler.Default() != first {
			t.Error("Sched replaced the default scheduler, want it to start it")
		}
		scheduler.Invoke(func() { steps.Add("after Sched") })
		synctest.Wait()
		steps.Expect(t, "before Sched", "after Sched")

		scheduler.Invoke(func() { steps.Add("queued") })
		scheduler.Close()
		steps.Expect(t, "before Sched", "after Sched", "queued")
		if first.Invoke(func() {}) {
			t.Error("Invoke() = true on the scheduler that Close closed, want false")
		}
		scheduler.Invoke(func() { steps.Add("fresh") })
		if scheduler.Default() == first {
			t.Error("Close left the closed scheduler in place, want a fresh one")
		}
		scheduler.Sched()
		synctest.Wait()
		steps.Expect(t, "before Sched", "after Sched", "queued", "fresh")
		scheduler.Close()
		scheduler.Close()
	})
}

func TestDefaultTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scheduler.Sched()
		defer scheduler.Close()
		var every, count, after, cond int
		timer := scheduler.NewTimer(100*time.Millisecond, func() { every++ })
		scheduler.NewCountTimer(100*time.Millisecond, 2, func() { count++ })
		scheduler.NewAfterTimer(100*time.Millisecond, func() { after++ })
		scheduler.NewCondTimer(check(func(time.Time) bool { return true }), func() { cond++ })
		looptest.Pass(1050 * time.Millisecond)
		timer.Stop()
		looptest.Pass(time.Second)
		if every != 10 || count != 2 || after != 1 || cond != 2 {
			t.Errorf("timer %d, count timer %d, after timer %d, condition timer %d calls, want 10, 2, 1 and 2", every, count, after, cond)
		}
	})
}

func TestDefaultConcurrentUse(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 100 {
				scheduler.Sched()
				scheduler.Invoke(func() {})
				if i == 0 {
					scheduler.Close()
				}
			}
		})
	}
	wg.Wait()
	scheduler.Close()
}

func ExampleScheduler() {
	room := scheduler.New()
	score := 0 // only tasks of room touch it, so it needs no lock
	for i := range 4 {
		room.Invoke(func() { score += i })
	}
	room.Close() // runs the queued tasks
	fmt.Println(score)
	// Output: 6
}

func ExampleScheduler_NewCountTimer() {
	s := scheduler.New()
	done := make(chan struct{})
	left := 3
	s.NewCountTimer(time.Millisecond, left, func() {
		fmt.Println(left)
		if left--; left == 0 {
			close(done)
		}
	})
	<-done
	s.Close()
	// Output:
	// 3
	// 2
	// 1
}

// Slow work runs on its own goroutine. Its result returns to the logic goroutine with
// Invoke.
func ExampleInvoke() {
	scheduler.Sched() // nano.Listen calls this
	profiles := map[string]int{}
	loaded := make(chan struct{})
	go func() {
		level := 7 // read from a database, for example
		scheduler.Invoke(func() {
			profiles["ann"] = level
			close(loaded)
		})
	}()
	<-loaded
	scheduler.Close()
	fmt.Println(profiles["ann"])
	// Output: 7
}
