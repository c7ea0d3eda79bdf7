package scheduler_test

import (
	"testing"
	"time"

	"github.com/lonng/nano/internal/runloop/looptest"
	"github.com/lonng/nano/scheduler"
)

// BenchmarkPushTask measures a task that one goroutine queues and another one runs.
func BenchmarkPushTask(b *testing.B) {
	s := scheduler.New()
	defer s.Close()
	ran := 0
	task := func() { ran++ }
	b.ReportAllocs()
	for b.Loop() {
		s.Invoke(task)
	}
	looptest.Do(s, func() {}) // runs what is queued before the benchmark timer stops
}

func BenchmarkPushTaskParallel(b *testing.B) {
	s := scheduler.New()
	defer s.Close()
	ran := 0
	task := func() { ran++ }
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.Invoke(task)
		}
	})
	looptest.Do(s, func() {})
}

// BenchmarkPushTaskFromTask measures a task that queues the next one, as a message that
// changes schedulers does.
func BenchmarkPushTaskFromTask(b *testing.B) {
	s := scheduler.New()
	defer s.Close()
	left := 0
	done := make(chan struct{})
	var task func()
	task = func() {
		if left--; left > 0 {
			s.Invoke(task)
			return
		}
		done <- struct{}{}
	}
	b.ReportAllocs()
	for b.Loop() {
		left = 100
		s.Invoke(task)
		<-done
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(100*b.N), "ns/task")
}

// BenchmarkTimerMakeAndStop measures adding and removing a timer among 10,000.
func BenchmarkTimerMakeAndStop(b *testing.B) {
	s := scheduler.New()
	defer s.Close()
	for i := range 10_000 {
		s.NewTimer(time.Hour+time.Duration(i)*time.Millisecond, func() {})
	}
	b.ReportAllocs()
	for b.Loop() {
		s.NewAfterTimer(time.Hour, func() {}).Stop()
	}
}

// BenchmarkTimerFire measures one call of a timer that is due, among 1,000 timers.
func BenchmarkTimerFire(b *testing.B) {
	s := scheduler.New()
	defer s.Close()
	const timers = 1000
	done := make(chan struct{})
	b.ReportAllocs()
	for b.Loop() {
		left := timers
		looptest.Do(s, func() {
			for range timers {
				s.NewAfterTimer(0, func() {
					if left--; left == 0 {
						done <- struct{}{}
					}
				})
			}
		})
		<-done
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(timers*b.N), "ns/timer")
}
