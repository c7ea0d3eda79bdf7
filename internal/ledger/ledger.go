// Package ledger records which requests of a session wait for an answer, so that each request is answered once.
// It knows ids only: neither routes nor payloads nor connections.
package ledger

import (
	"slices"
	"sync"
)

// MaxWaiting is how many requests a Ledger remembers beside the one that runs. Beyond that it forgets the oldest; see
// [Ledger.Claim].
const MaxWaiting = 512

// Ledger is the record of one session. The zero value is ready. Its methods may be called concurrently.
//
// A request is current from Begin until the next Begin. If it has no answer by then, it waits for a deferred answer. The
// common request, which its handler answers, takes no memory here.
type Ledger struct {
	mu       sync.Mutex
	current  uint64 // the request that runs or ran last, 0 for a notify; mu guards it and what follows
	serial   uint64 // of current: how many messages have begun
	answered bool   // current has its answer
	taken    bool   // the handler of current asked for its id, to answer it later
	deferred *deferred
}

// deferred is the part of a Ledger that few sessions need.
type deferred struct {
	waiting   []request // requests that wait for a deferred answer, oldest first
	forgotten request   // the largest id and the largest serial that were dropped from waiting
}

// request is one request. A client may use an id again, so the serial tells requests apart.
type request struct{ id, serial uint64 }

// Begin makes the request id the current one; id is 0 for a notify. A client may use an id again.
func (l *Ledger) Begin(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != 0 && !l.answered {
		l.wait(l.current, l.serial)
	}
	l.current, l.answered, l.taken = id, false, false
	l.serial++
}

// Current returns the id of the request that runs or ran last; 0 for a notify.
func (l *Ledger) Current() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// Take is Current for a handler that may answer later. It marks the request, see [Ledger.Taken].
func (l *Ledger) Take() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = true
	return l.current
}

// Taken reports whether Take was called since Begin.
func (l *Ledger) Taken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken
}

// Waiting reports whether the request id has begun and has no answer. Of the requests that were forgotten it
// knows none.
func (l *Ledger) Waiting(id uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id == l.current {
		return id != 0 && !l.answered
	}
	return l.deferred != nil && slices.ContainsFunc(l.deferred.waiting, func(r request) bool { return r.id == id })
}

// Serial returns the serial number of the message that runs or ran last. It differs for two requests with one id.
func (l *Ledger) Serial() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.serial
}

// Claim takes the right to answer the request id. It reports whether the request has no answer yet, and whether it is
// the current one. A caller that cannot send the answer gives the right back with Restore.
//
// Requests that never began cannot be claimed. A request that was forgotten, because more than MaxWaiting waited, can be
// claimed any number of times; so can ids below it.
func (l *Ledger) Claim(id uint64) (ok, current bool) { return l.ClaimSerial(id, 0) }

// ClaimSerial is Claim for the request with both the id and the serial number; serial 0 is any.
func (l *Ledger) ClaimSerial(id, serial uint64) (ok, current bool) {
	if id == 0 {
		return false, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	current = id == l.current && (serial == 0 || serial == l.serial)
	if current && !l.answered {
		l.answered = true
		return true, true
	}
	d := l.deferred
	if d == nil {
		return false, current
	}
	i := slices.IndexFunc(d.waiting, func(r request) bool { return r.id == id && (serial == 0 || r.serial == serial) })
	if i >= 0 {
		d.waiting = slices.Delete(d.waiting, i, i+1)
		return true, false
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if id == l.current && l.answered && (serial == 0 || serial == l.serial) {
		l.answered = false
		return
	}
	l.wait(id, serial)
}

// wait remembers that a request waits for a deferred answer. The caller holds mu.
func (l *Ledger) wait(id, serial uint64) {
	if l.deferred == nil {
		l.deferred = &deferred{}
	}
	d := l.deferred
	if len(d.waiting) == MaxWaiting {
		d.forgotten.id = max(d.forgotten.id, d.waiting[0].id)
		d.forgotten.serial = max(d.forgotten.serial, d.waiting[0].serial)
		d.waiting = slices.Delete(d.waiting, 0, 1)
	}
	d.waiting = append(d.waiting, request{id, serial})
}
