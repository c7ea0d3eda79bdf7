package dispatch

import (
	"context"
	"runtime/pprof"
	"time"

	"github.com/lonng/nano/internal/handler"
)

// Reading the clock takes as long as a quick call. So the run times consecutive quick calls of one
// handler together, up to maxStretch of them: 32 requests that arrive together cost 4 readings. The
// time of a single quick call is then known to a few microseconds only. In a stretch that turns
// out to be slow, the slowest call counts with the time of the whole stretch.
const (
	quick      = 2 * time.Microsecond // calls that took less on average are quick
	maxStretch = 8
)

// call runs one message and times it.
func (r *run) call(c *Call) {
	h := c.handler
	refusal := r.m.refusal(c)
	if refusal != nil {
		h = nil // it is not called
	}
	if r.handler != h {
		r.readClock()
		r.flushStats()
		r.handler, r.stretch = h, 1
		if h != nil && h.Stats.Quick() {
			r.stretch = maxStretch
		}
		r.m.d.label(h)
	}
	r.unread++
	r.m.exec(c, refusal)
	if r.handler != nil && r.unread >= r.stretch {
		r.readClock()
	}
}

// label sets the profiler labels of the calling goroutine: those of h, or none if h is nil. The
// label of a handler is made once, because pprof.Do would make a map for each message. Setting
// it takes some 8 ns, once for consecutive calls of one handler: see BenchmarkLabel.
func (d *Dispatcher) label(h *handler.Handler) {
	ctx := context.Background()
	if h != nil {
		ctx = h.Labels
	}
	pprof.SetGoroutineLabels(ctx)
}

// readClock ends a stretch of calls.
func (r *run) readClock() {
	n := r.unread
	if n == 0 {
		return
	}
	now := r.m.d.now()
	took := now - r.began
	r.began, r.unread = now, 0
	if r.handler == nil {
		return
	}
	longest := took
	mean := took / time.Duration(n)
	if mean < quick {
		longest = mean
		r.stretch = min(2*r.stretch, maxStretch)
	} else {
		r.stretch = 1
	}
	r.handler.Stats.SetQuick(mean < quick)
	r.handler.Stats.Times.Add(mean, n)
	r.n += n
	r.sum += took
	r.max = max(r.max, longest)
	if slowest := &r.handler.Stats.Slowest; slowest.Beats(longest) {
		slowest.Add(handler.SlowCall{Time: time.Now(), Took: longest, Session: r.m.s.ID(), UID: r.m.s.UID()})
	}
	if d := r.m.d; d.Slow > 0 && longest > d.Slow {
		d.Log.Warn("nano: slow handler", "route", r.handler.Route, "took", longest, "calls", n,
			"session", r.m.s.ID(), "uid", r.m.s.UID())
	}
}

// flushStats adds the times of the calls so far to the handler's.
func (r *run) flushStats() {
	if r.n > 0 {
		r.handler.Stats.Add(r.n, r.sum, r.max)
	}
	r.n, r.sum, r.max = 0, 0, 0
}
