package prometheus

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/lonng/nano"
)

// The buckets of nano.Histogram match a native histogram with this schema: each bound is
// 2^(1/4) times the previous one. The bound of bucket zeroBucket is 1 s, whose index is 0
// in a native histogram.
const (
	schema     = 2
	zeroBucket = 80
	lastBucket = 105 // it has no upper bound
	perDouble  = 4
)

// histogram is a metric with classic and native buckets.
type histogram struct {
	desc   *prometheus.Desc
	times  nano.Histogram
	sum    float64
	labels []string
}

func (h *histogram) Desc() *prometheus.Desc { return h.desc }

// Write writes the metric: https://prometheus.io/docs/specs/native_histograms/.
func (h *histogram) Write(out *dto.Metric) error {
	labels, err := prometheus.NewConstMetric(h.desc, prometheus.GaugeValue, 0, h.labels...)
	if err != nil {
		return err
	}
	if err := labels.Write(out); err != nil {
		return err
	}
	out.Gauge = nil
	total := uint64(h.times.Total())
	out.Histogram = &dto.Histogram{
		SampleCount: &total, SampleSum: &h.sum, Bucket: h.classic(),
		Schema: new(int32(schema)), ZeroThreshold: new(float64(0)), ZeroCount: new(uint64(0)),
	}
	h.native(out.Histogram)
	return nil
}

// at returns the count of a bucket.
func (h *histogram) at(bucket int) int64 {
	if i := bucket - h.times.First; i >= 0 && i < len(h.times.Counts) {
		return h.times.Counts[i]
	}
	return 0
}

// classic returns a cumulative bucket for each power of two of a second, from about 1 µs to 64 s.
func (h *histogram) classic() (buckets []*dto.Bucket) {
	sum := uint64(0)
	for b := range lastBucket {
		sum += uint64(h.at(b))
		if b%perDouble == 0 {
			bound, count := math.Exp2(float64(b-zeroBucket)/perDouble), sum
			buckets = append(buckets, &dto.Bucket{UpperBound: &bound, CumulativeCount: &count})
		}
	}
	return buckets
}

// native adds the buckets of a native histogram: spans of nonempty buckets, and the
// difference of each bucket from the previous one. The next bucket holds durations over
// the last bound.
func (h *histogram) native(out *dto.Histogram) {
	next, before := 0, int64(0) // the index after the last span, and the count of the last bucket
	for b := range lastBucket + 1 {
		n := h.at(b)
		if n == 0 {
			continue
		}
		index := b - zeroBucket
		if last := len(out.PositiveSpan) - 1; last >= 0 && index == next {
			*out.PositiveSpan[last].Length++
		} else {
			out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: new(int32(index - next)), Length: new(uint32(1))})
		}
		out.PositiveDelta = append(out.PositiveDelta, n-before)
		next, before = index+1, n
	}
	if len(out.PositiveSpan) == 0 { // a histogram without observations has one empty span
		out.PositiveSpan = []*dto.BucketSpan{{Offset: new(int32(0)), Length: new(uint32(0))}}
	}
}

// estimate returns the sum of the durations in seconds, estimated with the middle of each
// bucket.
func estimate(h nano.Histogram) (sum float64) {
	for i, n := range h.Counts {
		bound := nano.HistogramBound(h.First + i)
		if bound == math.MaxInt64 {
			bound = 64 * time.Second
		}
		sum += float64(n) * bound.Seconds() * math.Exp2(-0.5/perDouble)
	}
	return sum
}
