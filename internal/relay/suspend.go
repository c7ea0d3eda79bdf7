package relay

import (
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/session"
)

// A session that waits for its client to reconnect is suspended at its gate, and at the
// nodes that know it.

// Suspended reports the suspension of a client's session to the nodes that know the
// session. It is called in order with the session's messages.
func (b *Broker) Suspended(s *session.Session, reason error) {
	for _, pc := range *b.peers.Load() {
		pc.mu.Lock()
		if pc.clients[s.ID()] != nil {
			pc.sendSuspended(s.ID(), reason)
		}
		pc.mu.Unlock()
	}
}

// Resumed reports to the nodes that know a client's session that the client has
// reconnected; see Suspended.
func (b *Broker) Resumed(s *session.Session) {
	for _, pc := range *b.peers.Load() {
		pc.mu.Lock()
		if pc.clients[s.ID()] != nil {
			_ = pc.link.SendReserved(&link.Frame{Kind: kindResumed, Session: s.ID()})
		}
		pc.mu.Unlock()
	}
}

// sendSuspended reports to the peer that a session is suspended. The caller holds mu.
func (pc *peerConn) sendSuspended(id int64, reason error) {
	f := link.Frame{Kind: kindSuspended, Session: id}
	putReason(&f, reason)
	_ = pc.link.SendReserved(&f)
}

// suspended suspends the session of the peer's client, or ends the suspension.
func (pc *peerConn) suspended(f *link.Frame) {
	p := pc.session(f.Session)
	if p == nil {
		return
	}
	pc.deliver() // the frames before this one
	now := f.Kind == kindSuspended
	if p.suspended.Swap(now) == now {
		return
	}
	reason := reasonOf(f)
	p.acks.Skip(1, 0) // the gate has not forwarded the call
	p.box.Announce(dispatch.Do(0, func() error {
		if now {
			p.control.Suspend(reason)
		} else {
			p.control.Resume()
		}
		return nil
	}))
}

// Suspended reports whether the session waits for its client to reconnect.
func (p *proxySession) Suspended() bool { return p.suspended.Load() }

var _ sessionctl.Suspender = (*proxySession)(nil)
