package relay

import (
	"sync"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/session"
)

// This file keeps the uid and the service bindings of a session equal at its gate and at the nodes that know it. Each node
// may change them. The gate decides their order: it applies a change of another node and echoes it. While a node waits for
// the echo of its own change, it ignores older values of the gate.

// Bound sends the uid of a client's session to the nodes that know the session, and the login to every node.
func (b *Broker) Bound(s *session.Session, _, _ int64) {
	if b.node == nil {
		return
	}
	b.login(s)
	for _, pc := range *b.peers.Load() {
		pc.sendUID(s, 0)
	}
}

// Routed sends the binding of a service for a client's session to the nodes that know the session.
func (b *Broker) Routed(s *session.Session, service, _ string) {
	for _, pc := range *b.peers.Load() {
		pc.sendRoute(s, service, 0)
	}
}

// sendUID sends the uid of a session to the peer, if the peer knows the session.
func (pc *peerConn) sendUID(s *session.Session, flags uint8) {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	if pc.clients[s.ID()] != nil {
		// The uid is read under mu, so that the last frame carries the last uid.
		_ = pc.link.SendReserved(&link.Frame{Kind: kindUID, Flags: flags, Session: s.ID(), ID: uint64(s.UID())})
	}
}

// sendRoute sends the binding of a service for a session to the peer, if the peer knows the session.
func (pc *peerConn) sendRoute(s *session.Session, service string, flags uint8) {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	if pc.clients[s.ID()] != nil {
		address, _ := s.Router().Find(service)
		_ = pc.link.SendReserved(&link.Frame{Kind: kindRoute, Flags: flags, Session: s.ID(), Route: service, Data: []byte(address)})
	}
}

// uid handles another uid of a session: of a client of this node if the frame goes to the gate, else of a proxy session.
func (pc *peerConn) uid(f *link.Frame) {
	if f.ID > 1<<63-1 {
		return
	}
	if f.Flags&flagToGate == 0 {
		if p := pc.session(f.Session); p != nil {
			p.receiveUID(int64(f.ID), f.Flags&flagEcho != 0)
		}
		return
	}
	c := pc.client(f.Session)
	if c == nil {
		return
	}
	old := c.Control().Bind(int64(f.ID))
	_ = c.Bound(c.Session(), old, int64(f.ID))
	pc.sendUID(c.Session(), flagEcho)
}

// route handles another binding of a service for a session; see uid.
func (pc *peerConn) route(f *link.Frame) {
	if f.Flags&flagToGate == 0 {
		if p := pc.session(f.Session); p != nil {
			p.receiveRoute(f.Route, string(f.Data), f.Flags&flagEcho != 0)
		}
		return
	}
	c := pc.client(f.Session)
	if c == nil {
		return
	}
	if f.ID == ifUnbound {
		pc.b.rebind(c, f.Route, "", string(f.Data))
	} else {
		c.Control().Route(f.Route, string(f.Data))
		c.Routed(c.Session(), f.Route, string(f.Data))
	}
	pc.sendRoute(c.Session(), f.Route, flagEcho)
}

// echoes counts the changes of a proxy session that its gate has not echoed.
type echoes struct {
	mu     sync.Mutex
	uids   int            // changes of the uid; mu guards it and routes
	routes map[string]int // changes of bindings, by service
}

// Bound sends another uid to the gate.
func (p *proxySession) Bound(_ *session.Session, _, uid int64) error {
	p.index(uid)
	e := &p.echoes
	e.mu.Lock()
	defer e.mu.Unlock()
	e.uids++
	_ = p.pc.link.SendReserved(&link.Frame{Kind: kindUID, Flags: flagToGate, Session: p.id, ID: uint64(uid)})
	return nil
}

// receiveUID binds a uid that the gate has sent, unless the gate sent it before it saw a change of this node.
func (p *proxySession) receiveUID(uid int64, echo bool) {
	e := &p.echoes
	e.mu.Lock()
	if echo {
		e.uids--
	}
	stale := e.uids > 0
	e.mu.Unlock()
	if !stale {
		p.setUID(uid)
	}
}

func (p *proxySession) setUID(uid int64) {
	p.control.Bind(uid)
	p.index(uid)
}

// Routed sends another binding of a service to the gate.
func (p *proxySession) Routed(_ *session.Session, service, address string) {
	p.sendRoute(service, address, 0)
}

// sendRoute sends a binding of a service to the gate; how is 0 or ifUnbound.
func (p *proxySession) sendRoute(service, address string, how uint64) {
	e := &p.echoes
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.routes == nil {
		e.routes = make(map[string]int)
	}
	e.routes[service]++
	_ = p.pc.link.SendReserved(&link.Frame{
		Kind: kindRoute, Flags: flagToGate, Session: p.id, ID: how, Route: service, Data: []byte(address),
	})
}

// receiveRoute binds a service as the gate has sent; see receiveUID.
func (p *proxySession) receiveRoute(service, address string, echo bool) {
	e := &p.echoes
	e.mu.Lock()
	if echo {
		if e.routes[service]--; e.routes[service] <= 0 {
			delete(e.routes, service)
		}
	}
	stale := e.routes[service] > 0
	e.mu.Unlock()
	if !stale {
		p.control.Route(service, address)
	}
}
