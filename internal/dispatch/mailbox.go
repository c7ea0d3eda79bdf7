package dispatch

import (
	"math"
	"sync"

	"github.com/lonng/nano/internal/flow"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// Entity is a session's network entity, with the methods that a [Mailbox] needs to run its messages.
type Entity interface {
	session.NetworkEntity
	// Begin is called before a message runs. id is that of the request, or 0 for a notify; route
	// is nil if it is not known.
	Begin(id uint64, route *string)
	// Fail answers the request with an error, unless it was answered.
	Fail(id uint64, err *message.Error)
	// Refuse answers a request with an error for which Begin was not called. It may be called
	// during a run.
	Refuse(id uint64, err *message.Error)
	// Deferred reports whether the handler that runs took over the answer: it has called LastMid.
	// It is called on the goroutine of the run.
	Deferred() bool
	// Waiting reports whether the request has no answer yet. It may be called concurrently.
	Waiting(id uint64) bool
	// Hold and Release enclose a run of messages. What is sent in between may go out together at
	// its end.
	Hold()
	Release()
}

// Accountant is an [Entity] that counts what has run.
type Accountant interface {
	// Ran is called after every run, with the number of messages that have run and the bytes of
	// their payloads. The calls come one at a time.
	Ran(messages, size int)
}

// Mailbox runs the messages of one session one at a time, in the order of their delivery, each on
// its scheduler. Its methods may be called concurrently, except Wait and WaitIdle, which are for
// one goroutine.
//
// The caller that delivers bounds the memory: Wait returns when there is room, and Offer refuses a
// message without room.
type Mailbox struct {
	d      *Dispatcher
	s      *session.Session
	entity Entity
	limit  int32 // messages that may wait
	bytes  int32 // bytes of payload that may wait, beside one message

	mu          sync.Mutex
	head, tail  *Batch       // waiting; mu guards it and the fields below
	count       int32        // messages that wait or run
	size        int32        // bytes of payload of those
	window      *flow.Window // messages at other nodes; created by the first Acquire
	active      bool         // runWaiting is scheduled, or runs
	sealed      bool         // nothing more is accepted
	interrupted bool         // Interrupt was called, and no Wait or WaitIdle has returned since
	wantsIdle   bool         // WaitIdle waits
	last        func()       // runs after everything else, on the dispatcher's loop
	room        chan struct{}

	placed *placement // where runWaiting runs, or will; nil for the dispatcher's loop. runWaiting owns it
}

// Init prepares a mailbox for the messages of s. limit is how many messages may wait. Together
// they may have size bytes of payload, not counting one of them.
func (m *Mailbox) Init(d *Dispatcher, s *session.Session, e Entity, limit, size int) {
	m.d, m.s, m.entity = d, s, e
	m.limit, m.bytes = int32(min(limit, math.MaxInt32/2)), int32(min(size, math.MaxInt32/2))
}

// Idle reports whether nothing waits or runs.
func (m *Mailbox) Idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.active
}

// Deliver queues the messages of b, which belongs to the mailbox then. If the mailbox is sealed, it
// refuses them and reports false.
func (m *Mailbox) Deliver(b *Batch) bool {
	if b.remote != nil {
		if m.sendRemote(b); len(b.calls) == 0 {
			b.Free()
			return true
		}
	}
	return m.deliver(b, false) == nil
}

// Offer queues one message with a payload of size bytes if there is room for it. The error is
// ErrFull, or session.ErrBrokenPipe if the mailbox is sealed.
func (m *Mailbox) Offer(c Call, size int) error {
	b := NewBatch()
	b.Add(c, size)
	return m.deliver(b, true)
}

// Announce queues a call that the server itself makes, however full the mailbox is. It
// reports false, and drops the call, if the mailbox is sealed.
func (m *Mailbox) Announce(c Call) bool {
	m.mu.Lock()
	sealed := m.sealed
	m.mu.Unlock()
	if sealed {
		return false
	}
	b := NewBatch()
	b.Add(c, 0)
	return m.Deliver(b)
}

// deliver is Deliver. If bounded is true, it returns an error for a batch without room or a sealed
// mailbox, and does not answer its messages.
func (m *Mailbox) deliver(b *Batch, bounded bool) error {
	m.mu.Lock()
	var err error
	switch {
	case m.sealed:
		err = session.ErrBrokenPipe
	case bounded && m.free() == 0:
		err = ErrFull
	}
	if err != nil || len(b.calls) == 0 {
		m.mu.Unlock()
		if err != nil && !bounded {
			m.refuse(b)
		}
		b.Free()
		return err
	}
	m.count += int32(len(b.calls))
	m.size += int32(b.size)
	if m.tail == nil {
		m.head = b
	} else {
		m.tail.next = b
	}
	m.tail = b
	start := !m.active
	m.active = true
	m.mu.Unlock()
	if start {
		m.start(b) // no other message waits
	}
	return nil
}

// refuse answers the requests of a batch that comes after Seal, and drops its notifies. The session
// may still send: it closes after the messages that it had accepted.
func (m *Mailbox) refuse(b *Batch) {
	for i := range b.calls {
		if id := b.calls[i].id; id == 0 {
			m.d.Counts.Dropped.Add(1)
		} else {
			m.d.Counts.Failed.Add(1)
			m.entity.Refuse(id, m.d.Public(errDraining))
		}
	}
}

// Seal makes the mailbox accept no more messages. It runs last after the accepted ones, on the
// dispatcher's loop. Only the first call has an effect; Seal reports whether this was the first.
func (m *Mailbox) Seal(last func()) bool {
	m.mu.Lock()
	if m.sealed {
		m.mu.Unlock()
		return false
	}
	m.sealed, m.last = true, last
	m.wakeReader()
	start := !m.active
	m.active = true
	m.mu.Unlock()
	if start {
		m.start(nil)
	}
	return true
}
