package nano

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/lonng/nano/internal/histogram"
)

func TestHistogram(t *testing.T) {
	var h histogram.Histogram
	for d := time.Millisecond; d <= 100*time.Millisecond; d += time.Millisecond {
		h.Add(d, 1)
	}
	var got Histogram
	got.First, got.Counts = h.Counts()
	if n := got.Total(); n != 100 {
		t.Errorf("Total() = %d, want 100", n)
	}
	for q, want := range map[float64]time.Duration{0: time.Millisecond, .5: 50 * time.Millisecond, .99: 99 * time.Millisecond, 1: 100 * time.Millisecond, 2: 100 * time.Millisecond} {
		if d := got.Quantile(q); d < want || float64(d) > 1.19*float64(want) {
			t.Errorf("Quantile(%v) = %v, want %v or at most 19 %% more", q, d, want)
		}
	}
	if d := (Histogram{}).Quantile(.5); d != 0 {
		t.Errorf("the quantile of nothing is %v, want 0", d)
	}
	for _, c := range []struct{ later, before, want Histogram }{
		{Histogram{5, []int64{2, 0, 3}}, Histogram{6, []int64{}}, Histogram{5, []int64{2, 0, 3}}},
		{Histogram{5, []int64{2, 1, 3}}, Histogram{5, []int64{2, 0, 3}}, Histogram{6, []int64{1}}},
		{Histogram{5, []int64{2, 1, 3}}, Histogram{7, []int64{1}}, Histogram{5, []int64{2, 1, 2}}},
		{Histogram{5, []int64{2}}, Histogram{5, []int64{2}}, Histogram{}},
		{Histogram{}, Histogram{}, Histogram{}},
	} {
		if got := c.later.Since(c.before); got.First != c.want.First || !slices.Equal(got.Counts, c.want.Counts) {
			t.Errorf("%v.Since(%v) = %v, want %v", c.later, c.before, got, c.want)
		}
	}
	for bucket, want := range map[int]time.Duration{80: time.Second, 104: 64 * time.Second, 105: math.MaxInt64, -1: math.MaxInt64} {
		if d := HistogramBound(bucket); d != want {
			t.Errorf("HistogramBound(%d) = %v, want %v", bucket, d, want)
		}
	}
}
