package relay

import (
	"errors"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/session"
	"github.com/lonng/nano/trace"
)

// Forward sends a client's request or notify to the node that serves it; it is part of dispatch.Remote.
func (b *Broker) Forward(s *session.Session, m *message.Message) error {
	f := link.Frame{Kind: kindNotify, Session: s.ID(), ID: m.ID, Route: m.Route, Data: m.Data}
	if m.ID != 0 {
		f.Kind = kindRequest
	}
	return b.send(s, &f)
}

// send sends a request or notify of a client's session to the node that serves its route.
func (b *Broker) send(s *session.Session, f *link.Frame) error {
	if b.Tracer != nil {
		return b.sendTraced(s, f)
	}
	return b.sendFrame(s, f, nil, "")
}

// sendFrame is send with a span and its header; nil and "" are none.
func (b *Broker) sendFrame(s *session.Session, f *link.Frame, span trace.Span, header string) error {
	c, ok := s.NetworkEntity().(Client)
	if !ok {
		return errNoClient
	}
	service, _ := serviceOf(f.Route)
	flags := f.Flags
	for {
		pc, err := b.choose(c, service)
		if err != nil {
			return err
		}
		pc.putTrace(f, header)
		err = pc.send(c, f, span)
		if !errors.Is(err, link.ErrDown) {
			return sendError(err)
		}
		pc.dead.Store(true) // f was not sent
		f.Flags, f.Meta = flags, nil
	}
}

// send sends a frame of a client's session, and introduces the session if the peer does not know it. It returns the error
// of the link's Send, session.ErrBrokenPipe if the session has finished, or errWaiting. The answer to a request ends span,
// if that is not nil.
func (pc *peerConn) send(c Client, f *link.Frame, span trace.Span) error {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	if pc.down {
		return link.ErrDown
	}
	fs := pc.clients[f.Session]
	fresh := fs == nil
	if fresh {
		if !c.Control().Watch(pc, func() { pc.finished(c.Session()) }) {
			return session.ErrBrokenPipe
		}
		i := introduce(c.Session(), c.Control())
		f.Meta = i.append(f.Meta)
		fs = &forwardedSession{client: c}
	}
	if f.Kind == kindRequest && fs.waiting.len() >= maxWaiting {
		return errWaiting
	}
	if err := pc.link.Send(f); err != nil {
		if fresh {
			c.Control().Unwatch(pc)
		}
		return err
	}
	if fresh {
		pc.clients[f.Session] = fs
		if s, ok := c.(sessionctl.Suspender); ok && s.Suspended() {
			pc.sendSuspended(f.Session, session.ErrClientClosed)
		}
	}
	if f.Kind == kindRequest {
		fs.waiting.add(waitingRequest{f.ID, f.Route, span, true})
	}
	fs.share.Acquire(c.Mailbox(), 1, len(f.Data))
	return nil
}

// sendCall sends a call without a session. It returns the error of the link's Send.
func (pc *peerConn) sendCall(f *link.Frame) error {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	if pc.down {
		return link.ErrDown
	}
	return pc.link.Send(f)
}
