package dispatch

import (
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// A message that another node serves needs nothing of the logic goroutine. So the goroutine that
// has read it forwards it, together with the other messages of the read. It does so only if no
// message of the session waits or runs. Otherwise the messages pass through the mailbox, which
// keeps their order.

// ForwardRun collects consecutive messages of one session that go to one node. It is used by one
// goroutine at a time.
type ForwardRun interface {
	// Add appends a request, or a notify if id is 0, and copies its data. It reports false, and
	// adds nothing, if the message goes to another node or does not fit.
	Add(route string, id uint64, data []byte) bool
	// Send sends the messages. It reports false if it has sent none: they have to pass through
	// the mailbox.
	Send() bool
	// Each calls f with a copy of each message.
	Each(f func(*message.Message))
	// Free ends the use of the run.
	Free()
}

// DecodeForward adds a message to the run of b if the session is bound to another node that
// serves it. It reports false, and adds nothing, if the message has to become a Call of b; here is
// its handler then, if it was looked up and is on this node. Once b has a Call, later messages
// become Calls too.
func (d *Dispatcher) DecodeForward(b *Batch, s *session.Session, h *message.Header) (added bool, here *handler.Handler) {
	if len(b.calls) > 0 || h.Strange || d.Inbound != nil || d.Debug || d.remote == nil || d.draining.Load() {
		return false, nil
	}
	if b.remote == nil || h.Compressed || string(h.Route) != b.route {
		return d.decodeForward(b, s, h)
	}
	return b.forward(b.route, h), nil
}

// decodeForward is DecodeForward for a message that begins a run, or whose route is not that of
// the message before.
func (d *Dispatcher) decodeForward(b *Batch, s *session.Session, h *message.Header) (added bool, here *handler.Handler) {
	route := b.route
	if h.Compressed || string(h.Route) != route {
		var known bool
		if route, known = d.route(h); !known {
			return false, nil
		}
	}
	if found := d.find(h); found != nil && !found.Sessionless() && !d.boundAway(s, found.Route) {
		return false, found
	}
	if b.remote == nil {
		if b.remote = d.remote.ForwardRun(s, route); b.remote == nil {
			return false, nil
		}
	}
	b.route = route
	return b.forward(route, h), nil
}

// forward adds a message to the run of b.
func (b *Batch) forward(route string, h *message.Header) bool {
	if !b.remote.Add(route, h.ID, h.Body) {
		if b.forwards == 0 {
			b.freeRemote()
		}
		return false
	}
	b.forwards++
	b.forwardSize += len(h.Body)
	return true
}

// remoteToCalls replaces the run of b by Calls.
func (b *Batch) remoteToCalls() {
	calls := make([]Call, 0, b.forwards+len(b.calls))
	b.remote.Each(func(m *message.Message) { calls = append(calls, forward(m)) })
	b.calls = append(calls, b.calls...)
	b.size += b.forwardSize
	b.freeRemote()
}

func (b *Batch) freeRemote() {
	b.remote.Free()
	b.remote, b.forwards, b.forwardSize = nil, 0, 0
}

// sendRemote sends the run of b, on the caller's goroutine, if no message waits or runs. Otherwise,
// and if the run cannot be sent, its messages become Calls.
func (m *Mailbox) sendRemote(b *Batch) {
	m.mu.Lock()
	if m.active || m.sealed {
		m.mu.Unlock()
		b.remoteToCalls()
		return
	}
	m.active = true // what is queued meanwhile runs later
	m.mu.Unlock()
	if b.remote.Send() {
		b.freeRemote()
	} else {
		b.remoteToCalls()
	}
	m.mu.Lock()
	switch {
	case m.head != nil:
		first := m.head
		m.mu.Unlock()
		m.start(first)
	case m.sealed && m.last != nil:
		m.mu.Unlock()
		m.start(nil)
	default:
		m.active = false
		m.wakeIdle()
		m.mu.Unlock()
	}
}
