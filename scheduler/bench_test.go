package scheduler_test

import (
	"testing"
	"time"

	"github.com/lonng/nano/scheduler"
)

// The cost of a task: pushed from one goroutine, run on another.
func BenchmarkPushTask(b *testing.B) {
	s := scheduler.New()
	defer s.Close()
	ran := 0
	task := func() { ran++ }
	b.ReportAllocs()
	for b.Loop() {
		s.Invoke(task)
	}
	do(s, func() {}) // what is queued runs before the clock stops
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
	do(s, func() {})
}

// A task that queues the next one: the way of a message that moves on.
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

// One timer more among 10,000, and away again.
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

// Timers that are due: the time of one call among 1,000 timers.
func BenchmarkTimerFire(b *testing.B) {
	s := scheduler.New()
	defer s.Close()
	const timers = 1000
	done := make(chan struct{})
	b.ReportAllocs()
	for b.Loop() {
		left := timers
		do(s, func() {
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
