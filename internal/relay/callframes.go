package relay

import (
	"context"
	"time"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
)

// call handles a call frame: it serves the call here, or passes it on for the session of a client of this node.
func (pc *peerConn) call(f *link.Frame) error {
	header, err := takeTrace(f)
	if err != nil {
		return err
	}
	rd := reader{b: f.Meta}
	micros := rd.uvarint()
	if err := rd.err("time"); err != nil {
		return err
	}
	timeout := time.Duration(min(micros, uint64(time.Hour/time.Microsecond))) * time.Microsecond
	switch {
	case f.Session == 0 && f.Route == routeQuery:
		pc.query(f, timeout)
	case f.Session == 0 && f.Route == "":
		pc.withdrew() // the answer, an error, comes behind everything that was sent before
		fallthrough
	case f.Session == 0:
		pc.callSessionless(f, timeout, header)
	case f.Flags&flagToGate != 0:
		pc.callOfClient(f, timeout, header)
	default:
		return pc.callOfProxy(f, timeout, header, rd.b)
	}
	return nil
}

// callSessionless serves a call without a session.
func (pc *peerConn) callSessionless(f *link.Frame, timeout time.Duration, header string) {
	if j := pc.acceptCall(context.Background(), f, 0, timeout, header); j != nil {
		pc.runSessionless(j, f)
	}
}

// acceptCall accepts the call of a frame for a session, 0 for none. header is that of the caller's span. It returns nil if
// it has refused the call.
func (pc *peerConn) acceptCall(ctx context.Context, f *link.Frame, session int64, timeout time.Duration, header string) *job {
	j, err := pc.b.accept(pc.b.extract(ctx, header), pc, f.ID, session, timeout, len(f.Data))
	if err != nil {
		pc.returnError(f.ID, err)
		return nil
	}
	return j
}

// runSessionless queues the handler of a job without a session.
func (pc *peerConn) runSessionless(j *job, f *link.Frame) {
	b := pc.b
	task, err := b.sessionless(j, f.Route, f.Data, pc)
	if err == nil && !b.Dispatcher.Loop.Invoke(task) {
		err = errDraining
	}
	if err != nil {
		j.fail(err)
	}
}

// callOfProxy serves a call of the session of the peer's client.
func (pc *peerConn) callOfProxy(f *link.Frame, timeout time.Duration, header string, introduction []byte) error {
	b := pc.b
	p, err := pc.introduced(f.Session, introduction)
	if p == nil {
		pc.returnError(f.ID, errUnknown)
		return err
	}
	id := f.Session
	h, ok := b.Dispatcher.Handler(f.Route)
	if ok && h.Sessionless() {
		id = 0
	}
	j := pc.acceptCall(p.session.Context(), f, id, timeout, header)
	switch {
	case j == nil:
		p.Ran(1, len(f.Data))
	case id == 0:
		p.Ran(1, len(f.Data))
		pc.runSessionless(j, f)
	default:
		pc.deliver() // the frames before this one
		if err := p.box.Offer(b.Dispatcher.Here(f.Route, f.ID, f.Data, pc).Under(j.ctx), len(f.Data)); err != nil {
			p.Ran(1, len(f.Data))
			j.fail(mailboxError(err))
		}
	}
	return nil
}

// callOfClient passes on a call of the session of this node's client, in the session's turn, as a call of this node.
func (pc *peerConn) callOfClient(f *link.Frame, timeout time.Duration, header string) {
	c := pc.client(f.Session)
	if c == nil {
		pc.returnError(f.ID, errClosed)
		return
	}
	j := pc.acceptCall(c.Session().Context(), f, f.Session, timeout, header)
	if j == nil {
		return
	}
	b, s, route, data := pc.b, c.Session(), f.Route, pc.Keep(f.Data)
	o := &outCall{id: b.ids.next(), done: func(data []byte, err error) {
		if t := b.take(j.id); t != nil {
			t.end(data, err)
		}
	}}
	run := func() error {
		if !b.passedOn(j, o) {
			return nil // it was canceled
		}
		var err error = message.Errorf(message.CodeInternal, "internal error")
		defer func() {
			if err != nil { // also if the program's Route panics, which the mailbox logs
				b.finish(o.id, nil, err)
			}
		}()
		if b.serves(s, route) {
			err = b.callSession(j.ctx, o.id, s, c.Mailbox().Offer, route, data)
		} else {
			err = b.callPeer(j.ctx, o, s, route, data)
		}
		return nil
	}
	if err := c.Mailbox().Offer(dispatch.Do(0, run), len(data)); err != nil {
		j.fail(mailboxError(err))
	}
}

// passedOn records that a job continues as a call of this node. It reports false if the job has ended.
func (b *Broker) passedOn(j *job, o *outCall) bool {
	b.callMu.Lock()
	defer b.callMu.Unlock()
	if b.jobs[j.id] != j {
		return false
	}
	j.next = o.id
	b.calls[o.id] = o
	return true
}

// returnError answers a call with an error.
func (pc *peerConn) returnError(id uint64, err error) {
	f := link.Frame{Kind: kindReturn, ID: id}
	putError(&f, err, pc.b.Dispatcher.Public(err))
	_ = pc.link.SendReserved(&f)
}

// returned ends a call that the peer has served.
func (pc *peerConn) returned(f *link.Frame) {
	pc.deliver() // the frames before this one: see flush
	if f.Flags&flagError != 0 {
		pc.b.finish(f.ID, nil, failureOf(f))
		return
	}
	pc.b.finish(f.ID, f.Data, nil)
}
