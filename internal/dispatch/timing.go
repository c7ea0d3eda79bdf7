package dispatch

import (
	"context"
	"runtime/pprof"
	"time"

	"github.com/lonng/nano/internal/handler"
)

// Reading the clock takes as long as a quick call. So an execution times consecutive quick calls
// of one handler together, up to maxStretch of them: 32 requests that arrive together cost 4
// readings. The time of a single quick call is then known to a few microseconds only. In a stretch
// that turns out to be slow, the slowest call counts with the time of the whole stretch.
const (
	quick      = 2 * time.Microsecond // calls that took less on average are quick
	maxStretch = 8
)

// call runs one message and times it.
func (x *execution) call(c *Call) {
	h := c.handler
	refusal := x.m.refusal(c)
	if refusal != nil {
		h = nil // it is not called
	}
	if x.handler != h {
		x.readClock()
		x.flushStats()
		x.handler, x.stretch = h, 1
		if h != nil && h.Stats.Quick() {
			x.stretch = maxStretch
		}
		x.m.d.label(h)
	}
	x.unread++
	x.m.exec(c, refusal)
	if x.handler != nil && x.unread >= x.stretch {
		x.readClock()
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
func (x *execution) readClock() {
	n := x.unread
	if n == 0 {
		return
	}
	now := x.m.d.now()
	took := now - x.began
	x.began, x.unread = now, 0
	if x.handler == nil {
		return
	}
	longest := took
	mean := took / time.Duration(n)
	if mean < quick {
		longest = mean
		x.stretch = min(2*x.stretch, maxStretch)
	} else {
		x.stretch = 1
	}
	x.handler.Stats.SetQuick(mean < quick)
	x.handler.Stats.Times.Add(mean, n)
	x.n += n
	x.sum += took
	x.max = max(x.max, longest)
	if slowest := &x.handler.Stats.Slowest; slowest.Beats(longest) {
		slowest.Add(handler.SlowCall{Time: time.Now(), Took: longest, Session: x.m.s.ID(), UID: x.m.s.UID()})
	}
	if d := x.m.d; d.Slow > 0 && longest > d.Slow {
		d.Log.Warn("nano: slow handler", "route", x.handler.Route, "took", longest, "calls", n,
			"session", x.m.s.ID(), "uid", x.m.s.UID())
	}
}

// flushStats adds the times of the calls so far to the handler's.
func (x *execution) flushStats() {
	if x.n > 0 {
		x.handler.Stats.Add(x.n, x.sum, x.max)
	}
	x.n, x.sum, x.max = 0, 0, 0
}
