package hist

import (
	"math"
	"testing"
	"time"
)

func TestSteps(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 127, 128, 129, 255, 256, 1000, 1e6, 123456789, time.Hour, math.MaxInt64} {
		low := least(step(uint64(d)))
		if low > d || float64(d-low) > 0.016*float64(d) {
			t.Errorf("%d is counted as %d, want at most 1.6 percent less", d, low)
		}
		if got := step(uint64(low)); got != step(uint64(d)) {
			t.Errorf("step(%d) = %d, want %d", low, got, step(uint64(d)))
		}
	}
}

func TestQuantile(t *testing.T) {
	var h Histogram
	if got := h.Quantile(.5); got != 0 {
		t.Errorf("Quantile of nothing = %v, want 0", got)
	}
	for i := range 100 {
		h.Add(time.Duration(i))
	}
	h.Add(-1)
	for _, test := range []struct {
		q    float64
		want time.Duration
	}{{0, 0}, {.5, 49}, {.99, 98}, {1, 99}} {
		if got := h.Quantile(test.q); got != test.want {
			t.Errorf("Quantile(%v) = %d, want %d", test.q, got, test.want)
		}
	}
	if h.Count() != 101 || h.Max() != 99 {
		t.Errorf("Count, Max = %d, %d, want 101, 99", h.Count(), h.Max())
	}
}
