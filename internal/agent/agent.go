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
// An agent uses one [Conn] at a time. It starts with the connection that it was created
// for, and adopt replaces it. The session, the mailbox, queued output and unanswered
// requests stay.
//
// The fields that every message needs come first. With many connections, each access to a
// cache line reads from memory.
type Agent struct {
	hub      *Hub
	flags    flags
	out      outbox
	requests ledger.Ledger
	box      dispatch.Mailbox
	session  *session.Session
	route    atomic.Pointer[string] // route of the running message, for the outbound hooks

	control sessionctl.Control
	id      int64
}

// The flags of an agent.
const (
	flagClosed      uint32 = 1 << iota // shut was called
	flagOpen                           // the client has acknowledged the handshake, so messages are allowed
	flagCounted                        // the agent counts as an open session
	flagRouted                         // the session was bound to a node of the cluster
	flagConnGone                       // the agent has no connection
	flagSessionGone                    // the session has finished
	flagFull                           // queued answers exceed the bound of the outbox, so reading stops
	flagResuming                       // its connection resumes the session of another agent
)

// These are the optional interfaces of a network entity that an agent implements. The
// packages session and cluster and the root package declare smaller ones where they use
// them.
type (
	// kicker sends the client a reason before it closes.
	kicker interface{ Kick(reason string) error }
	// numbered returns the id of its session.
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
	_ sessionctl.Attacher   = (*Agent)(nil)
	_ sessionctl.Keeper     = (*Agent)(nil)
	_ sessionctl.Deferrer   = (*Agent)(nil)
	_ kicker                = (*Agent)(nil)
	_ numbered              = (*Agent)(nil)
	_ binder                = (*Agent)(nil)
	_ router                = (*Agent)(nil)
	_ caller                = (*Agent)(nil)
	_ sessionctl.Suspender  = (*Agent)(nil)
)

// newAgent creates an agent for a client that has just connected.
func newAgent(h *Hub) *Agent {
	a := &Agent{hub: h, id: h.NewID()}
	a.session = session.New(a)
	a.box.Init(h.Dispatcher, a.session, a, h.MaxPending, h.MaxPacket*PendingPackets)
	return a
}

// Shaken reports whether the client has completed the handshake.
func (a *Agent) Shaken() bool { return a.flags.has(flagOpen) }

// Attach stores the control of the agent's session. session.New calls it.
func (a *Agent) Attach(c sessionctl.Control) { a.control = c }

// Control returns the control of the agent's session.
func (a *Agent) Control() sessionctl.Control { return a.control }

// SessionID returns the id of the agent's session.
func (a *Agent) SessionID() int64 { return a.id }

// Session returns the agent's session.
func (a *Agent) Session() *session.Session { return a.session }

// Mailbox returns the mailbox with the session's messages.
func (a *Agent) Mailbox() *dispatch.Mailbox { return &a.box }

// Hub returns the hub of the agent's server.
func (a *Agent) Hub() *Hub { return a.hub }

// RemoteAddr returns the client's address, from a trusted proxy if there is one. After a
// resume, it is the address of the newest connection.
func (a *Agent) RemoteAddr() net.Addr {
	o := &a.out
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.conn != nil:
		return o.conn.remote
	case o.resume != nil:
		return o.activate().remote
	}
	return nil // the agent's connection belongs to another agent
}

// Bound records that the session binds another uid. It returns nil.
func (a *Agent) Bound(_ *session.Session, old, uid int64) error {
	a.hub.bound(a, old, uid)
	return nil
}

// Routed records that the session's Router binds a service to a node. An empty address
// removes the binding.
func (a *Agent) Routed(s *session.Session, service, address string) {
	a.flags.set(flagRouted)
	if a.hub.Cluster != nil {
		a.hub.Cluster.Routed(s, service, address)
	}
}

// Hold marks the start of a run of the session's messages. Release ends it.
func (a *Agent) Hold() { a.hub.flusher.hold() }

// Release ends what Hold began.
func (a *Agent) Release() { a.hub.flusher.release() }
