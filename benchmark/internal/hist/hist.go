// Package hist implements a histogram of latencies.
package hist

import (
	"math/bits"
	"time"
)

// Histogram counts durations in steps that are at most 1.6 percent wide. The zero value
// is ready to use. A Histogram is not safe for concurrent use.
type Histogram struct {
	counts [58 * 64]int64
	n      int64
	max    time.Duration
}

// Add counts d. A negative duration counts as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.max = max(h.max, d)
	h.n++
	h.counts[step(uint64(d))]++
}

// step returns the index of the step of d: 128 steps of one nanosecond, then 64 steps for
// each power of two.
func step(v uint64) int {
	shift := max(bits.Len64(v)-7, 0)
	return shift*64 + int(v>>shift)
}

// least is the smallest duration of a step.
func least(step int) time.Duration {
	if step < 128 {
		return time.Duration(step)
	}
	return time.Duration(step%64+64) << (step/64 - 1)
}

// Count returns how many durations were added.
func (h *Histogram) Count() int64 { return h.n }

// Max returns the longest duration.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns the q-quantile of all durations, rounded up by at most the width of a
// step. It returns 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := min(int64(q*float64(h.n)), h.n-1)
	for i, n := range h.counts {
		if rank -= n; rank < 0 && n > 0 {
			return least(i)
		}
	}
	return 0
}
