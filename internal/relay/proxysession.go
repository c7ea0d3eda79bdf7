package relay

import (
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/flow"
	"github.com/lonng/nano/internal/ledger"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/session"
)

// proxySession is the network entity of the session of another node's client. Its messages go to the client's gate. It
// exists until the gate reports that the client has closed, or until the gate is down. If the session was closed here
// before, messages on their way from the gate are refused.
type proxySession struct {
	pc      *peerConn // the gate
	id      int64
	addr    net.Addr
	session *session.Session
	control sessionctl.Control
	box     dispatch.Mailbox

	closed    atomic.Bool  // shut was called
	sealed    atomic.Bool  // drain was called
	suspended atomic.Bool  // the client may reconnect
	queued    atomic.Int64 // bytes queued for the client, as reported by the gate

	parting  atomic.Pointer[parting] // nil unless the end of the client was postponed
	requests ledger.Ledger
	acks     flow.Acks // an answer to the current request acknowledges that request too
	echoes   echoes

	uid int64 // its key in Broker.uids; Broker.mu guards it
}

// Attach takes the control of the session; session.New calls it.
func (p *proxySession) Attach(c sessionctl.Control) { p.control = c }

// Control returns the control of the session.
func (p *proxySession) Control() sessionctl.Control { return p.control }

// SessionID returns the session's id, which its gate has chosen.
func (p *proxySession) SessionID() int64 { return p.id }

// RemoteAddr returns the client's address, as the gate knows it.
func (p *proxySession) RemoteAddr() net.Addr { return p.addr }

// Hold and Release enclose a run of the session's messages. They do nothing, because the link joins frames into batches.
func (p *proxySession) Hold() {}

// Release ends what Hold began.
func (p *proxySession) Release() {}

// shut closes the session here: accepted messages still run, and then the close callbacks. Only the first call counts.
func (p *proxySession) shut(reason error) error {
	if p.closed.Swap(true) {
		return session.ErrCloseClosedSession
	}
	p.control.End(reason)
	p.box.Seal(p.finished)
	return nil
}

// drain closes the session when its accepted messages have run.
func (p *proxySession) drain() {
	p.sealed.Store(true)
	p.box.Seal(func() {
		if !p.closed.Swap(true) {
			p.control.End(session.ErrShutdown)
		}
		p.finished()
	})
}

// finished runs on the logic goroutine after the last message.
func (p *proxySession) finished() {
	p.part()
	defer p.pc.b.wg.Done()
	defer p.index(0)
	p.control.Finish()
}

// index puts the session under a uid into Broker.uids.
func (p *proxySession) index(uid int64) {
	b := p.pc.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.uid != 0 {
		list := slices.DeleteFunc(b.uids[p.uid], func(o *proxySession) bool { return o == p })
		if len(list) == 0 {
			delete(b.uids, p.uid)
		} else {
			b.uids[p.uid] = list
		}
	}
	if p.closed.Load() {
		uid = 0
	}
	if p.uid = uid; uid != 0 {
		b.uids[uid] = append(b.uids[uid], p)
	}
}

// Close ends the session and closes the client.
func (p *proxySession) Close() error {
	return p.end(session.ErrClosed, link.Frame{Kind: kindClose, Session: p.id})
}

// Kick ends the session and kicks the client.
func (p *proxySession) Kick(reason string) error {
	return p.end(session.ErrKicked, link.Frame{Kind: kindKick, Session: p.id, Data: []byte(reason)})
}

// answerTime is how long the end of a client waits for the handler that has ended it.
const answerTime = 5 * time.Second

// parting is a postponed end of a client.
type parting struct {
	frame link.Frame // for the gate
	late  *time.Timer
}

// end ends the session, and its client with a frame for the gate. While a request runs that has no answer, the frame is
// postponed: part sends it when the handler has returned, but after answerTime at the latest.
func (p *proxySession) end(reason error, f link.Frame) error {
	waits := !p.box.Idle() && p.requests.Waiting(p.requests.Current())
	if p.closed.Swap(true) {
		return session.ErrCloseClosedSession
	}
	p.control.End(reason)
	if waits {
		p.parting.Store(&parting{f, time.AfterFunc(answerTime, p.part)})
	} else {
		_ = p.pc.link.SendReserved(&f)
	}
	p.box.Seal(p.finished)
	return nil
}

// part ends the client if its end was postponed.
func (p *proxySession) part() {
	if e := p.parting.Swap(nil); e != nil {
		e.late.Stop()
		_ = p.pc.link.SendReserved(&e.frame)
	}
}

var (
	_ session.NetworkEntity = (*proxySession)(nil)
	_ dispatch.Entity       = (*proxySession)(nil)
	_ dispatch.Accountant   = (*proxySession)(nil)
	_ sessionctl.Deferrer   = (*proxySession)(nil)
	_ sessionctl.Attacher   = (*proxySession)(nil)
	_ sessionctl.Keeper     = (*proxySession)(nil)
)
