package console

import (
	"runtime/metrics"
	"sync"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cluster"
)

const (
	interval = 5 * time.Second
	kept     = 180 // samples: the last 15 minutes
	window   = 12  // intervals that make the last minute

	histogramSize = 106 // buckets of a nano.Histogram
)

// sample holds the figures of a server at one moment.
type sample struct {
	time       time.Time
	stats      nano.Stats
	heap       uint64 // bytes of live objects and of dead ones that are not freed yet
	memory     uint64 // bytes that the Go runtime has mapped
	goroutines uint64
	slowest    map[string][]nano.SlowCall // by route; of the last sample only
}

// sampler takes samples and keeps the last ones.
type sampler struct {
	mu      sync.Mutex
	samples []sample         // mu guards it and members; the oldest first
	members []cluster.Member // at the time of the last sample
}

// run takes a sample every interval until stopped is closed.
func (s *sampler) run(srv *nano.Server, stopped <-chan struct{}) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-stopped:
			return
		case <-t.C:
			s.take(srv)
		}
	}
}

// take takes a sample.
func (s *sampler) take(srv *nano.Server) {
	figures := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(figures)
	figure := func(i int) uint64 {
		if figures[i].Value.Kind() != metrics.KindUint64 {
			return 0 // this version of Go does not have it
		}
		return figures[i].Value.Uint64()
	}
	now := sample{
		time: time.Now(), stats: srv.Stats(), heap: figure(0), memory: figure(1), goroutines: figure(2),
		slowest: map[string][]nano.SlowCall{},
	}
	for route, s := range now.stats.Routes {
		if len(s.Slowest) > 0 { // they would take most of the memory of the samples
			now.slowest[route], s.Slowest = s.Slowest, nil
			now.stats.Routes[route] = s
		}
	}
	members := srv.Members()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) == kept {
		copy(s.samples, s.samples[1:])
		s.samples = s.samples[:kept-1]
	}
	if n := len(s.samples); n > 0 {
		s.samples[n-1].slowest = nil
	}
	s.samples = append(s.samples, now)
	s.members = members
}

// after returns the samples after t, with the one before them if it is kept.
func (s *sampler) after(t time.Time) []sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := len(s.samples)
	for i > 0 && s.samples[i-1].time.After(t) {
		i--
	}
	return append([]sample(nil), s.samples[max(i-1, 0):]...)
}

// lastMinute returns the last sample, the one at most a minute before it, and the members
// at the time of the last. At first, both samples are the same.
func (s *sampler) lastMinute() (first, last sample, members []cluster.Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.samples)
	return s.samples[max(n-1-window, 0)], s.samples[n-1], s.members
}

// last returns the last sample and the one that many intervals before it. At first, both
// samples are the same.
func (s *sampler) last(intervals int) (first, last sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.samples)
	return s.samples[max(n-1-intervals, 0)], s.samples[n-1]
}

// perSecond returns by how much a counter grew per second, nil if no time passed.
func perSecond(from, to sample, counter func(*nano.Stats) int64) *float64 {
	seconds := to.time.Sub(from.time).Seconds()
	if seconds <= 0 {
		return nil
	}
	return new(float64(counter(&to.stats)-counter(&from.stats)) / seconds)
}

// total returns the sum of a map of counters.
func total(counters map[string]int64) (n int64) {
	for _, c := range counters {
		n += c
	}
	return n
}
