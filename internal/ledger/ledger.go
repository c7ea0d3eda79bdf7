// Package ledger records which requests of a session wait for an answer, so that each request is answered once.
// It knows ids only: neither routes nor payloads nor connections.
package ledger

import (
	"slices"
	"sync"
	"sync/atomic"
)

// MaxWaiting is how many requests a Ledger remembers beside the one that runs. Beyond that it forgets the oldest; see
// [Ledger.Claim].
const MaxWaiting = 512

// Ledger is the record of one session. The zero value is ready. Its methods may be called concurrently, but for Begin, which
// is called once at a time.
//
// A request is current from Begin until the next Begin. If it has no answer by then, it waits for a deferred answer. The
// common request, which its handler answers, takes neither memory nor a lock here.
type Ledger struct {
	current  atomic.Uint64 // the request that runs or ran last, 0 for a notify
	answered atomic.Uint64 // the current request that was claimed last

	mu       sync.Mutex
	deferred *deferred // nil until it is needed; mu guards it
}

// deferred is the part of a Ledger that few sessions need.
type deferred struct {
	ids       []uint64 // the requests that wait for a deferred answer, oldest first
	forgotten uint64   // the largest id that was dropped from ids
}

// Begin makes the request id the current one; id is 0 for a notify. A client may use an id again.
func (l *Ledger) Begin(id uint64) {
	if last := l.current.Load(); last != 0 && l.answered.Load() != last {
		l.leave(last)
	}
	if id != 0 && l.answered.Load() == id {
		l.answered.Store(0) // the client uses an id again
	}
	l.current.Store(id)
}

// leave records that the current request waits for a deferred answer, unless it is claimed at this moment. It takes the
// claim of the current request itself: a later Claim finds the request among those that wait.
func (l *Ledger) leave(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claimCurrent(id) {
		l.wait(id)
	}
}

// claimCurrent claims the current request, and reports whether it was not claimed before.
func (l *Ledger) claimCurrent(id uint64) bool {
	last := l.answered.Load()
	return last != id && l.answered.CompareAndSwap(last, id)
}

// Current returns the id of the request that runs or ran last; 0 for a notify.
func (l *Ledger) Current() uint64 { return l.current.Load() }

// Claim takes the right to answer the request id. It reports whether the request has no answer yet, and whether it is
// the current one. A caller that cannot send the answer gives the right back with Restore.
//
// Requests that never began cannot be claimed. A request that was forgotten, because more than MaxWaiting waited, can be
// claimed any number of times; so can ids below it.
func (l *Ledger) Claim(id uint64) (ok, current bool) {
	if id == 0 {
		return false, false
	}
	if current = id == l.current.Load(); current && l.claimCurrent(id) {
		return true, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.deferred
	if d == nil {
		return false, current
	}
	if i := slices.Index(d.ids, id); i >= 0 {
		d.ids = slices.Delete(d.ids, i, i+1)
		return true, current
	}
	return id <= d.forgotten && !current, current
}

// Restore takes back a Claim: the request has no answer yet.
func (l *Ledger) Restore(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wait(id)
}

// wait remembers that id waits for a deferred answer. The caller holds mu.
func (l *Ledger) wait(id uint64) {
	if l.deferred == nil {
		l.deferred = &deferred{}
	}
	d := l.deferred
	if len(d.ids) == MaxWaiting {
		d.forgotten = max(d.forgotten, d.ids[0])
		d.ids = slices.Delete(d.ids, 0, 1)
	}
	d.ids = append(d.ids, id)
}
