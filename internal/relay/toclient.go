package relay

import (
	"errors"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// This file handles what a node sends to the clients of this gate.

// response sends an answer on to the client.
func (pc *peerConn) response(f *link.Frame) {
	pc.mu.Lock()
	fs := pc.clients[f.Session]
	if fs == nil {
		pc.mu.Unlock()
		pc.b.counts.late.Add(1)
		return
	}
	w, ok := fs.take(f.ID)
	if f.Flags&flagLater == 0 {
		fs.share.Release(fs.client.Mailbox(), 1, 0)
	}
	pc.mu.Unlock()
	if !ok {
		pc.b.counts.late.Add(1)
		return
	}
	if f.Flags&flagError != 0 {
		e := errorOf(f.Data)
		fs.client.RelayError(f.ID, w.route, e, w.begun)
		endSpan(w.span, e)
		return
	}
	pc.message = message.Message{Type: message.Response, ID: f.ID, Route: w.route, Data: f.Data}
	err := fs.client.Relay(&pc.message, w.begun)
	if err != nil {
		pc.b.counts.lost.Add(1)
		if !errors.Is(err, session.ErrBrokenPipe) {
			fs.client.RelayError(f.ID, w.route, pc.b.Dispatcher.Public(err), w.begun)
		}
	}
	endSpan(w.span, err)
}

// push sends a push on to the client.
func (pc *peerConn) push(f *link.Frame) {
	c := pc.client(f.Session)
	if c == nil {
		return
	}
	if r, ok := c.(replaceable); ok && f.Flags&flagReplaceable != 0 {
		if r.PushReplaceable(f.Route, f.Data) != nil {
			pc.b.counts.lost.Add(1)
		}
		pc.reportQueued(f.Session, r)
		return
	}
	pc.relayPush(c, f)
}

// relayPush sends a push to a client, and counts it if it is lost.
func (pc *peerConn) relayPush(c Client, f *link.Frame) {
	pc.message = message.Message{Type: message.Push, Route: f.Route, Data: f.Data}
	if c.Relay(&pc.message, false) != nil {
		pc.b.counts.lost.Add(1)
	}
}

// multicast sends a push on to many clients.
func (pc *peerConn) multicast(f *link.Frame) error {
	pc.members = pc.members[:0]
	pc.mu.Lock()
	err := parseIDs(f.Meta, func(id int64) {
		if fs := pc.clients[id]; fs != nil {
			pc.members = append(pc.members, fs.client)
		}
	})
	pc.mu.Unlock()
	pc.b.counts.multicasts.Add(1)
	pc.b.Gate.Multicast(pc.members, f.Route, f.Data)
	clear(pc.members)
	return err
}

// close closes or kicks a client.
func (pc *peerConn) close(f *link.Frame) {
	c := pc.client(f.Session)
	switch {
	case c == nil:
	case f.Kind == kindKick:
		_ = c.KickFor(session.ErrKicked, string(f.Data))
	default:
		_ = c.Close()
	}
}

// done handles an acknowledgment: messages of a client have run.
func (pc *peerConn) done(f *link.Frame) error {
	rd := reader{b: f.Meta}
	size := uint64(0)
	if len(f.Meta) > 0 {
		size = rd.uvarint()
	}
	pc.mu.Lock()
	defer pc.mu.Unlock()
	if fs := pc.clients[f.Session]; fs != nil && !rd.fault {
		fs.share.Release(fs.client.Mailbox(), int(min(f.ID, 1<<30)), int(min(size, 1<<30)))
	}
	return rd.err("bytes")
}
