package agent

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/ledger"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/payload"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/session"
)

// The states of a connection. A session that is closed keeps the state it had.
const (
	stateNew   int32 = iota // nothing came yet
	stateShook              // the handshake was answered; the ack is to come
	stateReady              // messages may pass
)

// The flags of an agent.
const (
	flagClosed      uint32 = 1 << iota // shut was called
	flagFaulty                         // the client sent what it may not; the rest does not count
	flagPaused                         // the server reads nothing from the client at present
	flagIntroduced                     // the program has seen the session
	flagCounted                        // among the open sessions
	flagGrown                          // the reader has decoded something, which takes more stack than waiting
	flagShedding                       // the reader was woken to go on with a new goroutine
	flagBeating                        // timer.at is that of the next heartbeat
	flagRouted                         // the session was bound to a node of the cluster
	flagConnGone                       // the connection has ended
	flagSessionGone                    // the session has finished
)

// flags are what would be an atomic.Bool each, in a quarter of the space of one.
type flags struct{ bits atomic.Uint32 }

func (f *flags) has(flag uint32) bool { return f.bits.Load()&flag != 0 }

// set sets a flag and reports whether it was set before.
func (f *flags) set(flag uint32) bool { return f.bits.Or(flag)&flag != 0 }

// clear clears a flag and reports whether it was set before.
func (f *flags) clear(flag uint32) bool { return f.bits.And(^flag)&flag != 0 }

// Agent is one connected client. It is the session.NetworkEntity of its session, and may be used concurrently.
//
// What every message needs comes first, and what few need last: with many connections each cache line has to come from
// afar.
type Agent struct {
	hub      *Hub
	raw      syscall.RawConn // nil where reads and writes go through conn
	state    atomic.Int32
	flags    flags
	out      output
	seen     atomic.Int64 // when the last packet came, on the wheel's clock
	requests ledger.Ledger
	ws       bool // output goes in WebSocket frames
	box      dispatch.Mailbox
	session  *session.Session
	route    atomic.Pointer[string]

	conn    net.Conn
	remote  net.Addr
	control sessionctl.Control
	id      int64
	timer   node
}

// Attach takes the control of the agent's session; session.New calls it.
func (a *Agent) Attach(c sessionctl.Control) { a.control = c }

// Control lends the control of the agent's session.
func (a *Agent) Control() sessionctl.Control { return a.control }

// SessionID numbers the agent's session.
func (a *Agent) SessionID() int64 { return a.id }

// Hub returns what the agent shares with the others of its server.
func (a *Agent) Hub() *Hub { return a.hub }

// RemoteAddr returns the client's address, as a trusted proxy gives it if there is one.
func (a *Agent) RemoteAddr() net.Addr { return a.remote }

// LastMid returns the id of the request that runs or ran last, 0 for a notify. A handler that calls it answers later.
func (a *Agent) LastMid() uint64 { return a.requests.Take() }

// Deferred reports whether the handler that runs has called LastMid.
func (a *Agent) Deferred() bool { return a.requests.Taken() }

// Waiting reports whether a request has no answer yet.
func (a *Agent) Waiting(id uint64) bool { return a.requests.Waiting(id) }

// Bound is told of the session's uid. It returns nil.
func (a *Agent) Bound(_ *session.Session, old, uid int64) error {
	a.hub.bound(a, old, uid)
	return nil
}

// Begin notes which request runs.
func (a *Agent) Begin(id uint64, route *string) {
	a.requests.Begin(id)
	if a.hub.Outbound != nil {
		a.route.Store(route) // for the hooks
	}
}

// Hold and Release enclose a run of the session's messages.
func (a *Agent) Hold() { a.hub.flusher.hold() }

// Release ends what Hold began.
func (a *Agent) Release() { a.hub.flusher.release() }

// Push sends a message that is not an answer.
func (a *Agent) Push(route string, v any) error {
	if err := a.sendable(); err != nil {
		return err
	}
	return a.send(&message.Message{Type: message.Push, Route: route}, v)
}

// Response answers the request that runs, or ran last.
func (a *Agent) Response(v any) error { return a.ResponseMid(a.requests.Current(), v) }

// ResponseMid answers the request with the id mid, once; an *Error makes the answer an error response.
func (a *Agent) ResponseMid(mid uint64, v any) error { return a.ResponseTo(mid, 0, v) }

// Serial returns the serial number of the request that runs, or ran last.
func (a *Agent) Serial() uint64 { return a.requests.Serial() }

// Public returns an error of a deferred answer as the client may see it.
func (a *Agent) Public(err error) error { return a.hub.Dispatcher.PublicDeferred(a.session, err) }

// ResponseTo is ResponseMid for the request with both the id and the serial number; serial 0 is any.
func (a *Agent) ResponseTo(mid, serial uint64, v any) error {
	if mid == 0 {
		return session.ErrSessionOnNotify
	}
	call := isCall(mid)
	if err := a.sendable(); err != nil && !call {
		return err
	}
	ok, current := a.requests.ClaimSerial(mid, serial)
	if !ok {
		return session.ErrSessionOnNotify
	}
	err := a.answer(mid, v, current, call)
	if err != nil {
		a.requests.RestoreSerial(mid, serial) // so that it can be answered yet, with the error if there is one
	}
	return err
}

// answer sends the answer to a request that was claimed.
func (a *Agent) answer(mid uint64, v any, current, call bool) error {
	if e, ok := v.(*message.Error); ok && e != nil {
		a.sendFailure(mid, e, current, call)
		return nil
	}
	if call {
		if mine, err := a.answerCall(mid, v, nil); mine || err != nil {
			return err
		}
	}
	if data, ok := v.([]byte); ok && a.hub.Outbound == nil {
		return a.respond(mid, data)
	}
	m := message.Message{Type: message.Response, ID: mid, Route: a.routeOf(current)}
	return a.send(&m, v)
}

// routeOf returns the route of a request, for the hooks; "" where it is not known.
func (a *Agent) routeOf(current bool) string {
	if r := a.route.Load(); r != nil && current {
		return *r
	}
	return ""
}

// Fail answers a request with an error, unless it was answered.
func (a *Agent) Fail(mid uint64, e *message.Error) {
	if ok, current := a.requests.Claim(mid); ok {
		a.sendFailure(mid, e, current, isCall(mid))
	}
}

// Refuse answers a request that did not begin with an error.
func (a *Agent) Refuse(mid uint64, e *message.Error) { a.sendFailure(mid, e, false, isCall(mid)) }

// sendFailure sends an error to the client, or to the program if the request is a call.
func (a *Agent) sendFailure(mid uint64, e *message.Error, current, call bool) {
	if call {
		if mine, _ := a.answerCall(mid, nil, e); mine {
			return
		}
	}
	a.sendError(mid, a.routeOf(current), e)
}

// sendError sends an error response.
func (a *Agent) sendError(mid uint64, route string, e *message.Error) {
	m := message.Message{Type: message.Response, ID: mid, Route: route, Data: a.hub.encodeError(e), Err: true}
	if err := a.sendData(&m); err != nil && !errors.Is(err, session.ErrBrokenPipe) {
		a.hub.Log.Debug("nano: error response not sent", "session", a.id, "error", err)
	}
}

// encodeError returns the payload that tells of e: JSON, where the serializer is for the program's own types only and
// fails, or panics.
func (h *Hub) encodeError(e *message.Error) (data []byte) {
	inJSON := func() {
		data, _ = json.Marshal(e) // strings alone: it does not fail
	}
	defer func() {
		if recover() != nil {
			inJSON()
		}
	}()
	data, err := h.Serializer.Marshal(e)
	if err != nil {
		inJSON()
	}
	return data
}

// RPC sends a notify to the node that serves the route.
func (a *Agent) RPC(route string, v any) error {
	data, err := payload.Encode(a.hub.Serializer, v)
	if err != nil {
		return err
	}
	if a.hub.Cluster == nil {
		return session.ErrNotSupported
	}
	return a.hub.Cluster.RPC(a.session, route, data)
}

func (a *Agent) sendable() error {
	if a.flags.has(flagClosed) {
		return session.ErrBrokenPipe
	}
	if a.state.Load() != stateReady {
		return session.ErrNotReady
	}
	return nil
}

// Close ends the connection when what is queued has been sent.
func (a *Agent) Close() error { return a.shut(session.ErrClosed, farewell{flush: true}) }

// Kick tells the client why, and ends the connection.
func (a *Agent) Kick(reason string) error { return a.KickFor(session.ErrKicked, reason) }

// KickFor is Kick with a reason of the session's own.
func (a *Agent) KickFor(why error, reason string) error {
	return a.shut(why, farewell{flush: true, kick: kickBody(reason)})
}

func kickBody(reason string) []byte {
	b, err := json.Marshal(struct {
		Reason string `json:"reason"`
	}{reason})
	if err != nil {
		return []byte("{}")
	}
	return b
}

// farewell is how a connection ends.
type farewell struct {
	flush bool   // send what is queued first; else the connection is cut
	kick  []byte // the body of a kick packet, or nil
	code  uint16 // of the WebSocket close frame; 0 is 1000, normal closure
}

// shut closes the session for a reason: nothing more is sent but the farewell, what was accepted still runs, and then
// the close callbacks. Only the first call counts.
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
	a.hub.wheel.remove(a)
	a.out.close(a, f)
	if a.hub.Debug {
		a.hub.Log.Debug("nano: session closes", "session", a.id, "uid", a.session.UID(), "reason", reason)
	}
}

// uncount takes the session off the open ones, once.
func (a *Agent) uncount() {
	if a.flags.clear(flagCounted) {
		a.hub.Counts.ready.Add(-1)
	}
}

// goodbye is the farewell of a server that shuts down.
func goodbye() farewell {
	return farewell{flush: true, kick: kickBody("server shutdown"), code: closeGoingAway}
}

// shutdown is shut when everything that was accepted has run: the client is told then, not before.
func (a *Agent) shutdown() {
	if a.state.Load() != stateReady {
		_ = a.shut(session.ErrShutdown, farewell{code: closeGoingAway})
		return
	}
	a.retire(session.ErrShutdown, goodbye())
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
	if a.flags.has(flagIntroduced) {
		a.control.Finish()
	}
}

// sorted returns the sessions of agents in the order they connected.
func sorted(agents map[int64]*Agent) []*session.Session {
	list := make([]*session.Session, 0, len(agents))
	for _, a := range agents {
		if !a.flags.has(flagClosed) {
			list = append(list, a.session)
		}
	}
	slices.SortFunc(list, func(a, b *session.Session) int { return cmp.Compare(a.ID(), b.ID()) })
	return list
}

// serve reads until the connection ends, which it owns. rest was read from it before; left is what the client has
// for its handshake.
func (a *Agent) serve(rest []byte, left time.Duration) {
	a.hub.wheel.add(a, left)
	a.read(newInput(a), rest)
}

// read reads until the connection ends, or goes on with that on a new goroutine: see shed.
func (a *Agent) read(in *input, rest []byte) {
	err := in.stream(rest)
	if a.flags.clear(flagShedding) && errors.Is(err, os.ErrDeadlineExceeded) {
		_ = a.conn.SetReadDeadline(time.Time{})
		if a.flags.has(flagClosed) { // which may have set a deadline of its own, to be put back
			_ = a.conn.SetReadDeadline(time.Now().Add(linger))
		}
		go a.read(in, nil)
		return
	}
	a.finishReading(cmp.Or(in.fault, err))
}

// shed has the reader of a quiet connection go on with a new goroutine. Decoding has grown the stack of the old one to
// 4 KB or more, and the runtime shrinks a stack only when a quarter of it would do; one that only waits needs 2 KB.
func (a *Agent) shed() {
	a.flags.clear(flagGrown)
	a.flags.set(flagShedding)
	_ = a.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
}

// finishReading ends a connection from which nothing more will be read.
func (a *Agent) finishReading(err error) {
	if !a.flags.has(flagClosed) {
		a.refuse(err)
	}
	if a.out.readerGone() {
		a.over()
	}
}

// over ends a connection that is neither read nor written any more.
func (a *Agent) over() {
	_ = a.conn.Close()
	a.hub.Counts.Open.Add(-1)
	a.hub.gone(a, flagConnGone)
	a.hub.wg.Done()
}

// refuse closes the session for an error of its reader.
func (a *Agent) refuse(err error) {
	f, reason := a.parting(err)
	_ = a.shut(reason, f)
}

// refuseLater is refuse when what the client had sent before has run, so that it is answered: in closeTimeout at the
// latest, and at once where there is nothing.
func (a *Agent) refuseLater(err error) {
	f, reason := a.parting(err)
	if a.box.Idle() || errors.Is(reason, session.ErrClientClosed) {
		_ = a.shut(reason, f)
		return
	}
	late := time.AfterFunc(closeTimeout, func() { _ = a.shut(reason, f) })
	a.session.OnClose(func(*session.Session, error) { late.Stop() })
	a.retire(reason, f)
}

// parting returns how a session ends for an error of its reader.
func (a *Agent) parting(err error) (f farewell, reason error) {
	var p *protocolError
	if !errors.As(err, &p) {
		return farewell{}, session.ErrClientClosed
	}
	if a.hub.Debug {
		a.hub.Log.Debug("nano: protocol error", "session", a.id, "remote", a.remote, "error", err)
	}
	f = farewell{flush: true, code: p.code}
	if p.kick != "" {
		f.kick = kickBody(p.kick)
	}
	return f, fmt.Errorf("%w: %w", p.reason, err)
}

// protocolError is why a connection is closed for what the client sent.
type protocolError struct {
	reason error  // the sentinel
	code   uint16 // of the WebSocket close frame
	kick   string // the reason of a kick packet, "" for none
	err    error
}

func (e *protocolError) Error() string { return e.err.Error() }
func (e *protocolError) Unwrap() error { return e.err }

func violation(format string, args ...any) error {
	return &protocolError{reason: session.ErrProtocol, code: closeProtocolError, err: fmt.Errorf(format, args...)}
}

// dueAt is called by the wheel now and then; it does what is due and returns when to be called again, on the
// wheel's clock, or 0 for never.
func (a *Agent) dueAt(now time.Duration) time.Duration {
	h := a.hub
	if a.state.Load() != stateReady {
		if deadline := a.timer.at; now < deadline {
			return deadline
		}
		_ = a.shut(session.ErrHandshake, farewell{})
		return 0
	}
	deaf := a.flags.has(flagPaused | flagFaulty) // asked first: seen is set before flagPaused is cleared
	last := time.Duration(a.seen.Load())
	if deaf {
		last = now // the silence is the server's doing
	}
	// Clients' packets can lie two intervals apart; dead is between two and a half and three.
	dead := last + h.Heartbeat*11/4
	if now >= dead {
		_ = a.shut(session.ErrHeartbeat, farewell{})
		return 0
	}
	if !a.flags.set(flagBeating) {
		a.timer.at = now - min(h.Heartbeat, shedAfter) + h.Heartbeat // enter has asked for this first call
	}
	if now >= a.timer.at {
		_ = a.queueFrame(heartbeatPacket, false)
		if a.timer.at += h.Heartbeat; a.timer.at <= now {
			a.timer.at = now + h.Heartbeat
		}
	}
	next := min(a.timer.at, dead)
	if a.raw == nil || a.ws || !a.flags.has(flagGrown) {
		return next
	}
	if now-last >= shedAfter {
		a.shed()
		return next
	}
	return min(next, now+shedAfter)
}

// shedAfter is how long a connection is quiet before its reader sheds its stack.
const shedAfter = time.Second

var heartbeatPacket = func() []byte {
	b, err := codec.Append(nil, packet.Heartbeat, nil)
	if err != nil {
		panic(err)
	}
	return b
}()

var _ interface {
	session.NetworkEntity
	dispatch.Entity
	dispatch.Deferrer
	sessionctl.Attacher
	sessionctl.Keeper
	sessionctl.Deferrer
} = (*Agent)(nil)
