package relay

import (
	"context"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/payload"
	"github.com/lonng/nano/session"
)

// This file contains the notifies that programs send with Session.RPC.

// RPC sends a notify of a client's session to a node that serves the route, which may be this one.
func (b *Broker) RPC(s *session.Session, route string, data []byte) error {
	c, ok := s.NetworkEntity().(Client)
	if !ok {
		return errNoClient
	}
	if b.serves(s, route) {
		return b.notifyHere(c.Mailbox().Offer, route, data)
	}
	if err := b.served(route); err != nil {
		return err
	}
	return b.send(s, &link.Frame{Kind: kindNotify, Flags: flagByProgram, Session: s.ID(), Route: route, Data: data})
}

// RPC sends a notify of the session to a node that serves the route.
func (p *proxySession) RPC(route string, v any) error {
	b := p.pc.b
	data, err := payload.Encode(b.Dispatcher.Serializer, v)
	if err != nil {
		return err
	}
	if p.servedHere(route) {
		p.bindHere(route)
		return b.notifyHere(p.offer, route, data)
	}
	if err := b.served(route); err != nil {
		return err
	}
	// The gate does not report whether it could send the notify on.
	if service, _ := serviceOf(route); b.node.Converged() && len(alive(b.node.LinksTo(service))) == 0 {
		return errNoneUp(service)
	}
	return sendError(p.pc.link.Send(&link.Frame{Kind: kindRPC, Session: p.id, Route: route, Data: data}))
}

// rpc sends a notify for the session of this node's client, in the session's turn.
func (pc *peerConn) rpc(f *link.Frame) {
	c := pc.client(f.Session)
	if c == nil {
		return
	}
	b, route, data := pc.b, f.Route, pc.Keep(f.Data)
	err := c.Mailbox().Offer(dispatch.Do(0, func() error { return b.RPC(c.Session(), route, data) }), len(data))
	if err != nil {
		b.Log.Warn("cluster: notify dropped", "route", route, "session", f.Session, "uid", c.Session().UID(), "error", err)
	}
}

// notifyHere serves a notify of a program on this node. offer puts a message into the session's mailbox.
func (b *Broker) notifyHere(offer func(dispatch.Call, int) error, route string, data []byte) error {
	if h, _ := b.Dispatcher.Handler(route); h.Sessionless() {
		return b.notifySessionless(context.Background(), route, data, dispatch.Clones, func() {})
	}
	return offer(b.Dispatcher.Here(route, 0, data, dispatch.Clones), len(data))
}

// notifySessionless queues a handler without a session, whose reply is dropped. It calls ran when the handler has run. If
// it returns an error, the handler does not run and ran is not called.
func (b *Broker) notifySessionless(ctx context.Context, route string, data []byte, k dispatch.Keeper, ran func()) error {
	task, err := b.Dispatcher.Sessionless(ctx, route, data, k, func(any, error) { ran() })
	if err == nil && !b.Dispatcher.Loop.Invoke(task) {
		err = errDraining
	}
	return err
}

// serveSessionless serves a notify of the peer's client for a handler without a session. It counts as a job of the peer,
// and is acknowledged to the gate when it has run. header is that of the sender's span.
func (pc *peerConn) serveSessionless(p *proxySession, f *link.Frame, header string) error {
	b, size := pc.b, len(f.Data)
	b.callMu.Lock()
	admitted := pc.admit(size)
	b.callMu.Unlock()
	if !admitted {
		p.Ran(1, size)
		return errJobs
	}
	ran := func() {
		b.callMu.Lock()
		pc.dismiss(size)
		b.callMu.Unlock()
		p.Ran(1, size)
	}
	err := b.notifySessionless(b.extract(context.Background(), header), f.Route, f.Data, pc, ran)
	if err != nil {
		ran()
	}
	return err
}
