package dispatch

import (
	"sync"

	"github.com/lonng/nano/internal/flow"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

// Entity is the owner of a Mailbox: a session's network entity, with what running a message needs.
type Entity interface {
	session.NetworkEntity
	// Begin is called before a message runs: id is that of the request, or 0 for a notify; route is nil where it
	// is not known.
	Begin(id uint64, route *string)
	// Fail answers the request with an error, unless it was answered.
	Fail(id uint64, err *message.Error)
	// Refuse answers a request with an error for which Begin was not called. It may be called during a run.
	Refuse(id uint64, err *message.Error)
	// Hold and Release enclose a run of messages: what is sent meanwhile may go out together at its end.
	Hold()
	Release()
}

// Accountant is an Entity that wants to know what has run.
type Accountant interface {
	// Ran is called after every run, with how many messages have run and the bytes of payload they had. The calls come
	// one at a time.
	Ran(messages, size int)
}

// Mailbox runs the messages of one session one at a time, in the order they were delivered, each on the scheduler
// that it belongs to. Its methods may be called concurrently, but for Wait, which is for one goroutine.
//
// The memory it takes is bounded by who delivers: Wait returns when there is room, and Offer refuses what has none.
type Mailbox struct {
	d       *Dispatcher
	s       *session.Session
	entity  Entity
	limit   int            // messages that may wait
	bytes   int            // bytes of payload that may wait, beside one message
	runTask scheduler.Task // m.run, made once

	mu         sync.Mutex
	head, tail *Batch       // waiting; mu guards it and what follows
	count      int          // messages that wait or run
	size       int          // bytes of payload of those
	window     *flow.Window // what other nodes have; made by the first Acquire
	active     bool         // run is scheduled, or runs
	sealed     bool         // nothing more is accepted
	last       func()       // runs when everything else has, on the dispatcher's scheduler
	room       chan struct{}

	away *elsewhere // where run runs, or will; nil for the dispatcher's scheduler. Of the run alone
}

// Init prepares a mailbox for the messages of s. At most limit messages, and size bytes of payload beside one message,
// are to wait.
func (m *Mailbox) Init(d *Dispatcher, s *session.Session, e Entity, limit, size int) {
	m.d, m.s, m.entity, m.limit, m.bytes = d, s, e, limit, size
	m.runTask = m.run
}

// Idle reports whether nothing waits or runs.
func (m *Mailbox) Idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.active
}

// Deliver hands over b, which is not touched any more. It reports false, and refuses the messages of b, when the
// mailbox is sealed.
func (m *Mailbox) Deliver(b *Batch) bool { return m.deliver(b, false) == nil }

// Offer delivers one message with a payload of size bytes, if there is room for it. The error is ErrFull, or
// session.ErrBrokenPipe if the mailbox is sealed.
func (m *Mailbox) Offer(c Call, size int) error {
	b := NewBatch()
	b.Add(c, size)
	return m.deliver(b, true)
}

// deliver is Deliver, and refuses what has no room if it is asked to.
func (m *Mailbox) deliver(b *Batch, polite bool) error {
	m.mu.Lock()
	var err error
	switch {
	case m.sealed:
		err = session.ErrBrokenPipe
	case polite && m.free() == 0:
		err = ErrFull
	}
	if err != nil || len(b.calls) == 0 {
		m.mu.Unlock()
		if err != nil && !polite {
			m.refuse(b)
		}
		b.Free()
		return err
	}
	m.count += len(b.calls)
	m.size += b.size
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
		m.start(&b.calls[0]) // nothing else waits
	}
	return nil
}

// refuse answers the requests of a batch that comes too late, and drops its notifies. A session that is closed sends
// nothing; one that has to close when what it had accepted has run still does.
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

// Seal accepts no more messages, and has last run after those that were accepted, on the dispatcher's scheduler.
// Only the first call counts; it reports whether this was it.
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
