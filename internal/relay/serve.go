package relay

import (
	"encoding/binary"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// This file serves the messages of other nodes' clients.

// session returns the proxy session with an id, or nil.
func (pc *peerConn) session(id int64) *proxySession {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	return pc.sessions[id]
}

// introduced returns the session of a frame, which it creates if meta introduces the session. It returns nil if this node
// does not know the session, or drains.
func (pc *peerConn) introduced(id int64, meta []byte) (*proxySession, error) {
	if p := pc.served; p != nil && p.id == id {
		return p, nil
	}
	if p := pc.session(id); p != nil || len(meta) == 0 {
		pc.served = p
		return p, nil
	}
	i, err := parseIntroduction(meta)
	if err != nil {
		return nil, err
	}
	b := pc.b
	p := &proxySession{pc: pc, id: id, addr: i.addr()}
	b.mu.Lock()
	if b.draining {
		b.mu.Unlock()
		return nil, nil
	}
	b.wg.Add(1)
	b.mu.Unlock()
	p.session = session.New(p)
	p.box.Init(b.Dispatcher, p.session, p, b.boxLimit, b.boxSize)
	p.setUID(i.uid)
	for service, address := range i.routes {
		p.control.Route(service, address)
	}
	pc.mu.Lock()
	pc.sessions[id] = p
	pc.mu.Unlock()
	b.mu.Lock()
	draining := b.draining
	b.mu.Unlock()
	if draining { // since the check above
		p.drain()
	}
	return p, nil
}

// serve decodes a client's message and adds it to the batch for the session's mailbox; deliver delivers the batch.
func (pc *peerConn) serve(f *link.Frame) error {
	header, err := takeTrace(f)
	var p *proxySession
	if err == nil {
		p, err = pc.introduced(f.Session, f.Meta)
	}
	if p == nil {
		pc.refuse(f.Session, f.ID, errUnknown)
		return err
	}
	if p.sealed.Load() || p.closed.Load() {
		p.refuse(f.ID, errClosed, len(f.Data))
		return nil
	}
	if f.Flags&flagByProgram != 0 {
		if h, ok := pc.b.Dispatcher.Handler(f.Route); ok && h.Sessionless() {
			pc.deliver()
			return pc.serveSessionless(p, f, header)
		}
	}
	if pc.batchFor != p || pc.batch == nil {
		pc.deliver()
		pc.batch, pc.batchFor, pc.room = dispatch.NewBatch(), p, p.box.Room()
	}
	if pc.batch.Len() >= pc.room || pc.batch.Size() >= p.box.MaxSize() {
		pc.b.counts.refused.Add(1)
		p.refuse(f.ID, dispatch.ErrFull, len(f.Data))
		return nil
	}
	call := pc.batch.Next(len(f.Data))
	pc.b.Dispatcher.HereInto(call, f.Route, f.ID, f.Data, pc, pc.handler)
	if pc.handler = call.Handler(); header != "" {
		*call = pc.b.sent(*call, header)
	}
	return nil
}

// deliver delivers the batch to the session's mailbox. A mailbox that was sealed meanwhile drops the batch: then the client
// closes, or the link is down and its end answers the requests.
func (pc *peerConn) deliver() {
	if b := pc.batch; b != nil {
		pc.batch = nil
		pc.batchFor.box.Deliver(b)
	}
}

// closed ends the session of a client that has closed.
func (pc *peerConn) closed(f *link.Frame) {
	pc.deliver()
	pc.served = nil
	pc.mu.Lock()
	p := pc.sessions[f.Session]
	delete(pc.sessions, f.Session)
	pc.mu.Unlock()
	if p != nil {
		_ = p.shut(reasonOf(f))
	}
}

// refuse answers a message of the peer's client that does not get into a mailbox. id is 0 for a notify, which is dropped.
func (pc *peerConn) refuse(session int64, id uint64, err error) {
	d := pc.b.Dispatcher
	if id == 0 {
		d.Counts.Dropped.Add(1)
		return
	}
	d.Counts.Failed.Add(1)
	pc.fail(session, id, d.Public(err), 0)
}

// fail answers a request of the peer's client with an error.
func (pc *peerConn) fail(session int64, id uint64, e *message.Error, flags uint8) {
	data, _ := e.MarshalProtobuf() // has no error
	_ = pc.link.SendReserved(&link.Frame{Kind: kindResponse, Flags: flagError | flags, Session: session, ID: id, Data: data})
}

// refuse is peerConn.refuse for a session that this node knows: the message counts as one that has run.
func (p *proxySession) refuse(id uint64, err error, size int) {
	p.Ran(1, size)
	p.pc.refuse(p.id, id, err)
	if id != 0 {
		p.acks.Skip(1, 0)
	}
}

// Ran counts messages that have run, and acknowledges them to the gate in portions; it is part of dispatch.Accountant.
func (p *proxySession) Ran(messages, size int) {
	n, bytes, due := p.acks.Add(messages, size)
	if !due {
		return
	}
	f := link.Frame{Kind: kindDone, Session: p.id, ID: uint64(n)}
	if bytes > 0 {
		var meta [binary.MaxVarintLen64]byte
		f.Meta = meta[:binary.PutUvarint(meta[:], uint64(bytes))]
	}
	_ = p.pc.link.SendReserved(&f)
}

// offer puts a message that the gate did not send into the mailbox.
func (p *proxySession) offer(c dispatch.Call, size int) error {
	p.acks.Skip(1, size)
	err := p.box.Offer(c, size)
	if err != nil {
		p.Ran(1, size)
	}
	return err
}
