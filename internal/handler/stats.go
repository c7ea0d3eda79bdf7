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
	Times           histogram.Histogram // of the calls
}

// Add counts n calls that took sum together and maximum at the most.
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

// SetQuick notes whether the calls that were timed last took so little that it is not worth
// timing each.
func (s *Stats) SetQuick(quick bool) {
	if s.quick.Load() != quick { // reading it is cheaper
		s.quick.Store(quick)
	}
}

// Quick returns what SetQuick noted last; false before.
func (s *Stats) Quick() bool { return s.quick.Load() }

// Load returns the number of calls, the time they took together, and the longest.
func (s *Stats) Load() (n int64, sum, maximum time.Duration) {
	return s.count.Load(), time.Duration(s.sum.Load()), time.Duration(s.max.Load())
}
