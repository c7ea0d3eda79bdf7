// Package ledger records which requests of a session wait for an answer, so that each
// request is answered once. It stores only ids, not routes, payloads or connections.
package ledger

import (
	"slices"
	"sync"
	"sync/atomic"
)

// MaxWaiting is how many requests a Ledger remembers beside the one that runs. Beyond
// that it forgets the oldest; see [Ledger.Claim].
const MaxWaiting = 512

// Ledger is the record of one session. The zero value is ready. Its methods may be called
// concurrently, but for Begin, which is called once at a time.
//
// A request is current from Begin until the next Begin. If it has no answer by then, it
// waits for a deferred answer. The common request, which its handler answers, takes
// neither memory nor a lock here.
type Ledger struct {
	state  atomic.Uint64 // of the message that runs or ran last: its serial, shifted, and flags
	offset atomic.Uint64 // the id of that request less its serial; it changes only while no request is current

	deferred atomic.Pointer[deferred] // nil until it is needed
}

// Clients number their requests one after the other, and so does serial. So the offset rarely
// changes, and a request costs two atomic writes: one when it begins, one when it is claimed.
const (
	isRequest  = 1 << 0 // the message is a request
	isClaimed  = 1 << 1 // the request was claimed
	serialBits = 2      // how far the serial is shifted: how many messages have begun
)

// deferred is the part of a Ledger that few sessions need.
type deferred struct {
	mu        sync.Mutex
	waiting   []request // mu guards it and what follows; requests that wait for a deferred answer, oldest first
	forgotten request   // the largest id and the largest serial that were dropped from waiting
	taken     uint64    // the serial of the request whose handler asked for its id last, to answer it later
}

// request is one request. A client may use an id again, so the serial tells requests
// apart.
type request struct{ id, serial uint64 }

// matches reports whether the request may have a serial number. 0 is any, also that of a
// request that Restore has put back when it was no longer current.
func (r request) matches(serial uint64) bool {
	return serial == 0 || r.serial == serial || r.serial == 0
}

// Begin makes the request id the current one; id is 0 for a notify. A client may use an
// id again.
func (l *Ledger) Begin(id uint64) {
	last := l.state.Load()
	if last&(isRequest|isClaimed) == isRequest {
		l.leave(last)
	}
	serial := last>>serialBits + 1
	if id == 0 {
		l.state.Store(serial << serialBits)
		return
	}
	if offset := id - serial; l.offset.Load() != offset {
		if last&isRequest != 0 {
			l.state.Store(last >> serialBits << serialBits) // no request is current
		}
		l.offset.Store(offset)
	}
	l.state.Store(serial<<serialBits | isRequest)
}

// leave records that the current request, whose state is last, waits for a deferred answer,
// unless it is claimed at this moment. It takes the claim of the request itself: a later Claim
// finds the request among those that wait.
func (l *Ledger) leave(last uint64) {
	d := l.more() // before the claim: a Claim that comes too late then finds it
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.state.CompareAndSwap(last, last|isClaimed) {
		serial := last >> serialBits
		d.wait(l.offset.Load()+serial, serial)
	}
}

// load returns the state and the id that belongs to it, which is 0 for a notify.
func (l *Ledger) load() (state, id uint64) {
	for {
		state = l.state.Load()
		if state&isRequest == 0 {
			return state, 0
		}
		id = l.offset.Load() + state>>serialBits
		if l.state.Load() == state {
			return state, id
		}
	}
}

// Current returns the id of the request that runs or ran last; 0 for a notify.
func (l *Ledger) Current() uint64 {
	_, id := l.load()
	return id
}

// Take is Current for a handler that may answer later. It marks the request, see [Ledger.Taken].
func (l *Ledger) Take() uint64 {
	d := l.more()
	d.mu.Lock()
	defer d.mu.Unlock()
	state, id := l.load()
	d.taken = state >> serialBits
	return id
}

// Taken reports whether Take was called since Begin.
func (l *Ledger) Taken() bool {
	d := l.deferred.Load()
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.taken != 0 && d.taken == l.Serial()
}

// Waiting reports whether the request id has begun and has no answer. It returns false for requests
// that were forgotten.
func (l *Ledger) Waiting(id uint64) bool {
	if state, current := l.load(); id != 0 && id == current && state&isClaimed == 0 {
		return true
	}
	// A request that is no longer current and has no answer is in deferred by now: Begin
	// leaves the last request before it begins the next.
	d := l.deferred.Load()
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.waiting, func(r request) bool { return r.id == id })
}

// Serial returns the serial number of the message that runs or ran last. It differs for
// two requests with one id.
func (l *Ledger) Serial() uint64 { return l.state.Load() >> serialBits }

// Claim takes the right to answer the request id. It reports whether the request has no
// answer yet, and whether it is the current one. A caller that cannot send the answer
// gives the right back with Restore.
//
// Requests that never began cannot be claimed. A request that was forgotten, because more
// than MaxWaiting waited, can be claimed any number of times; so can ids below it.
func (l *Ledger) Claim(id uint64) (ok, current bool) { return l.ClaimSerial(id, 0) }

// ClaimSerial is Claim for the request with both the id and the serial number; serial 0
// is any.
func (l *Ledger) ClaimSerial(id, serial uint64) (ok, current bool) {
	if id == 0 {
		return false, false
	}
	for {
		state, now := l.load()
		current = id == now && (serial == 0 || serial == state>>serialBits)
		if !current || state&isClaimed != 0 {
			break
		}
		if l.state.CompareAndSwap(state, state|isClaimed) {
			return true, true
		}
	}
	d := l.deferred.Load()
	if d == nil {
		return false, current
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.waiting, func(r request) bool { return r.id == id && r.matches(serial) })
	if i >= 0 {
		current = d.waiting[i].serial == l.Serial()
		d.waiting = slices.Delete(d.waiting, i, i+1)
		return true, current
	}
	if serial != 0 {
		return serial <= d.forgotten.serial && !current, current
	}
	return id <= d.forgotten.id && !current, current
}

// Restore takes back a Claim: the request has no answer yet.
func (l *Ledger) Restore(id uint64) { l.RestoreSerial(id, 0) }

// RestoreSerial takes back a ClaimSerial.
func (l *Ledger) RestoreSerial(id, serial uint64) {
	d := l.more()
	d.mu.Lock()
	defer d.mu.Unlock()
	if state, current := l.load(); serial == 0 && current == id {
		serial = state >> serialBits
	}
	d.wait(id, serial)
}

// wait remembers that a request waits for a deferred answer. The caller holds mu.
func (d *deferred) wait(id, serial uint64) {
	if len(d.waiting) == MaxWaiting {
		d.forgotten.id = max(d.forgotten.id, d.waiting[0].id)
		d.forgotten.serial = max(d.forgotten.serial, d.waiting[0].serial)
		d.waiting = slices.Delete(d.waiting, 0, 1)
	}
	d.waiting = append(d.waiting, request{id, serial})
}

// more returns the part that few sessions need.
func (l *Ledger) more() *deferred {
	if l.deferred.Load() == nil {
		l.deferred.CompareAndSwap(nil, &deferred{})
	}
	return l.deferred.Load()
}
