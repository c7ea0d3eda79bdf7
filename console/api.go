package console

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cluster"
)

// point is one sample as the API shows it. Rates are of the time since the sample before
// it; they are null in the first sample.
type point struct {
	Time        time.Time `json:"time"`
	Connections int       `json:"connections"`
	Sessions    int       `json:"sessions"`
	MessagesIn  *float64  `json:"messagesIn"`  // per second
	MessagesOut *float64  `json:"messagesOut"` // per second
	BytesIn     *float64  `json:"bytesIn"`     // per second
	BytesOut    *float64  `json:"bytesOut"`    // per second
	Refused     *float64  `json:"refused"`     // per second
	HandlerMean *float64  `json:"handlerMean"` // seconds; null if no handler ran
	HandlerP99  *float64  `json:"handlerP99"`  // seconds that 99 of 100 calls did not exceed; null if no handler ran
	HandlerLoad *float64  `json:"handlerLoad"` // share of the time in which handlers ran, 0 to 1
	LogicLoad   *float64  `json:"logicLoad"`   // share of the time in which the logic goroutine had work, 0 to 1
	QueueDelay  float64   `json:"queueDelay"`  // seconds
	QueueDepth  int       `json:"queueDepth"`
	Heap        uint64    `json:"heap"`   // bytes
	Memory      uint64    `json:"memory"` // bytes
	Goroutines  uint64    `json:"goroutines"`
}

// totals are the counters since the start of the server.
type totals struct {
	Accepted    int64 `json:"accepted"`
	MessagesIn  int64 `json:"messagesIn"`
	MessagesOut int64 `json:"messagesOut"`
	BytesIn     int64 `json:"bytesIn"`
	BytesOut    int64 `json:"bytesOut"`
	Refused     int64 `json:"refused"`
	Closed      int64 `json:"closed"`
	Panics      int64 `json:"panics"`
}

type overview struct {
	Name     string    `json:"name"`
	Role     string    `json:"role"`
	Node     string    `json:"node"`     // the id of the node; empty without a cluster
	Closing  bool      `json:"closing"`  // the server shuts down or has shut down
	Time     time.Time `json:"time"`     // time of the last sample
	Interval float64   `json:"interval"` // values at Time
	Totals   totals    `json:"totals"`   // at Time
	Samples  []point   `json:"samples"`  // the oldest first
}

// calls returns the number and the time of all calls of handlers.
func calls(st *nano.Stats) (count int64, sum time.Duration) {
	for _, r := range st.Routes {
		count += r.Count
		sum += r.Sum
	}
	return count, sum
}

// allTimes returns the durations of the calls of all handlers.
func allTimes(st *nano.Stats) nano.Histogram {
	var all [histogramSize]int64
	for _, r := range st.Routes {
		for i, n := range r.Times.Counts {
			all[min(r.Times.First+i, histogramSize-1)] += n
		}
	}
	return nano.Histogram{Counts: all[:]}
}

func newPoint(from, to sample) point {
	rate := func(counter func(*nano.Stats) int64) *float64 { return perSecond(from, to, counter) }
	p := point{
		Time:        to.time,
		Connections: to.stats.Connections,
		Sessions:    to.stats.Sessions,
		MessagesIn:  rate(func(s *nano.Stats) int64 { return s.MessagesIn }),
		MessagesOut: rate(func(s *nano.Stats) int64 { return s.MessagesOut }),
		BytesIn:     rate(func(s *nano.Stats) int64 { return s.BytesIn }),
		BytesOut:    rate(func(s *nano.Stats) int64 { return s.BytesOut }),
		Refused:     rate(func(s *nano.Stats) int64 { return total(s.Refused) }),
		QueueDelay:  to.stats.QueueDelay.Seconds(),
		QueueDepth:  to.stats.QueueDepth,
		Heap:        to.heap,
		Memory:      to.memory,
		Goroutines:  to.goroutines,
	}
	n0, t0 := calls(&from.stats)
	n, t := calls(&to.stats)
	if n > n0 {
		p.HandlerMean = new((t - t0).Seconds() / float64(n-n0))
		if times := allTimes(&to.stats).Since(allTimes(&from.stats)); len(times.Counts) > 0 {
			p.HandlerP99 = new(times.Quantile(.99).Seconds())
		}
	}
	if passed := to.time.Sub(from.time); passed > 0 {
		p.HandlerLoad = new((t - t0).Seconds() / passed.Seconds())
		p.LogicLoad = new((to.stats.Loop.Busy - from.stats.Loop.Busy).Seconds() / passed.Seconds())
	}
	return p
}

// overview serves the samples, or those after a time.
func (h *handler) overview(w http.ResponseWriter, r *http.Request) {
	var after time.Time
	if text := r.URL.Query().Get("after"); text != "" {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			fail(w, http.StatusBadRequest, "after: want a time of RFC 3339")
			return
		}
		after = t
	}
	samples := h.sampler.after(after)
	last := samples[len(samples)-1]
	o := overview{Name: h.Name, Role: roleOf(r).String(), Node: h.inside.NodeID(), Closing: h.inside.Closing(), Time: last.time, Interval: interval.Seconds(), Samples: []point{}}
	for i, s := range samples {
		if s.time.After(after) {
			o.Samples = append(o.Samples, newPoint(samples[max(i-1, 0)], s))
		}
	}
	st := last.stats
	o.Totals = totals{st.Accepted, st.MessagesIn, st.MessagesOut, st.BytesIn, st.BytesOut,
		total(st.Refused), total(st.Closed), st.Panics}
	reply(w, o)
}

// route is the figures of one handler.
type route struct {
	Route string   `json:"route"`
	Count int64    `json:"count"` // calls since the start
	Rate  *float64 `json:"rate"`  // calls per second in the last minute
	Mean  *float64 `json:"mean"`  // seconds a call in the last minute; null if there was none
	P50   *float64 `json:"p50"`   // seconds that half of the calls in the last minute did not exceed; null if there was none
	P99   *float64 `json:"p99"`   // seconds that 99 of 100 of these calls did not exceed
	Load  *float64 `json:"load"`  // share of the last minute in which it ran, 0 to 1
	Total float64  `json:"total"` // seconds of all calls since the start
	Max   float64  `json:"max"`   // seconds of the longest call since the start

	Errors  int64      `json:"errors"`  // calls that failed since the start
	Failed  int64      `json:"failed"`  // calls that failed in the last minute
	Slowest []slowCall `json:"slowest"` // calls of the last 15 minutes, the slowest first; at most 5
}

// slowCall is one slow call of a handler.
type slowCall struct {
	Time    time.Time `json:"time"`
	Took    float64   `json:"took"`    // seconds
	Session string    `json:"session"` // "0" for a call of a node
	UID     string    `json:"uid"`
}

// handlers serves the figures of the handlers, those with the most time in the last
// minute first.
func (h *handler) handlers(w http.ResponseWriter, _ *http.Request) {
	first, last, _ := h.sampler.lastMinute()
	passed := last.time.Sub(first.time).Seconds()
	list := []route{}
	for name, s := range last.stats.Routes {
		before := first.stats.Routes[name]
		n, t := s.Count-before.Count, (s.Sum - before.Sum).Seconds()
		e := route{Route: name, Count: s.Count, Total: s.Sum.Seconds(), Max: s.Max.Seconds(), Errors: s.Errors,
			Failed: s.Errors - before.Errors, Slowest: []slowCall{}}
		for _, c := range last.slowest[name] {
			e.Slowest = append(e.Slowest, slowCall{c.Time, c.Took.Seconds(), strconv.FormatInt(c.Session, 10), strconv.FormatInt(c.UID, 10)})
		}
		if passed > 0 {
			e.Rate, e.Load = new(float64(n)/passed), new(t/passed)
			if n > 0 {
				e.Mean = new(t / float64(n))
				times := s.Times.Since(before.Times)
				e.P50, e.P99 = new(times.Quantile(.5).Seconds()), new(times.Quantile(.99).Seconds())
			}
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b route) int {
		return cmp.Or(-cmp.Compare(value(a.Load), value(b.Load)), -cmp.Compare(a.Total, b.Total), cmp.Compare(a.Route, b.Route))
	})
	reply(w, struct {
		Time   time.Time `json:"time"`
		Window float64   `json:"window"` // seconds of "the last minute", fewer at the start
		Routes []route   `json:"handlers"`
	}{last.time, passed, list})
}

func value(p *float64) float64 {
	if p == nil {
		return 0
	}
	return *p
}

// count is a counter with a name.
type count struct {
	Name   string `json:"name"`
	Total  int64  `json:"total"`
	Recent int64  `json:"recent"` // in the last minute
}

func counts(first, last map[string]int64) []count {
	list := []count{}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		list = append(list, count{name, last[name], last[name] - first[name]})
	}
	return list
}

// errors serves what was refused, why sessions closed, and the number of panics.
func (h *handler) errors(w http.ResponseWriter, _ *http.Request) {
	first, last, _ := h.sampler.lastMinute()
	reply(w, struct {
		Time    time.Time `json:"time"`
		Window  float64   `json:"window"`
		Panics  count     `json:"panics"`
		Refused []count   `json:"refused"`
		Closed  []count   `json:"closed"`
	}{
		last.time, last.time.Sub(first.time).Seconds(),
		count{"panics", last.stats.Panics, last.stats.Panics - first.stats.Panics},
		counts(first.stats.Refused, last.stats.Refused),
		counts(first.stats.Closed, last.stats.Closed),
	})
}

// member is another node of the cluster.
type member struct {
	ID       string    `json:"id"`
	Address  string    `json:"address"`
	Label    string    `json:"label"`
	Up       bool      `json:"up"`
	Started  time.Time `json:"started"`
	RTT      float64   `json:"rtt"` // seconds; 0 if it was not measured
	Services []string  `json:"services"`

	Queued      int `json:"queued"` // messages that wait to be sent to the node
	QueuedBytes int `json:"queuedBytes"`
}

// links are the figures of the traffic with the other nodes.
type links struct {
	Sessions    int      `json:"sessions"` // of other nodes' clients
	MessagesIn  *float64 `json:"messagesIn"`
	MessagesOut *float64 `json:"messagesOut"`
	BytesIn     *float64 `json:"bytesIn"`
	BytesOut    *float64 `json:"bytesOut"`
	Queued      int      `json:"queued"`
	QueuedBytes int      `json:"queuedBytes"`
	Unsent      int64    `json:"unsent"`
	Refused     int64    `json:"refused"`
	Lost        int64    `json:"lost"`
	Late        int64    `json:"late"`
}

// cluster serves the nodes and the traffic with them.
func (h *handler) cluster(w http.ResponseWriter, _ *http.Request) {
	first, last, members := h.sampler.lastMinute()
	c := struct {
		Time    time.Time `json:"time"`
		Window  float64   `json:"window"`
		Node    bool      `json:"node"` // whether the server is a node
		ID      string    `json:"id"`   // id of this node; empty if the server is not a node
		Address string    `json:"address"`
		Members []member  `json:"members"`
		Traffic *links    `json:"traffic"` // null if the server is not a node
	}{Time: last.time, Window: last.time.Sub(first.time).Seconds(), Members: []member{}, Address: h.srv.ClusterAddr(), ID: h.inside.NodeID()}
	for _, m := range members {
		c.Members = append(c.Members, member{strconv.FormatUint(m.ID, 10), m.Addr, m.Label, m.Up,
			time.Unix(0, int64(m.Epoch)), m.RTT.Seconds(), append([]string{}, m.Services...), m.Queued, m.QueuedBytes})
	}
	if st := last.stats.Cluster; st != nil {
		c.Node = true
		rate := func(counter func(*cluster.Stats) int64) *float64 {
			return perSecond(first, last, func(s *nano.Stats) int64 {
				if s.Cluster == nil {
					return 0
				}
				return counter(s.Cluster)
			})
		}
		c.Traffic = &links{
			Sessions:    st.Sessions,
			MessagesIn:  rate(func(s *cluster.Stats) int64 { return s.MessagesIn }),
			MessagesOut: rate(func(s *cluster.Stats) int64 { return s.MessagesOut }),
			BytesIn:     rate(func(s *cluster.Stats) int64 { return s.BytesIn }),
			BytesOut:    rate(func(s *cluster.Stats) int64 { return s.BytesOut }),
			Queued:      st.Queued, QueuedBytes: st.QueuedBytes,
			Unsent: st.Unsent, Refused: st.Refused, Lost: st.Lost, Late: st.Late,
		}
	}
	reply(w, c)
}
