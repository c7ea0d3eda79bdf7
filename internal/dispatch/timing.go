package dispatch

import (
	"time"
)

// Reading the clock takes as long as a quick call, so calls that took less than quick in a row are timed together, more
// and more of them, and those of a handler that was quick when it was timed last: 32 requests that come at once cost 4
// readings. How long a quick one took is not known then to more than a few microseconds; in a stretch that turns out slow,
// the slowest may have taken as long as all of it.
const (
	quick      = 2 * time.Microsecond
	maxStretch = 8
)

// call runs one message and takes its time.
func (r *run) call(c *Call) {
	handler := c.handler
	refusal := r.m.refusal(c)
	if refusal != nil {
		handler = nil // which is not called
	}
	if r.handler != handler {
		r.readClock()
		r.flushStats()
		r.handler, r.stretch = handler, 1
		if handler != nil && handler.Stats.Quick() {
			r.stretch = maxStretch
		}
	}
	r.unread++
	r.m.exec(c, refusal)
	if r.handler != nil && r.unread >= r.stretch {
		r.readClock()
	}
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
	r.n += n
	r.sum += took
	r.max = max(r.max, longest)
	if d := r.m.d; d.Slow > 0 && longest > d.Slow {
		d.Log.Warn("nano: slow handler", "route", r.handler.Route, "took", longest, "calls", n, "session", r.m.s.ID())
	}
}

func (r *run) flushStats() {
	if r.n > 0 {
		r.handler.Stats.Add(r.n, r.sum, r.max)
	}
	r.n, r.sum, r.max = 0, 0, 0
}
