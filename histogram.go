package nano

import (
	"math"
	"slices"
	"time"

	"github.com/lonng/nano/internal/histogram"
)

// Histogram counts durations in buckets. Counts[i] is how many were over
// HistogramBound(First+i-1) and not over HistogramBound(First+i). It begins and ends with
// buckets that are not empty.
type Histogram struct {
	First  int     // number of the first bucket
	Counts []int64 // durations in each bucket
}

// HistogramBound returns the inclusive upper bound of a bucket of [Histogram]. The bound of
// bucket 0 is 2^-20 s, about 1 µs, and each further one is larger by the fourth root of 2. The
// last bucket, with number 105, has no bound: it and buckets that do not exist return the
// largest duration.
func HistogramBound(bucket int) time.Duration {
	if d, ok := histogram.Bound(bucket); ok {
		return d
	}
	return math.MaxInt64
}

// Total returns how many durations were counted.
func (h Histogram) Total() (n int64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Since returns what h has counted after before, an earlier state of the same histogram.
func (h Histogram) Since(before Histogram) Histogram {
	d := Histogram{First: h.First, Counts: slices.Clone(h.Counts)}
	for i, n := range before.Counts {
		if at := before.First + i - h.First; at >= 0 && at < len(d.Counts) {
			d.Counts[at] -= n
		}
	}
	for len(d.Counts) > 0 && d.Counts[0] == 0 {
		d.First, d.Counts = d.First+1, d.Counts[1:]
	}
	for len(d.Counts) > 0 && d.Counts[len(d.Counts)-1] == 0 {
		d.Counts = d.Counts[:len(d.Counts)-1]
	}
	if len(d.Counts) == 0 {
		return Histogram{}
	}
	return d
}

// Quantile returns a bound that the part q of the durations, from 0 to 1, does not exceed. It
// is at most 19 % over the true value for durations of 1 µs to 64 s. Without durations it is 0.
func (h Histogram) Quantile(q float64) time.Duration {
	n := h.Total()
	if n == 0 {
		return 0
	}
	rest := max(int64(math.Ceil(min(max(q, 0), 1)*float64(n))), 1)
	for i, c := range h.Counts {
		if rest -= c; rest <= 0 {
			return HistogramBound(h.First + i)
		}
	}
	return HistogramBound(h.First + len(h.Counts) - 1)
}
