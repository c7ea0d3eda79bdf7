package handler

import (
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/histogram"
)

// Stats counts the calls of a handler. Its methods may be called concurrently.
type Stats struct {
	count, sum, max atomic.Int64
	quick           atomic.Bool
	Times           histogram.Histogram // durations of the calls
	Slowest         Slowest
	Errors          atomic.Int64 // calls that failed or panicked, or that were refused before they ran
}

// Add counts n calls with the total duration sum and the longest duration maximum.
func (s *Stats) Add(n int64, sum, maximum time.Duration) {
	s.count.Add(n)
	s.sum.Add(int64(sum))
	for {
		old := s.max.Load()
		if int64(maximum) <= old || s.max.CompareAndSwap(old, int64(maximum)) {
			return
		}
	}
}

// SetQuick records whether the latest timed calls were so short that timing each call is
// not worth its cost.
func (s *Stats) SetQuick(quick bool) {
	if s.quick.Load() != quick { // a load is cheaper than a store
		s.quick.Store(quick)
	}
}

// Quick returns the last value of SetQuick, or false.
func (s *Stats) Quick() bool { return s.quick.Load() }

// Load returns the number of calls, their total duration and the longest duration.
func (s *Stats) Load() (n int64, sum, maximum time.Duration) {
	return s.count.Load(), time.Duration(s.sum.Load()), time.Duration(s.max.Load())
}
