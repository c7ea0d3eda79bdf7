package histogram

import (
	"math"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestIndex checks that the bucket of a duration is the first one whose bound is not
// below it.
func TestIndex(t *testing.T) {
	check := func(d time.Duration) {
		t.Helper()
		want := slices.IndexFunc(bounds[:], func(b time.Duration) bool { return d <= b })
		if want < 0 {
			want = len(bounds)
		}
		if got := index(d); got != want {
			t.Errorf("index(%d) = %d, want %d", d, got, want)
		}
	}
	for _, b := range bounds {
		for _, d := range []time.Duration{b - 1, b, b + 1} {
			check(d)
		}
	}
	for shift := range 63 {
		check(1 << shift)
		check(1<<shift - 1)
	}
	check(-1)
	check(math.MaxInt64)
}

func TestCounts(t *testing.T) {
	var h Histogram
	if first, counts := h.Counts(); first != 0 || counts != nil {
		t.Errorf("an empty histogram has %d, %v", first, counts)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				h.Add(time.Second, 1)
				h.Add(2*time.Second, 2)
			}
		})
	}
	wg.Wait()
	first, counts := h.Counts()
	if b, ok := Bound(first); !ok || b != time.Second || !slices.Equal(counts, []int64{4000, 0, 0, 0, 8000}) {
		t.Errorf("Counts = %d (%v), %v", first, b, counts)
	}
	if _, ok := Bound(buckets - 1); ok {
		t.Error("the last bucket has a bound")
	}
}

// BenchmarkAdd measures a call that is timed alone.
func BenchmarkAdd(b *testing.B) {
	var h Histogram
	for i := range b.N {
		h.Add(time.Duration(i%1000)*time.Microsecond, 1)
	}
}
