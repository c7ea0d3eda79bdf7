package agent

import (
	"context"
	"math"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/payload"
	"github.com/lonng/nano/session"
)

// Cluster connects the agents with the other nodes. Its methods may be called
// concurrently.
type Cluster interface {
	// RPC sends a notify of a session to a node that serves the route.
	RPC(s *session.Session, route string, data []byte) error
	// Call makes a call of a session and waits for its reply.
	Call(ctx context.Context, s *session.Session, route string, in, out any) error
	// Answer answers a call of a session with a reply, or with e if it is not nil. mine
	// is false if id is not the id of a call.
	Answer(session int64, id uint64, v any, e *message.Error) (mine bool, err error)
	// Bound records the new uid of a session. uid is 0 if it was unbound.
	Bound(s *session.Session, old, uid int64)
	// Routed records the binding of a service for a session. An empty address removes the
	// binding.
	Routed(s *session.Session, service, address string)
	// Suspended records that a session has lost its connection and waits for its client.
	// Suspended and Resumed are called in order with the session's messages.
	Suspended(s *session.Session, reason error)
	// Resumed records that the client of a session has reconnected.
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

// announceSuspended runs the suspension callbacks, in order with the session's messages.
func (a *Agent) announceSuspended(reason error) {
	a.box.Announce(dispatch.Do(0, func() error {
		if a.hub.Cluster != nil {
			a.hub.Cluster.Suspended(a.session, reason)
		}
		a.control.Suspend(reason)
		return nil
	}))
}

// announceResumed runs the resume callbacks.
func (a *Agent) announceResumed() {
	a.box.Announce(dispatch.Do(0, func() error {
		if a.hub.Cluster != nil {
			a.hub.Cluster.Resumed(a.session)
		}
		a.control.Resume()
		return nil
	}))
}

// Relay sends a response or push with a payload that another node encoded. It does not
// keep the payload. begun reports whether Begin was called for the request of a response.
// The error is session.ErrSessionOnNotify for a response to a begun request that was
// answered.
func (a *Agent) Relay(m *message.Message, begun bool) error {
	if err := a.sendable(); err != nil {
		return err
	}
	if !begun || m.Type != message.Response {
		return a.sendData(m)
	}
	if ok, _ := a.requests.Claim(m.ID); !ok {
		return session.ErrSessionOnNotify
	}
	sent := false
	defer func() {
		if !sent { // also if a hook has ended the goroutine with runtime.Goexit
			a.requests.Restore(m.ID)
		}
	}()
	err := a.sendData(m)
	sent = err == nil
	return err
}

// RelayAnswers sends responses to requests for which Begin was not called, in order, and
// locks the outbox once for all of them. It returns how many it has sent. The response
// after them needs Relay, because it may not fit or the session is suspended, or because
// hooks process the messages of each session.
func (a *Agent) RelayAnswers(list []message.Message) (sent int) {
	if a.sendable() != nil || a.hub.Outbound != nil {
		return 0
	}
	o := &a.out
	o.mu.Lock()
	for sent < len(list) && o.conn != nil {
		m := &list[sent]
		encode := func(b []byte) ([]byte, error) { return codec.AppendResponse(b, m.ID, m.Data) }
		if o.append(a.hub.MaxQueued, math.MaxInt, encode) != nil {
			break
		}
		sent++
	}
	flush := sent > 0 && o.list()
	a.markFull()
	o.mu.Unlock()
	if flush {
		a.hub.flusher.add(a)
	}
	return sent
}

// RelayError answers the request with the id mid with an error. Another node was to serve
// the request's route. begun is that of Relay.
func (a *Agent) RelayError(mid uint64, route string, e *message.Error, begun bool) {
	if !begun {
		a.sendError(mid, route, e)
	} else if ok, _ := a.requests.Claim(mid); ok {
		a.keepClaim(mid, func() { a.sendError(mid, route, e) })
	}
}

// isCall reports whether an id may be the id of a call. Clients use smaller ids unless
// they are malicious. The Cluster knows the ids of its calls and makes them hard to
// guess.
func isCall(id uint64) bool { return id>>63 != 0 }

// answerCall answers a call that runs as a request of the session.
func (a *Agent) answerCall(id uint64, v any, e *message.Error) (mine bool, err error) {
	if a.hub.Cluster == nil {
		return false, nil
	}
	return a.hub.Cluster.Answer(a.id, id, v, e)
}
