package dispatch

import (
	"time"

	"github.com/lonng/nano/internal/handler"
)

// run runs the messages that wait, up to the first one that belongs to another scheduler.
func (m *Mailbox) run() {
	m.mu.Lock()
	list := m.head
	m.head, m.tail = nil, nil
	m.mu.Unlock()
	r := run{m: m, next: list}
	if m.placed == nil || m.placed.closed {
		r.began = m.d.Loop.SelfTimed()
	} else {
		m.entity.Hold() // the dispatcher's own loop holds for a whole batch
		r.held = true
		r.began = m.d.now()
		if l := m.placed.loop; l != nil {
			l.SelfTimed()
		}
	}
	defer r.end() // also when a handler ends the goroutine with runtime.Goexit
	for r.next != nil && !r.batch() {
		b := r.next
		r.next, r.at = b.next, 0
		b.Free()
	}
}

// finish puts the messages that have not run back into the queue, and schedules the next run.
func (m *Mailbox) finish(r *run) {
	if e, ok := m.entity.(Accountant); ok {
		e.Ran(r.done, r.doneSize)
	}
	m.mu.Lock()
	m.count -= int32(r.done)
	m.size -= int32(r.doneSize)
	if r.next != nil {
		end := r.next
		for end.next != nil {
			end = end.next
		}
		end.next = m.head
		if m.head == nil {
			m.tail = end
		}
		m.head = r.next
	}
	m.wakeReader()
	switch {
	case m.head != nil:
		first := m.head
		m.mu.Unlock()
		m.start(first)
	case m.sealed && m.last != nil:
		if m.placed != nil && !m.placed.closed {
			m.placed = nil
			m.mu.Unlock()
			m.schedule(m.run)
			return
		}
		last := m.last
		m.last = nil
		m.mu.Unlock()
		last()
		if took := m.d.now() - r.began; m.d.Slow > 0 && took > m.d.Slow {
			m.d.Log.Warn("nano: slow close", "session", m.s.ID(), "uid", m.s.UID(), "took", took)
		}
	default:
		m.active = false
		m.wakeIdle()
		m.mu.Unlock()
		if !r.held {
			m.d.Loop.EndedAt(r.began)
		}
	}
}

// run is one run of a mailbox.
type run struct {
	m        *Mailbox
	held     bool
	next     *Batch // the batch that runs, or that belongs to another scheduler
	at       int    // the next message of that batch
	done     int    // messages that ran
	doneSize int    // bytes of payload of the batches that ran

	// Consecutive calls of one handler, whose times are added together; nil for none.
	handler *handler.Handler
	n       int64
	sum     time.Duration
	max     time.Duration

	began   time.Duration // when the clock was read last
	unread  int64         // calls since then
	stretch int64         // calls before the clock is read again
}

// batch runs the messages of r.next. It reports whether it stopped at one that belongs to another
// scheduler.
func (r *run) batch() (moved bool) {
	b := r.next
	for r.at < len(b.calls) && !moved {
		moved = r.some(b)
	}
	if !moved {
		r.doneSize += b.size
	}
	return moved
}

// some runs messages of b until one panics or belongs to another scheduler; moved is true in the
// latter case. One deferred function serves all of them, because it costs as much as a quick call.
func (r *run) some(b *Batch) (moved bool) {
	returned := false
	defer func() {
		if !returned {
			r.m.unreturned(&b.calls[r.at-1], recover())
		}
	}()
	for r.at < len(b.calls) && !moved {
		c := &b.calls[r.at]
		if moved = !r.m.runsHere(c, r.done == 0); !moved {
			r.at++
			r.done++
			r.call(c)
		}
	}
	returned = true
	return moved
}

// end ends a run, also after a handler that ended the goroutine.
func (r *run) end() {
	r.readClock()
	r.flushStats()
	if r.handler != nil {
		r.m.d.label(nil)
	}
	if b := r.next; b != nil && r.at == len(b.calls) { // its last handler ended the goroutine
		r.next = b.next
		r.doneSize += b.size
	} else if b != nil && r.at > 0 {
		n := copy(b.calls, b.calls[r.at:])
		clear(b.calls[n:])
		b.calls = b.calls[:n]
	}
	if r.held {
		r.m.entity.Release()
	}
	r.m.finish(r)
}
