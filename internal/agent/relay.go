package agent

import (
	"context"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// Cluster is the other nodes, as far as the agents need them; its methods may be called concurrently.
type Cluster interface {
	// RPC sends a notify of a session to whoever serves the route.
	RPC(s *session.Session, route string, data []byte) error
	// Call makes a call of a session and waits for its reply.
	Call(ctx context.Context, s *session.Session, route string, in, out any) error
	// Answer answers a call of a session with a reply, or with an error if there is one; mine is false where id is none
	// of a call.
	Answer(session int64, id uint64, v any, e *message.Error) (mine bool, err error)
	// Bound is told of another uid of a session, 0 for none.
	Bound(s *session.Session, old, uid int64)
	// Routed is told that a service was bound for a session, or unbound where address is empty.
	Routed(s *session.Session, service, address string)
}

// Session returns the agent's session.
func (a *Agent) Session() *session.Session { return a.session }

// Mailbox returns where the session's messages wait.
func (a *Agent) Mailbox() *dispatch.Mailbox { return &a.box }

// Call makes a call of the session and waits for its reply.
func (a *Agent) Call(ctx context.Context, route string, in, out any) error {
	if a.hub.Cluster == nil {
		return session.ErrNotSupported
	}
	return a.hub.Cluster.Call(ctx, a.session, route, in, out)
}

// Routed is told of the session's Router.
func (a *Agent) Routed(s *session.Session, service, address string) {
	a.flags.set(flagRouted)
	if a.hub.Cluster != nil {
		a.hub.Cluster.Routed(s, service, address)
	}
}

// Relay sends a response or push whose payload another node encoded; that may be overwritten afterwards.
func (a *Agent) Relay(m *message.Message) error {
	if err := a.sendable(); err != nil {
		return err
	}
	if m.Type == message.Response {
		if ok, _ := a.requests.Claim(m.ID); !ok {
			return session.ErrSessionOnNotify
		}
	}
	err := a.sendData(m)
	if err != nil && m.Type == message.Response {
		a.requests.Restore(m.ID)
	}
	return err
}

// RelayError answers the request with the id mid, of a route that another node was to serve, with an error.
func (a *Agent) RelayError(mid uint64, route string, e *message.Error) {
	if ok, _ := a.requests.Claim(mid); ok {
		a.sendError(mid, route, e)
	}
}

// isCall reports whether an id may be that of a call: those of clients are smaller, but for clients that mean mischief.
// Which calls there are, and that nobody guesses their ids, is for the Cluster to say.
func isCall(id uint64) bool { return id>>63 != 0 }

// answerCall answers a call that runs as a request of the session.
func (a *Agent) answerCall(id uint64, v any, e *message.Error) (mine bool, err error) {
	if a.hub.Cluster == nil {
		return false, nil
	}
	return a.hub.Cluster.Answer(a.id, id, v, e)
}
