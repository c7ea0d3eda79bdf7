package agent

import (
	"net"
	"sync/atomic"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/ledger"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/session"
)

// Agent is one client of the server. It is the [session.NetworkEntity] of the client's
// session, and may be used concurrently.
//
// An agent reaches its client over one [Conn] at a time. Every agent begins with the
// connection that it was made for, and adopt gives it another one. Session, mailbox,
// queued output and the requests that wait for an answer stay.
//
// The fields that every message needs come first: with many connections each cache line
// is read from memory.
type Agent struct {
	hub      *Hub
	flags    flags
	out      outbox
	requests ledger.Ledger
	box      dispatch.Mailbox
	session  *session.Session
	route    atomic.Pointer[string] // of the message that runs, for the outbound hooks

	control sessionctl.Control
	id      int64
}

// The flags of an agent.
const (
	flagClosed      uint32 = 1 << iota // shut was called
	flagOpen                           // the client has acknowledged a handshake: messages may pass
	flagCounted                        // among the open sessions
	flagRouted                         // the session was bound to a node of the cluster
	flagConnGone                       // the agent has no connection
	flagSessionGone                    // the session has finished
	flagFull                           // answers are over the bound of the outbox: nothing more is to be read
)

// The optional interfaces of a network entity that an agent implements. Packages session,
// cluster and the root declare their own, smaller ones, where they use them.
type (
	// kicker sends the client a reason before it closes.
	kicker interface{ Kick(reason string) error }
	// numbered has a number for its session.
	numbered interface{ SessionID() int64 }
	// binder records that its session binds a uid, or unbinds it with 0.
	binder interface {
		Bound(s *session.Session, old, uid int64) error
	}
	// router records that its session binds a service to a node.
	router interface {
		Routed(s *session.Session, service, address string)
	}
)

var (
	_ session.NetworkEntity = (*Agent)(nil)
	_ dispatch.Entity       = (*Agent)(nil)
	_ dispatch.Deferrer     = (*Agent)(nil)
	_ sessionctl.Attacher   = (*Agent)(nil)
	_ sessionctl.Keeper     = (*Agent)(nil)
	_ sessionctl.Deferrer   = (*Agent)(nil)
	_ kicker                = (*Agent)(nil)
	_ numbered              = (*Agent)(nil)
	_ binder                = (*Agent)(nil)
	_ router                = (*Agent)(nil)
	_ caller                = (*Agent)(nil)
	_ sessionctl.Suspender  = (*Agent)(nil)
	_ sessionctl.Deferrer   = (*Agent)(nil)
)

// newAgent makes an agent for a client that connects now.
func newAgent(h *Hub) *Agent {
	a := &Agent{hub: h, id: h.NewID()}
	a.session = session.New(a)
	a.box.Init(h.Dispatcher, a.session, a, h.MaxPending, h.MaxPacket*PendingPackets)
	return a
}

// Shaken reports whether the client has completed the handshake.
func (a *Agent) Shaken() bool { return a.flags.has(flagOpen) }

// Attach takes the control of the agent's session; session.New calls it.
func (a *Agent) Attach(c sessionctl.Control) { a.control = c }

// Control returns the control of the agent's session.
func (a *Agent) Control() sessionctl.Control { return a.control }

// SessionID returns the number of the agent's session.
func (a *Agent) SessionID() int64 { return a.id }

// Session returns the agent's session.
func (a *Agent) Session() *session.Session { return a.session }

// Mailbox returns the mailbox with the session's messages.
func (a *Agent) Mailbox() *dispatch.Mailbox { return &a.box }

// Hub returns what the agent shares with the others of its server.
func (a *Agent) Hub() *Hub { return a.hub }

// RemoteAddr returns the client's address, as a trusted proxy gives it if there is one.
// It is that of the newest connection.
func (a *Agent) RemoteAddr() net.Addr {
	a.out.mu.Lock()
	defer a.out.mu.Unlock()
	return a.out.remote
}

// Bound records that the session binds another uid. It returns nil.
func (a *Agent) Bound(_ *session.Session, old, uid int64) error {
	a.hub.bound(a, old, uid)
	return nil
}

// Routed records that the session's Router binds a service to a node, or unbinds it if
// address is empty.
func (a *Agent) Routed(s *session.Session, service, address string) {
	a.flags.set(flagRouted)
	if a.hub.Cluster != nil {
		a.hub.Cluster.Routed(s, service, address)
	}
}

// Hold and Release enclose a run of the session's messages.
func (a *Agent) Hold() { a.hub.flusher.hold() }

// Release ends what Hold began.
func (a *Agent) Release() { a.hub.flusher.release() }
