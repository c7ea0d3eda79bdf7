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

// Once everything was sent, the client is given a while to close its side. Closing a
// socket with unread input would destroy what is still on its way to the client, so the
// reader goes on and discards what comes.
const (
	linger       = time.Second     // for that long
	lingerBytes  = 16 << 20        // and for so many bytes
	closeTimeout = 5 * time.Second // how long the last bytes may take
)

// Close ends the connection when what is queued has been sent.
func (a *Agent) Close() error { return a.shut(session.ErrClosed, farewell{flush: true, answer: true}) }

// Kick sends the client a reason, and ends the connection.
func (a *Agent) Kick(reason string) error { return a.KickFor(session.ErrKicked, reason) }

// KickFor is Kick with a reason of the session's own.
func (a *Agent) KickFor(why error, reason string) error {
	return a.shut(why, farewell{flush: true, answer: true, kick: kickBody(reason, why)})
}

// kickBody returns the body of a kick packet: a text for people, and the close reason.
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

// farewell is how a connection ends.
type farewell struct {
	flush  bool   // send what is queued first; else the connection is cut
	answer bool   // and the answer to the request that runs
	kick   []byte // the body of a kick packet, or nil
	code   uint16 // of the WebSocket close frame; 0 is 1000, normal closure
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

// shut closes the session for a reason: nothing more is sent but the farewell. What was
// accepted still runs, and then the close callbacks. Only the first call counts.
func (a *Agent) shut(reason error, f farewell) error {
	if a.flags.set(flagClosed) {
		return session.ErrCloseClosedSession
	}
	a.end(reason, f)
	a.box.Seal(a.finished)
	return nil
}

// end is the part of shut that concerns the connection and the session's reason.
func (a *Agent) end(reason error, f farewell) {
	if a.control.End(reason) {
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

// postpone puts the farewell off while a request runs that has no answer: part sends it
// when the handler has returned, but after closeTimeout at the latest. It reports false
// if no request runs, or no client would get the answer.
func (a *Agent) postpone(f farewell) bool {
	if a.box.Idle() || !a.requests.Waiting(a.requests.Current()) {
		return false
	}
	a.out.mu.Lock()
	defer a.out.mu.Unlock()
	if a.out.conn == nil {
		return false // the client may come back, but not to this session
	}
	a.out.parting = &parting{f, time.AfterFunc(closeTimeout, a.part)}
	return true
}

// parting is a farewell that was postponed.
type parting struct {
	farewell
	late *time.Timer
}

// part sends the farewell if it was postponed.
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

// parts reports whether the farewell was postponed.
func (a *Agent) parts() bool {
	a.out.mu.Lock()
	defer a.out.mu.Unlock()
	return a.out.parting != nil
}

// closeOutbox ends the connection: at once, or when the farewell was written.
func (a *Agent) closeOutbox(reason error, f farewell) {
	o := &a.out
	until := time.Now().Add(closeTimeout)
	o.mu.Lock()
	var pending *Conn
	if r := o.resume; r != nil {
		if r.begun {
			f = farewellOf(reason, f)
		}
		pending, r.pending = r.pending, nil
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
	if pending != nil && pending.state.Load() == stateShaken { // its client was told that the session goes on
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

// tooLate closes the socket of a connection whose farewell, or whose client's, takes too
// long. If it is late itself the process did not run: the writer and the client then have
// as long as the client has to close.
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

// setLate makes tooLate run after d. The caller holds the mu of the agent's outbox.
func (c *Conn) setLate(d time.Duration) {
	c.last.lateAt = time.Now().Add(d)
	c.last.late.Reset(d)
}

// uncount takes the session off the open ones, once.
func (a *Agent) uncount() {
	if a.flags.clear(flagCounted) {
		a.hub.Counts.ready.Add(-1)
	}
}

// shutdown is shut when everything that was accepted has run: the client gets the
// farewell then, not before.
func (a *Agent) shutdown() {
	if !a.flags.has(flagOpen) {
		_ = a.shut(session.ErrShutdown, farewell{})
		return
	}
	a.retire(session.ErrShutdown, shutdownFarewell())
}

// retire is shut when everything that was accepted has run.
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

// cut closes the agent's connection, if it has one, without waiting.
func (a *Agent) cut() {
	a.out.mu.Lock()
	c := a.out.conn
	a.out.mu.Unlock()
	if c != nil {
		c.closeSocket()
	}
}

// protocolError says that a connection is closed because of bytes that the client sent.
type protocolError struct {
	reason error  // the sentinel
	code   uint16 // of the WebSocket close frame
	kick   string // the reason of a kick packet, "" for none
	err    error
}

func (e *protocolError) Error() string { return e.err.Error() }
func (e *protocolError) Unwrap() error { return e.err }

func violation(format string, args ...any) error {
	return &protocolError{reason: session.ErrProtocol, code: wsframe.CodeProtocolError, err: fmt.Errorf(format, args...)}
}

// refuse closes the session for an error of its reader.
func (a *Agent) refuse(err error) {
	f, reason := a.farewellFor(err)
	_ = a.shut(reason, f)
}

// refuseLater is refuse when the messages that the client had sent before have run, which
// answers them. It waits for closeTimeout at most, and not at all if there are none.
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

// farewellFor returns how a session ends for an error of its reader.
func (a *Agent) farewellFor(err error) (f farewell, reason error) {
	var p *protocolError
	if !errors.As(err, &p) {
		return farewell{}, session.ErrClientClosed
	}
	if a.hub.Debug && !errors.Is(p.reason, session.ErrClientClosed) {
		a.hub.Log.Debug("nano: protocol error", "session", a.id, "remote", a.RemoteAddr(), "error", err)
	}
	f = farewell{flush: true, code: p.code}
	if p.kick != "" {
		f.kick = kickBody(p.kick, p.reason)
	}
	return f, fmt.Errorf("%w: %w", p.reason, err)
}
