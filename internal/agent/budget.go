package agent

import (
	"cmp"
	"slices"
	"time"
)

// charge updates the part of the hub's total that the history accounts for. A suspended
// session counts exactly, but at least minCharge. For an active session, a change of less
// than minCharge has no effect, so that sessions with quick acknowledgments do not
// contend for the total. The caller holds the mu of the outbox.
func (s *activity) charge(h *Hub, suspended bool) {
	n := int64(s.history.bytes)
	if suspended {
		n = max(n, minCharge)
	} else if d := n - s.charged; -minCharge < d && d < minCharge && n > 0 {
		return
	}
	d := n - s.charged
	if d == 0 {
		return
	}
	s.charged = n
	h.hold(d)
}

// hold counts d more bytes that sessions keep.
func (h *Hub) hold(d int64) {
	if h.Counts.Held.Add(d) > h.Resume.MaxMemory && d > 0 && h.reclaiming.CompareAndSwap(false, true) {
		h.wg.Add(1) // the session has not ended
		go h.reclaim()
	}
}

// spare is the part of MaxMemory that reclaim frees: one in 64. It examines all sessions, so
// it has to be called rarely, also while clients do their best to exceed the bound.
const spare = 64

// reclaim frees memory when all sessions together keep more than MaxMemory, until a part of
// it is free. The sessions with the largest histories lose theirs first, and end if they are
// suspended.
func (h *Hub) reclaim() {
	defer h.wg.Done()
	most := h.Resume.MaxMemory
	for {
		nothing := h.Counts.Held.Load() > most && !h.freeHistories(most-most/spare)
		h.reclaiming.Store(false)
		// A session that exceeded the bound meanwhile relies on this goroutine.
		if nothing || h.Counts.Held.Load() <= most || !h.reclaiming.CompareAndSwap(false, true) {
			return
		}
	}
}

// freeHistories discards histories, the largest first, until all sessions together keep most
// bytes. It reports whether there was one.
func (h *Hub) freeHistories(most int64) (found bool) {
	type holder struct {
		a     *Agent
		bytes int64
		since time.Duration
	}
	var list []holder
	for _, a := range h.snapshot() {
		o := &a.out
		o.mu.Lock()
		switch s := o.activity(); {
		case o.recent != nil && o.recent.charged > 0:
			list = append(list, holder{a: a, bytes: int64(o.recent.charged)})
		case s != nil && s.charged > 0:
			list = append(list, holder{a, s.charged, s.deadline})
		}
		o.mu.Unlock()
	}
	slices.SortFunc(list, func(x, y holder) int {
		return cmp.Or(cmp.Compare(y.bytes, x.bytes), cmp.Compare(x.since, y.since))
	})
	for _, x := range list {
		if h.Counts.Held.Load() <= most {
			break
		}
		x.a.forgetHistory()
	}
	return len(list) > 0
}

// forgetHistory discards the session's history, and ends the session if it is suspended.
func (a *Agent) forgetHistory() {
	o := &a.out
	o.mu.Lock()
	suspended := o.suspended()
	if o.recent != nil {
		o.activate()
	}
	if s := o.activity(); s != nil && !suspended && !o.closed {
		s.history.forget(s.history.last)
		s.charge(a.hub, false)
	}
	o.mu.Unlock()
	if suspended {
		a.overflow()
	}
}
