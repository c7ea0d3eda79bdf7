package scheduler_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/runloop/looptest"
	"github.com/lonng/nano/scheduler"
)

// check adapts a function to a TimerCondition.
type check func(time.Time) bool

func (c check) Check(now time.Time) bool { return c(now) }

const ms = time.Millisecond

// clock records the times of its calls, relative to its creation.
type clock struct {
	start time.Time

	mu sync.Mutex
	at []time.Duration
}

func newClock() *clock { return &clock{start: time.Now()} }

func (c *clock) note() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, time.Since(c.start))
}

func (c *clock) calls() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.at)
}

func (c *clock) expect(t *testing.T, what string, want ...time.Duration) {
	t.Helper()
	if got := c.calls(); !slices.Equal(got, want) {
		t.Errorf("%s: called at %v, want %v", what, got, want)
	}
}

func TestTimer(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		c := newClock()
		timer := s.NewTimer(10*ms, c.note)
		looptest.Pass(45 * ms)
		timer.Stop()
		looptest.Pass(time.Second)
		c.expect(t, "NewTimer(10 ms)", 10*ms, 20*ms, 30*ms, 40*ms)
		return false
	})
}

func TestCountTimer(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		one, three, ever := newClock(), newClock(), newClock()
		s.NewCountTimer(10*ms, 1, one.note)
		s.NewCountTimer(20*ms, 3, three.note)
		s.NewCountTimer(300*ms, -7, ever.note)
		looptest.Pass(1000 * ms)
		one.expect(t, "count 1", 10*ms)
		three.expect(t, "count 3", 20*ms, 40*ms, 60*ms)
		ever.expect(t, "count -7", 300*ms, 600*ms, 900*ms)
		return false
	})
}

func TestAfterTimer(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		looptest.Pass(ms)
		c, late := newClock(), newClock()
		s.NewAfterTimer(-time.Second, c.note)
		s.NewAfterTimer(0, c.note)
		s.NewAfterTimer(10*ms, c.note)
		s.NewAfterTimer(math.MaxInt64, late.note)
		s.NewTimer(math.MaxInt64, late.note)
		looptest.Pass(24 * time.Hour)
		c.expect(t, "after -1 s, 0 and 10 ms", 0, 0, 10*ms)
		late.expect(t, "after 292 years")
		return false
	})
}

// TestTimerDoesNotDrift checks that the duration of calls does not accumulate.
func TestTimerDoesNotDrift(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		c := newClock()
		timer := s.NewTimer(10*ms, func() { c.note(); time.Sleep(3 * ms) })
		looptest.Pass(995 * ms)
		timer.Stop()
		if at := c.calls(); len(at) != 99 || at[98] != 990*ms {
			t.Errorf("%d calls at %v, want 99, the last at 990ms", len(at), at)
		}
		return false
	})
}

// TestTimerSkipsWhatItMissed checks that a late timer calls once, and that missed calls
// are skipped.
func TestTimerSkipsWhatItMissed(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		c := newClock()
		timer := s.NewTimer(10*ms, c.note)
		looptest.Pass(15 * ms)
		s.Invoke(func() { time.Sleep(52 * ms) })
		looptest.Pass(80 * ms)
		timer.Stop()
		c.expect(t, "behind a task of 52 ms", 10*ms, 67*ms, 70*ms, 80*ms, 90*ms)

		c = newClock()
		timer = s.NewTimer(10*ms, func() { c.note(); time.Sleep(25 * ms) })
		looptest.Pass(100 * ms)
		timer.Stop()
		c.expect(t, "calls of 25 ms", 10*ms, 35*ms, 60*ms, 85*ms)

		looptest.Pass(100 * ms) // the last call has returned
		c = newClock()
		looptest.Do(s, func() {
			s.NewCountTimer(10*ms, 3, c.note)
			time.Sleep(43 * ms)
		})
		looptest.Pass(90 * ms)
		c.expect(t, "count 3 behind a task of 43 ms", 43*ms, 50*ms, 60*ms)
		return false
	})
}

func TestTimersFireBetweenTasks(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		c := newClock()
		timer := s.NewTimer(10*ms, c.note)
		for range 20 {
			s.Invoke(func() { time.Sleep(4 * ms) })
		}
		looptest.Pass(41 * ms)
		timer.Stop()
		c.expect(t, "between tasks of 4 ms", 12*ms, 20*ms, 32*ms, 40*ms)
		return false
	})
}

func TestCondTimer(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		polls, calls := newClock(), newClock()
		yes := false
		timer := s.NewCondTimer(check(func(now time.Time) bool {
			if !now.Equal(time.Now()) {
				t.Errorf("Check(%v) at %v, want the present", now, time.Now())
			}
			polls.note()
			return yes
		}), calls.note)
		looptest.Pass(2500 * ms)
		looptest.Do(s, func() { yes = true })
		looptest.Pass(2 * time.Second)
		timer.Stop()
		looptest.Pass(time.Second)
		polls.expect(t, "Check", time.Second, 2*time.Second, 3*time.Second, 4*time.Second)
		calls.expect(t, "function", 3*time.Second, 4*time.Second)
		return false
	})
}

func TestCondTimerIsPolledOncePerPrecision(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		looptest.Pass(30 * ms)
		polls := newClock()
		timer := s.NewCondTimer(check(func(time.Time) bool { polls.note(); return false }), func() {})
		looptest.Pass(500 * ms)
		timer.Stop()
		// The precision counts from the start of the scheduler, which was 30 ms earlier.
		polls.expect(t, "Check", 170*ms, 270*ms, 370*ms, 470*ms)
		return false
	}, scheduler.WithPrecision(100*ms))
}

func TestStop(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		c := newClock()

		s.NewAfterTimer(10*ms, c.note).Stop()
		fired := s.NewAfterTimer(0, func() {})
		looptest.Pass(20 * ms)
		fired.Stop()
		fired.Stop()
		c.expect(t, "stopped before it was due")

		looptest.Do(s, func() {
			var self *scheduler.Timer
			self = s.NewTimer(10*ms, func() { c.note(); self.Stop(); self.Stop() })
		})
		looptest.Pass(50 * ms)
		c.expect(t, "stopped in its first call", 30*ms)

		looptest.Do(s, func() {
			var asked *scheduler.Timer
			asked = s.NewCondTimer(check(func(time.Time) bool { asked.Stop(); return true }), func() {
				t.Error("a timer was called that its condition had stopped")
			})
		})
		looptest.Pass(3 * time.Second)

		looptest.Do(s, func() { // two timers are due together, and the first one stops the second
			var second *scheduler.Timer
			s.NewAfterTimer(10*ms, func() { second.Stop() })
			second = s.NewAfterTimer(10*ms, func() { t.Error("a timer was called that another one had stopped") })
		})
		looptest.Pass(20 * ms)

		// A timer does not call if it is stopped while a task blocks the goroutine, even
		// if it is due.
		due := s.NewAfterTimer(10*ms, func() { t.Error("a timer was called after Stop") })
		s.Invoke(func() { time.Sleep(50 * ms) })
		looptest.Pass(30 * ms)
		due.Stop()
		looptest.Pass(50 * ms)
		return false
	})
}

// TestStopAfterClose checks that timers can be stopped after the server has shut down.
func TestStopAfterClose(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		c := newClock()
		var timers []*scheduler.Timer
		for i := range 5 {
			timers = append(timers, s.NewTimer(time.Duration(10+i)*ms, c.note))
		}
		s.Close()
		timers = append(timers, s.NewTimer(ms, c.note), s.NewAfterTimer(0, c.note))
		looptest.Pass(time.Second)
		for _, timer := range timers {
			timer.Stop()
			timer.Stop()
		}
		c.expect(t, "after Close")
		return false
	})
}

func TestTimersThatAreDueTogetherFireInOrder(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		var got looptest.Trace
		timers := map[int]*scheduler.Timer{}
		for i := range 8 {
			timers[i] = s.NewTimer(time.Duration(10*(1+i%2))*ms, func() { got.Add(strconv.Itoa(i)) })
		}
		timers[3].Stop()
		looptest.Pass(25 * ms)
		for _, timer := range timers {
			timer.Stop()
		}
		got.Expect(t, "0", "2", "4", "6", "0", "1", "2", "4", "5", "6", "7")
		return false
	})
}

func TestPrecision(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		after, exact, odd, short := newClock(), newClock(), newClock(), newClock()
		s.NewAfterTimer(130*ms, after.note)
		s.NewCountTimer(200*ms, 3, exact.note)
		s.NewCountTimer(150*ms, 6, odd.note) // rounding does not move its own times
		s.NewCountTimer(30*ms, 3, short.note)
		looptest.Pass(2 * time.Second)
		after.expect(t, "after 130 ms", 200*ms)
		exact.expect(t, "every 200 ms", 200*ms, 400*ms, 600*ms)
		odd.expect(t, "every 150 ms", 200*ms, 300*ms, 500*ms, 600*ms, 800*ms, 900*ms)
		short.expect(t, "every 30 ms", 100*ms, 200*ms, 300*ms)
		return false
	}, scheduler.WithPrecision(100*ms))
}

func TestSetPrecision(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		c := newClock()
		s.NewAfterTimer(15*ms, c.note)
		s.SetPrecision(100 * ms)
		s.NewAfterTimer(15*ms, c.note)
		looptest.Pass(110 * ms)
		s.SetPrecision(-1)
		s.NewAfterTimer(5*ms, c.note)
		looptest.Pass(time.Second)
		c.expect(t, "at precision 0, 100 ms and 0 again", 15*ms, 100*ms, 115*ms)
		return false
	}, scheduler.WithPrecision(-1))
}

func TestTimersMadeByTimers(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		c := newClock()
		var next func()
		next = func() {
			c.note()
			if n := len(c.calls()); n < 4 {
				s.NewAfterTimer(time.Duration(n)*10*ms, next)
			}
		}
		s.NewAfterTimer(ms, next)
		looptest.Pass(time.Second)
		c.expect(t, "a chain of timers", ms, 11*ms, 31*ms, 61*ms)
		return false
	})
}

// TestTimerThatIsDueEarlier checks that the loop sleeps until the first timer is due, and
// that an earlier timer and a task wake it.
func TestTimerThatIsDueEarlier(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		c := newClock()
		s.NewAfterTimer(100*ms, c.note)
		synctest.Wait()
		s.NewAfterTimer(50*ms, c.note)
		synctest.Wait()
		s.NewAfterTimer(70*ms, c.note)
		looptest.Pass(10 * ms)
		s.Invoke(c.note)
		looptest.Pass(time.Second)
		c.expect(t, "timers of 100, 50 and 70 ms and a task at 10 ms", 10*ms, 50*ms, 70*ms, 100*ms)
		return false
	})
}

func TestTimerIDs(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		last := int64(0)
		for range 100 {
			timer := s.NewTimer(time.Hour, func() {})
			if timer.ID() <= last {
				t.Errorf("ID() = %d after %d, want it to grow", timer.ID(), last)
			}
			last = timer.ID()
			timer.Stop()
		}
		return false
	})
}

func TestTimerArguments(t *testing.T) {
	inFakeTime(t, func(s *scheduler.Scheduler, _ *looptest.Log) bool {
		f := func() {}
		for name, call := range map[string]func(){
			"NewTimer(0)":             func() { s.NewTimer(0, f) },
			"NewTimer(-1)":            func() { s.NewTimer(-1, f) },
			"NewTimer(nil)":           func() { s.NewTimer(1, nil) },
			"NewCountTimer(0)":        func() { s.NewCountTimer(0, 1, f) },
			"NewCountTimer(count 0)":  func() { s.NewCountTimer(1, 0, f) },
			"NewCountTimer(nil)":      func() { s.NewCountTimer(1, 1, nil) },
			"NewAfterTimer(nil)":      func() { s.NewAfterTimer(1, nil) },
			"NewCondTimer(nil, f)":    func() { s.NewCondTimer(nil, f) },
			"NewCondTimer(cond, nil)": func() { s.NewCondTimer(check(func(time.Time) bool { return true }), nil) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s did not panic, want a panic that says what was expected", name)
					}
				}()
				call()
			}()
		}
		looptest.Pass(time.Second)
		return false
	})
}

type nightfall struct{ hour int }

func (n *nightfall) Check(time.Time) bool { return n.hour >= 22 }

func ExampleScheduler_NewCondTimer() {
	s := scheduler.New(scheduler.WithPrecision(time.Millisecond))
	night := &nightfall{hour: 21}
	done := make(chan struct{})
	var timer *scheduler.Timer
	s.Invoke(func() {
		timer = s.NewCondTimer(night, func() {
			fmt.Println("lights on")
			timer.Stop()
			close(done)
		})
	})
	s.Invoke(func() { night.hour++ })
	<-done
	s.Close()
	// Output: lights on
}

func ExampleNewTimer() {
	scheduler.Sched() // nano.Listen calls this
	done := make(chan struct{})
	timer := scheduler.NewTimer(time.Millisecond, func() {
		select {
		case <-done:
		default:
			fmt.Println("tick")
			close(done)
		}
	})
	<-done
	timer.Stop()
	scheduler.Close()
	// Output: tick
}
