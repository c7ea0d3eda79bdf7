package relay

import (
	"github.com/lonng/nano/internal/carry"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/session"
)

// Client is one client that is connected to this node: the network entity of its session.
type Client interface {
	session.NetworkEntity
	Session() *session.Session
	Control() sessionctl.Control
	Mailbox() *dispatch.Mailbox
	// Relay sends a response or push whose payload is encoded. It does not keep the payload. begun reports whether the
	// request of a response has passed through the mailbox, and so was begun as those that this node serves.
	Relay(m *message.Message, begun bool) error
	// RelayAnswers relays responses to requests that were not begun, in order, and is cheaper than Relay. It returns how
	// many it has sent. The response after them needs Relay.
	RelayAnswers(list []message.Message) (sent int)
	// RelayError answers a request of the client with an error; begun is that of Relay.
	RelayError(mid uint64, route string, e *message.Error, begun bool)
	// KickFor kicks the client for a reason.
	KickFor(why error, reason string) error
	// Bound is called when the session's uid has changed.
	Bound(s *session.Session, old, uid int64) error
	// Routed is called when the session has a new binding of a service.
	Routed(s *session.Session, service, address string)
}

// replaceable is a Client that accepts pushes which later pushes replace.
type replaceable interface {
	// PushReplaceable pushes a payload that is not kept for a client that comes back: it gets an empty push instead.
	PushReplaceable(route string, data []byte) error
	// Queued returns how many bytes wait to be written to the client.
	Queued() int
}

// Gate gives access to the clients that are connected to this node. Its methods may be called
// concurrently.
type Gate interface {
	// ByUID returns the open sessions of a user.
	ByUID(uid int64) []*session.Session
	// Multicast pushes one message to many clients. It does not keep the payload.
	Multicast(to []Client, route string, data []byte)
	// Carried resumes a session of this node over a client's connection to another node. It returns the reason if that is
	// refused. It must not block.
	Carried(conn *carry.Conn, ask *carry.Ask) *carry.Refusal
	// Begin and End enclose a series of messages to clients, which may be written together at End.
	Begin()
	End()
}
