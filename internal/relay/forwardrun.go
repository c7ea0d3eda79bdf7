package relay

import (
	"bytes"
	"sync"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// forwardRun collects messages of a client's session for one service of the peer to which the session is bound.
type forwardRun struct {
	pc      *peerConn
	client  Client
	frame   link.Frame // the last message; its session is that of the client
	service string     // of all messages
	binding string     // the name under which the session is bound for it
	address string     // of the peer
	frames  link.Run
	waiting []waitingRequest // the requests among the frames
	size    int              // bytes of payload
}

var forwardRuns = sync.Pool{New: func() any { return new(forwardRun) }}

// maxIdleWaiting is the largest capacity of waiting that is kept for reuse.
const maxIdleWaiting = 512

// ForwardRun begins a run of a session's messages; it is part of dispatch.Remote. With a Tracer there are no runs, because
// each message has a span.
func (b *Broker) ForwardRun(s *session.Session, route string) dispatch.ForwardRun {
	c, ok := s.NetworkEntity().(Client)
	if !ok || b.Tracer != nil {
		return nil
	}
	service, _ := serviceOf(route)
	pc, binding, address := b.boundTo(s, service)
	if pc == nil {
		return nil
	}
	r := forwardRuns.Get().(*forwardRun)
	r.pc, r.client, r.service, r.binding, r.address = pc, c, service, binding, address
	r.frame.Session, r.frame.Route = s.ID(), route
	return r
}

// Add appends a message; it is part of dispatch.ForwardRun.
func (r *forwardRun) Add(route string, id uint64, data []byte) bool {
	f := &r.frame
	if route != f.Route {
		if service, _ := serviceOf(route); service != r.service {
			return false
		}
		f.Route = route
	}
	// The frame is a field, because a local frame would be copied, which takes longer
	// than encoding it.
	f.Kind, f.ID, f.Data = kindNotify, id, data
	if id != 0 {
		f.Kind = kindRequest
	}
	if !r.frames.Add(f) {
		return false
	}
	if id != 0 {
		r.waiting = append(r.waiting, waitingRequest{})
		w := &r.waiting[len(r.waiting)-1]
		w.id, w.route = id, route
	}
	r.size += len(data)
	return true
}

// Send sends the messages; it is part of dispatch.ForwardRun. It returns false and sends none if the session is bound
// to another node meanwhile, or if the peer does not know it. It also returns false if the messages exceed a limit.
func (r *forwardRun) Send() bool {
	pc := r.pc
	if address, _ := r.client.Session().Router().Find(r.binding); address != r.address {
		return false // bound to another node meanwhile
	}
	pc.mu.Lock()
	defer pc.mu.Unlock()
	fs := pc.clients[r.frame.Session]
	if fs == nil || pc.down || fs.waiting.len()+len(r.waiting) > maxWaiting {
		return false
	}
	n := r.frames.Len()
	if pc.link.SendRun(&r.frames) != nil {
		return false
	}
	fs.waiting.add(r.waiting...)
	fs.share.Acquire(r.client.Mailbox(), n, r.size)
	return true
}

// Each calls f with a copy of each message; it is part of dispatch.ForwardRun.
func (r *forwardRun) Each(f func(*message.Message)) {
	r.frames.Each(func(frame *link.Frame) {
		m := &message.Message{Type: message.Notify, ID: frame.ID, Route: frame.Route, Data: bytes.Clone(frame.Data)}
		if frame.ID != 0 {
			m.Type = message.Request
		}
		f(m)
	})
}

// Free ends the use of the run; it is part of dispatch.ForwardRun.
func (r *forwardRun) Free() {
	r.frames.Free()
	clear(r.waiting)
	waiting := r.waiting[:0]
	if cap(waiting) > maxIdleWaiting {
		waiting = nil
	}
	*r = forwardRun{waiting: waiting}
	forwardRuns.Put(r)
}
