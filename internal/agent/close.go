package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// After the last write, the client has a limited time to close its side. Closing a socket
// with unread input would destroy data on its way to the client. So the reader continues
// and discards input.
const (
	linger       = time.Second     // limit of time
	lingerBytes  = 16 << 20        // limit of discarded bytes
	closeTimeout = 5 * time.Second // time limit for writing the last bytes
)

// Close ends the connection after the queued data was sent.
func (a *Agent) Close() error { return a.shut(session.ErrClosed, farewell{flush: true, answer: true}) }

// Kick sends the client a reason and ends the connection.
func (a *Agent) Kick(reason string) error { return a.KickFor(session.ErrKicked, reason) }

// KickFor is Kick with a specific close reason of the session.
func (a *Agent) KickFor(why error, reason string) error {
	return a.shut(why, farewell{flush: true, answer: true, kick: kickBody(reason, why)})
}

// kickBody returns the body of a kick packet: a readable text and the close reason.
func kickBody(reason string, why error) []byte {
	b, err := json.Marshal(struct {
		Reason string `json:"reason"`
		Code   string `json:"code"`
	}{reason, session.ReasonOf(why).String()})
	if err != nil {
		return []byte("{}")
	}
	return b
}

// farewell describes how a connection ends.
type farewell struct {
	flush  bool   // send queued data first; otherwise close the connection at once
	answer bool   // also send the answer to the running request
	kick   []byte // the body of a kick packet, or nil
	code   uint16 // code of the WebSocket close frame; 0 is 1000, normal closure
}

// parted is what a connection needs once its farewell is queued.
type parted struct {
	code   uint16      // of the close frame at the end
	until  time.Time   // when the farewell has to be written
	late   *time.Timer // calls tooLate if that takes too long
	lateAt time.Time   // when
}

// shutdownFarewell is the farewell of a server that shuts down.
func shutdownFarewell() farewell {
	return farewell{flush: true, kick: kickBody("server shutdown", session.ErrShutdown), code: wsframe.CodeGoingAway}
}

// shut closes the session with a reason. After that only the farewell is sent. Accepted
// messages still run, and the close callbacks run after them. Only the first call has an
// effect.
func (a *Agent) shut(reason error, f farewell) error {
	if a.flags.set(flagClosed) {
		return session.ErrCloseClosedSession
	}
	a.end(reason, f)
	a.box.Seal(a.finished)
	return nil
}

// end is the part of shut that ends the connection and sets the session's reason.
func (a *Agent) end(reason error, f farewell) {
	if a.control.End(reason) && !a.flags.has(flagResuming) {
		a.hub.Counts.close(reason)
	}
	a.uncount()
	if !f.answer || !a.postpone(f) {
		a.closeOutbox(reason, f)
	}
	if a.hub.Debug {
		a.hub.Log.Debug("nano: session closes", "session", a.id, "uid", a.session.UID(), "reason", reason)
	}
}

// postpone delays the farewell while a request runs that is unanswered. part sends the
// farewell when the handler has returned, after closeTimeout at the latest. postpone
// returns false if no request runs or no client would receive the answer.
func (a *Agent) postpone(f farewell) bool {
	if a.box.Idle() || !a.requests.Waiting(a.requests.Current()) {
		return false
	}
	a.out.mu.Lock()
	defer a.out.mu.Unlock()
	if a.out.conn == nil {
		return false // the client may reconnect, but not to this session
	}
	a.out.parting = &parting{f, time.AfterFunc(closeTimeout, a.part)}
	return true
}

// parting is a postponed farewell.
type parting struct {
	farewell
	late *time.Timer
}

// part sends a postponed farewell.
func (a *Agent) part() {
	a.out.mu.Lock()
	p := a.out.parting
	a.out.parting = nil
	a.out.mu.Unlock()
	if p != nil {
		p.late.Stop()
		a.closeOutbox(a.control.Reason(), p.farewell)
	}
}

// parts reports whether the farewell is postponed.
func (a *Agent) parts() bool {
	a.out.mu.Lock()
	defer a.out.mu.Unlock()
	return a.out.parting != nil
}

// closeOutbox ends the connection, at once or after the farewell was written.
func (a *Agent) closeOutbox(reason error, f farewell) {
	o := &a.out
	until := time.Now().Add(closeTimeout)
	o.mu.Lock()
	var pending *Conn
	if r := o.resume; r != nil {
		if r.begun {
			f = farewellOf(reason, f)
		}
		if s := r.active; s != nil {
			pending, s.pending = s.pending, nil
		}
		r.end(a, reason, f.kick)
	}
	c, flush := o.conn, false
	switch {
	case c == nil, c.dead, !f.flush:
		o.drop()
		if c != nil {
			c.kill()
		}
	default:
		if f.kick != nil {
			o.own()
			o.buf.b, _ = codec.Append(o.buf.b, packet.Kick, f.kick) // a reason of 16 MiB is not sent
		}
		c.last = &parted{code: f.code, until: until, lateAt: until, late: time.AfterFunc(closeTimeout, c.tooLate)} // deadlines may have no effect
		flush = o.list()
	}
	o.closed = true
	if c != nil {
		c.wakeReader()
	}
	o.mu.Unlock()
	if pending != nil && pending.state.Load() == stateShaken { // the server told its client that the session is resumed
		if first := pending.agent.Load(); first != a {
			f.flush = f.kick != nil
			_ = first.shut(reason, f)
		}
	}
	if c == nil {
		return
	}
	a.hub.wheel.remove(c)
	if !f.flush {
		c.closeSocket()
		return
	}
	_ = c.socket.SetWriteDeadline(until)
	if flush {
		a.hub.flusher.add(a)
	}
}

// tooLate closes the socket of a connection if the farewell or the client takes too long.
// If tooLate itself runs late, the process was stopped. Then the writer and the client
// get the time that a client has to close.
func (c *Conn) tooLate() {
	o := &c.agent.Load().out
	o.mu.Lock()
	paused := time.Since(c.last.lateAt) > 2*maxTick
	if paused {
		c.setLate(linger)
	}
	o.mu.Unlock()
	if !paused {
		c.closeSocket()
	}
}

// setLate schedules tooLate after d. The caller holds the mu of the agent's outbox.
func (c *Conn) setLate(d time.Duration) {
	c.last.lateAt = time.Now().Add(d)
	c.last.late.Reset(d)
}

// uncount removes the session from the count of open sessions, once.
func (a *Agent) uncount() {
	if a.flags.clear(flagCounted) {
		a.hub.Counts.ready.Add(-1)
	}
}

// shutdown calls shut when all accepted messages have run. The client gets the farewell
// only then.
func (a *Agent) shutdown() {
	if !a.flags.has(flagOpen) {
		_ = a.shut(session.ErrShutdown, farewell{})
		return
	}
	a.retire(session.ErrShutdown, shutdownFarewell())
}

// retire calls shut when all accepted messages have run.
func (a *Agent) retire(reason error, f farewell) {
	a.box.Seal(func() {
		if !a.flags.set(flagClosed) {
			a.end(reason, f)
		}
		a.finished()
	})
}

// finished runs on the logic goroutine after the last message.
func (a *Agent) finished() {
	a.part()
	defer a.hub.wg.Done()
	defer a.hub.gone(a, flagSessionGone)
	defer func() {
		h := a.hub
		h.mu.Lock()
		h.unindex(a, a.session.UID())
		h.mu.Unlock()
		if h.Closed != nil {
			h.Closed(a.session)
		}
	}()
	if a.flags.has(flagOpen) {
		a.control.Finish()
	} else {
		a.control.Discard()
	}
}

// cut closes the agent's connection, if there is one, without waiting.
func (a *Agent) cut() {
	a.out.mu.Lock()
	c := a.out.conn
	a.out.mu.Unlock()
	if c != nil {
		c.closeSocket()
	}
}

// protocolError is the error of a connection that is closed because of bytes from the
// client.
type protocolError struct {
	reason error  // the sentinel
	code   uint16 // code of the WebSocket close frame
	kick   string // reason of a kick packet; "" for no kick
	err    error
}

func (e *protocolError) Error() string { return e.err.Error() }
func (e *protocolError) Unwrap() error { return e.err }

func violation(format string, args ...any) error {
	return &protocolError{reason: session.ErrProtocol, code: wsframe.CodeProtocolError, err: fmt.Errorf(format, args...)}
}

// refuse closes the session because of a read error.
func (a *Agent) refuse(err error) {
	f, reason := a.farewellFor(err)
	_ = a.shut(reason, f)
}

// refuseLater calls refuse after the client's earlier messages have run, so that they are
// answered. It waits for closeTimeout at most.
func (a *Agent) refuseLater(err error) {
	f, reason := a.farewellFor(err)
	if a.box.Idle() || errors.Is(reason, session.ErrClientClosed) {
		_ = a.shut(reason, f)
		return
	}
	late := time.AfterFunc(closeTimeout, func() { _ = a.shut(reason, f) })
	a.session.OnClose(func(*session.Session, error) { late.Stop() })
	a.retire(reason, f)
}

// farewellFor returns the farewell and the close reason for a read error.
func (a *Agent) farewellFor(err error) (f farewell, reason error) {
	var p *protocolError
	if !errors.As(err, &p) {
		return farewell{}, session.ErrClientClosed
	}
	if a.hub.Debug && !errors.Is(p.reason, session.ErrClientClosed) {
		a.hub.Log.Debug("nano: protocol error", "session", a.id, "uid", a.session.UID(), "remote", a.RemoteAddr(), "error", err)
	}
	f = farewell{flush: true, code: p.code}
	if p.kick != "" {
		f.kick = kickBody(p.kick, p.reason)
	}
	return f, fmt.Errorf("%w: %w", p.reason, err)
}
