package dispatch

import (
	"time"

	"github.com/lonng/nano/internal/handler"
)

// runWaiting runs the messages that wait, up to the first one that belongs to another scheduler.
func (m *Mailbox) runWaiting() {
	m.mu.Lock()
	list := m.head
	m.head, m.tail = nil, nil
	m.mu.Unlock()
	x := execution{m: m, next: list}
	if m.placed == nil || m.placed.closed {
		x.began = m.d.Loop.SelfTimed()
	} else {
		m.entity.Hold() // the dispatcher's own loop holds for a whole batch
		x.held = true
		x.began = m.d.now()
		if l := m.placed.loop; l != nil {
			l.SelfTimed()
		}
	}
	defer x.end() // also when a handler ends the goroutine with runtime.Goexit
	for x.next != nil && !x.batch() {
		b := x.next
		x.next, x.at = b.next, 0
		b.Free()
	}
}

// finish puts the messages that have not run back into the queue, and schedules the next run.
func (m *Mailbox) finish(x *execution) {
	if e, ok := m.entity.(Accountant); ok {
		e.Ran(x.done, x.doneSize)
	}
	m.mu.Lock()
	m.count -= int32(x.done)
	m.size -= int32(x.doneSize)
	if x.next != nil {
		end := x.next
		for end.next != nil {
			end = end.next
		}
		end.next = m.head
		if m.head == nil {
			m.tail = end
		}
		m.head = x.next
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
			m.schedule(m.runWaiting)
			return
		}
		last := m.last
		m.last = nil
		m.mu.Unlock()
		last()
		if took := m.d.now() - x.began; m.d.Slow > 0 && took > m.d.Slow {
			m.d.Log.Warn("nano: slow close", "session", m.s.ID(), "uid", m.s.UID(), "took", took)
		}
	default:
		m.active = false
		m.wakeIdle()
		m.mu.Unlock()
		if !x.held {
			m.d.Loop.EndedAt(x.began)
		}
	}
}

// execution is the state of one call of runWaiting.
type execution struct {
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

// batch runs the messages of x.next. It reports whether it stopped at one that belongs to another
// scheduler.
func (x *execution) batch() (moved bool) {
	b := x.next
	for x.at < len(b.calls) && !moved {
		moved = x.some(b)
	}
	if !moved {
		x.doneSize += b.size
	}
	return moved
}

// some runs messages of b until one panics or belongs to another scheduler; moved is true in the
// latter case. One deferred function serves all of them, because it costs as much as a quick call.
func (x *execution) some(b *Batch) (moved bool) {
	returned := false
	defer func() {
		if !returned {
			x.m.unreturned(&b.calls[x.at-1], recover())
		}
	}()
	for x.at < len(b.calls) && !moved {
		c := &b.calls[x.at]
		if moved = !x.m.runsHere(c, x.done == 0); !moved {
			x.at++
			x.done++
			x.call(c)
		}
	}
	returned = true
	return moved
}

// end ends an execution, also after a handler that ended the goroutine.
func (x *execution) end() {
	x.readClock()
	x.flushStats()
	if x.handler != nil {
		x.m.d.label(nil)
	}
	if b := x.next; b != nil && x.at == len(b.calls) { // its last handler ended the goroutine
		x.next = b.next
		x.doneSize += b.size
	} else if b != nil && x.at > 0 {
		n := copy(b.calls, b.calls[x.at:])
		clear(b.calls[n:])
		b.calls = b.calls[:n]
	}
	if x.held {
		x.m.entity.Release()
	}
	x.m.finish(x)
}
