package agent

import (
	"context"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/payload"
	"github.com/lonng/nano/session"
)

// Cluster is the other nodes, as far as the agents need them; its methods may be called
// concurrently.
type Cluster interface {
	// RPC sends a notify of a session to a node that serves the route.
	RPC(s *session.Session, route string, data []byte) error
	// Call makes a call of a session and waits for its reply.
	Call(ctx context.Context, s *session.Session, route string, in, out any) error
	// Answer answers a call of a session with a reply, or with an error if there is one;
	// mine is false if id is not that of a call.
	Answer(session int64, id uint64, v any, e *message.Error) (mine bool, err error)
	// Bound records another uid of a session, 0 for none.
	Bound(s *session.Session, old, uid int64)
	// Routed records that a service was bound for a session, or unbound if address is
	// empty.
	Routed(s *session.Session, service, address string)
	// Suspended records that a session has lost its connection for a reason, and waits for
	// its client. It is called in order with the session's messages, as is Resumed.
	Suspended(s *session.Session, reason error)
	// Resumed records that the client of a session has come back.
	Resumed(s *session.Session)
}

// caller makes calls to other nodes.
type caller interface {
	Call(ctx context.Context, route string, in, out any) error
}

// RPC sends a notify to the node that serves the route.
func (a *Agent) RPC(route string, v any) error {
	data, err := payload.Encode(a.hub.Serializer, v)
	if err != nil {
		return err
	}
	if a.hub.Cluster == nil {
		return session.ErrNotSupported
	}
	return a.hub.Cluster.RPC(a.session, route, data)
}

// Call makes a call of the session and waits for its reply.
func (a *Agent) Call(ctx context.Context, route string, in, out any) error {
	if a.hub.Cluster == nil {
		return session.ErrNotSupported
	}
	return a.hub.Cluster.Call(ctx, a.session, route, in, out)
}

// announceSuspended runs the callbacks of a suspension, in order with the session's
// messages.
func (a *Agent) announceSuspended(reason error) {
	a.box.Announce(dispatch.Do(0, func() error {
		if a.hub.Cluster != nil {
			a.hub.Cluster.Suspended(a.session, reason)
		}
		a.control.Suspend(reason)
		return nil
	}))
}

// announceResumed runs the callbacks of a resume.
func (a *Agent) announceResumed() {
	a.box.Announce(dispatch.Do(0, func() error {
		if a.hub.Cluster != nil {
			a.hub.Cluster.Resumed(a.session)
		}
		a.control.Resume()
		return nil
	}))
}

// Relay sends a response or push whose payload another node encoded; the payload is not
// kept. The error is session.ErrSessionOnNotify for a response to a request that was
// answered.
func (a *Agent) Relay(m *message.Message) error {
	if err := a.sendable(); err != nil {
		return err
	}
	if m.Type != message.Response {
		return a.sendData(m)
	}
	if ok, _ := a.requests.Claim(m.ID); !ok {
		return session.ErrSessionOnNotify
	}
	err := a.sendData(m)
	if err != nil {
		a.requests.Restore(m.ID)
	}
	return err
}

// RelayError answers the request with the id mid, whose route another node was to serve,
// with an error.
func (a *Agent) RelayError(mid uint64, route string, e *message.Error) {
	if ok, _ := a.requests.Claim(mid); ok {
		a.sendError(mid, route, e)
	}
}

// isCall reports whether an id may be that of a call: those of clients are smaller,
// unless a client is malicious. The Cluster knows which calls there are, and sees that
// their ids cannot be guessed.
func isCall(id uint64) bool { return id>>63 != 0 }

// answerCall answers a call that runs as a request of the session.
func (a *Agent) answerCall(id uint64, v any, e *message.Error) (mine bool, err error) {
	if a.hub.Cluster == nil {
		return false, nil
	}
	return a.hub.Cluster.Answer(a.id, id, v, e)
}
