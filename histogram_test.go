package nano

import (
	"math"
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
	for bucket, want := range map[int]time.Duration{80: time.Second, 104: 64 * time.Second, 105: math.MaxInt64, -1: math.MaxInt64} {
		if d := HistogramBound(bucket); d != want {
			t.Errorf("HistogramBound(%d) = %v, want %v", bucket, d, want)
		}
	}
}
