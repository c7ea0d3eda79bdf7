// Package histogram counts durations in buckets whose bounds grow by the fourth root of 2. A quantile that is read from
// the buckets is at most 19 % too long.
package histogram

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// The bounds are the powers 2^(i/4) seconds for i from Lowest to Highest: 1 µs to 64 s.
const (
	PerDoubling = 4
	Lowest      = -20 * PerDoubling
	Highest     = 6 * PerDoubling
)

const buckets = Highest - Lowest + 2 // the last one has no bound

// bounds are the inclusive upper bounds of all buckets but the last.
var bounds = func() (b [buckets - 1]time.Duration) {
	for i := range b {
		b[i] = time.Duration(math.Exp2(float64(Lowest+i)/PerDoubling) * float64(time.Second))
	}
	return b
}()

// first is the bucket of the shortest duration with this number of bits.
var first = func() (f [65]uint8) {
	for n := range f {
		shortest := time.Duration(1) << max(n-1, 0)
		if n == 0 {
			shortest = 0
		}
		for int(f[n]) < len(bounds) && (n == 64 || bounds[f[n]] < shortest) {
			f[n]++
		}
	}
	return f
}()

// Histogram counts durations. The zero value is ready. Its methods may be called concurrently.
type Histogram struct{ counts [buckets]atomic.Int64 }

// Add counts the duration d n times.
func (h *Histogram) Add(d time.Duration, n int64) { h.counts[index(d)].Add(n) }

// index returns the bucket of a duration. A negative duration is in bucket 0.
func index(d time.Duration) int {
	d = max(d, 0)
	i := int(first[bits.Len64(uint64(d))])
	for i < len(bounds) && bounds[i] < d {
		i++
	}
	return i
}

// Counts returns the counts from the first to the last bucket that is not 0, and the
// index of the first.
func (h *Histogram) Counts() (first int, counts []int64) {
	for i := range h.counts {
		n := h.counts[i].Load()
		switch {
		case n == 0 && counts == nil:
			first = i + 1
		default:
			counts = append(counts, n)
		}
	}
	for len(counts) > 0 && counts[len(counts)-1] == 0 {
		counts = counts[:len(counts)-1]
	}
	if len(counts) == 0 {
		return 0, nil
	}
	return first, counts
}

// Bound returns the inclusive upper bound of a bucket, and false for the last one, which has none.
func Bound(bucket int) (time.Duration, bool) {
	if bucket < 0 || bucket >= len(bounds) {
		return 0, false
	}
	return bounds[bucket], true
}
