package agent

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/session"
)

// Resume configures how sessions outlive their connections.
type Resume struct {
	Window    time.Duration // how long a session without a connection is kept, at least 1 s; 0 disables resume
	Buffer    int           // bytes of packets kept for one session
	MaxMemory int64         // bytes of packets kept for all sessions
}

// resumption holds the additional state of a session with resume. The mu of the agent's
// outbox guards the fields without another comment.
type resumption struct {
	received atomic.Uint64 // accepted data packets of the client; only the connection's reader adds to it
	meter    *meter        // meter of the session's rates; owned by the connection's reader

	history  history
	replay   int     // bytes of the replay that are queued or being written; they count toward no bound
	fleeting []span  // replaceable packets in the outbox
	charged  int64   // bytes of the history that count toward the hub's total
	tokens   []token // the token that the client used last, and later ones

	begun    bool        // the first ack has arrived
	pending  *Conn       // connection with an answered handshake and a missing ack
	previous *Conn       // the previous connection, until its reader has ended
	lost     error       // error that ended the last connection
	timer    *time.Timer // ends the session after the window
	// deadline is the end of the window on the wheel's clock. It is 0 if the window is
	// stopped.
	deadline time.Duration
	expired  bool // the window has passed
}

// maxTokens is the maximum number of valid tokens per session.
const maxTokens = 8

// minCharge is the minimum memory in bytes that a suspended session counts for.
const minCharge = 1 << 10

// Suspended reports whether the session has no connection and waits for its client.
func (a *Agent) Suspended() bool {
	o := &a.out
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.suspended()
}

// suspended reports whether the session is suspended. The caller holds mu.
func (o *outbox) suspended() bool {
	return o.resume != nil && o.resume.begun && o.conn == nil && !o.closed
}

// suspend removes the agent's connection c, and keeps the session so that the client can
// resume it. It returns false and does nothing if the session is closed or cannot be
// resumed. It returns true if the session already has another connection.
func (a *Agent) suspend(c *Conn, reason error) bool {
	o := &a.out
	o.mu.Lock()
	r := o.resume
	if r == nil || !r.begun || o.ending() || o.conn != c {
		o.mu.Unlock()
		return c.left()
	}
	fits := a.unhook(reason)
	o.mu.Unlock()
	a.hub.wheel.remove(c)
	c.closeSocket()
	a.box.Interrupt() // the reader may be waiting for space
	if !fits {
		a.overflow()
	}
	return true
}

// unhook removes the connection of a session with resume, and starts the window. It
// reports whether the queued data can be kept. The caller holds mu.
func (a *Agent) unhook(reason error) (fits bool) {
	o, r := &a.out, a.out.resume
	c := o.conn
	o.conn, o.writing, o.taken, r.replay = nil, false, 0, 0
	c.kill()
	c.flags.set(flagLeft)
	a.flags.set(flagConnGone)
	a.flags.clear(flagFull)
	c.wakeReader()
	r.lost = reason
	if !c.unread {
		r.previous = c
	}
	fits = o.park(a.hub)
	r.history.shrink()
	r.charge(a.hub, true)
	a.hub.Counts.Suspensions.Add(1)
	a.hub.Counts.suspended.Add(1)
	r.startWindow(a)
	return fits
}

// park moves queued packets to the history of a suspended session, and reports whether
// they fit. The caller holds mu.
func (o *outbox) park(h *Hub) bool {
	r := o.resume
	if o.buf == nil {
		return true
	}
	r.history.keep(o.buf, int(o.messages), r.fleeting)
	o.drop()
	fits := r.history.trim(h.Resume.Buffer)
	r.charge(h, true)
	return fits
}

// startWindow restarts the window. The caller holds mu.
func (r *resumption) startWindow(a *Agent) {
	window := a.hub.Resume.Window
	if r.deadline == 0 {
		a.hub.wheel.watch()
	}
	r.deadline = a.hub.wheel.passed() + window
	if r.timer == nil {
		r.timer = time.AfterFunc(window, a.expire)
	} else {
		r.timer.Reset(window)
	}
}

// stopWindow stops the window. The caller holds mu.
func (r *resumption) stopWindow(w *wheel) {
	if r.deadline != 0 {
		w.unwatch()
	}
	r.deadline = 0
	if r.timer != nil {
		r.timer.Stop()
	}
}

// expire ends the session if its window has passed.
func (a *Agent) expire() {
	o := &a.out
	o.mu.Lock()
	r := o.resume
	passed := o.suspended() && r.pending == nil && r.deadline != 0
	if left := a.hub.wheel.left(r.deadline); passed && left > 0 { // the process was stopped meanwhile
		r.timer.Reset(left)
		passed = false
	}
	r.expired = r.expired || passed
	lost := r.lost
	o.mu.Unlock()
	if passed && a.shut(fmt.Errorf("%w: %w", session.ErrResumeExpired, lost), farewell{}) == nil {
		a.hub.Counts.ResumeExpired.Add(1)
	}
}

// overflow ends a suspended session because packets that its client needs are not kept.
func (a *Agent) overflow() {
	if a.shut(errOverflow, farewell{}) == nil {
		a.hub.Counts.ResumeOverflowed.Add(1)
	}
}

var errOverflow = fmt.Errorf("%w: %w", session.ErrResumeOverflow, session.ErrSlowClient)

// readerEnded is called when the reader of a replaced connection has ended. All messages
// that it accepted are in the mailbox.
func (a *Agent) readerEnded(c *Conn) {
	o := &a.out
	o.mu.Lock()
	r := o.resume
	if r == nil || !r.begun {
		o.mu.Unlock()
		return
	}
	lost := r.lost
	o.mu.Unlock()
	a.announceSuspended(lost)
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.previous == c {
		r.previous = nil
	}
}

// end records that the session has ended. The caller holds mu.
func (r *resumption) end(a *Agent, reason error, kick []byte) {
	r.stopWindow(&a.hub.wheel)
	if !r.begun {
		return
	}
	if a.out.conn == nil {
		a.hub.Counts.suspended.Add(-1)
	}
	e := &ended{reason: reasonEnded, kick: kick, tokens: r.tokens, until: time.Now().Add(a.hub.Resume.Window)}
	switch {
	case errors.Is(reason, session.ErrResumeExpired):
		e.reason = reasonExpired
	case errors.Is(reason, session.ErrResumeOverflow):
		e.reason = reasonOverflow
	}
	a.hub.tokens.end(e)
	r.tokens = nil
	r.history = history{first: 1}
	r.charge(a.hub, false)
}

// farewellOf returns the farewell of a session with resume. When the server ends the
// session, the farewell includes a kick, so that the client does not try to resume.
func farewellOf(reason error, f farewell) farewell {
	for _, silent := range []error{session.ErrClientClosed, errReceived, session.ErrResumeExpired, session.ErrResumeOverflow} {
		if errors.Is(reason, silent) {
			return f
		}
	}
	if f.kick != nil {
		return f
	}
	var text string
	switch session.ReasonOf(reason) {
	case session.ReasonServer:
		text = "closed"
	case session.ReasonProtocol:
		text = "protocol error"
	case session.ReasonLimit:
		text = "rate limit"
	case session.ReasonSlow:
		text = "slow client"
	case session.ReasonShutdown:
		text = "server shutdown"
	default:
		text = session.ReasonOf(reason).String()
	}
	f.kick = kickBody(text, reason)
	return f
}

// negotiate handles the resume part of a handshake, and returns the resume part of the
// answer. If the client resumes a session, c.resuming is the session's agent. If that
// session belongs to another node, c is away, and the other node answers.
func (c *Conn) negotiate(ask *resumeRequest) (part []byte, err error) {
	h := c.hub
	c.flags.set(flagResume)
	c.acks = &acks{}
	answer := &resumeAnswer{Window: int64(h.Resume.Window / time.Second)}
	if ask.hasToken {
		e, err := c.findSession(ask, answer)
		switch {
		case err != nil || c.away():
			return nil, err
		case e == nil:
			return answer.encode(), nil
		case c.flags.has(flagCarried):
			return nil, c.refuseCarried(e)
		}
		answer.Reason, answer.Kick = e.reason, e.kick
		h.Counts.refuseResume(e.reason)
	}
	r := &resumption{history: history{first: 1}, meter: h.newMeter()}
	k := newToken(h.nodeName())
	r.tokens = []token{k}
	answer.Token = k.text()
	o := &c.agent.Load().out
	o.mu.Lock()
	o.resume = r
	o.mu.Unlock()
	return answer.encode(), nil
}

// findSession finds the session of the client's token, and makes c the connection that
// resumes it. It fills in the answer. e is the reason if no session can be resumed.
func (c *Conn) findSession(ask *resumeRequest, answer *resumeAnswer) (e *ended, err error) {
	k, ok := parseToken(ask.token)
	if !ok {
		return &ended{reason: reasonUnknown}, nil
	}
	switch a, e := c.hub.tokens.find(k); {
	case a != nil:
		return a.takeOver(c, k, ask.received, answer)
	case e != nil:
		return e, nil
	case c.in.opening != nil && k.name() != c.hub.nodeName():
		return c.askOther(k)
	}
	return &ended{reason: reasonUnknown}, nil
}

// errReceived ends a session if its client claims to have received packets that were not
// sent.
var errReceived = fmt.Errorf("%w: the client has received more than was sent", session.ErrProtocol)

var errTakenOver = errors.New("agent: another connection goes on with the session")

// takeOver makes c the connection that resumes the session of a at its ack. It closes the
// session's current connection, and fills in the answer. e is the reason if the session
// cannot be resumed.
func (a *Agent) takeOver(c *Conn, k token, received uint64, answer *resumeAnswer) (e *ended, err error) {
	o := &a.out
	o.mu.Lock()
	r := o.resume
	at := indexOf(r.tokens, k)
	switch {
	case o.parting != nil:
		f := farewellOf(a.control.Reason(), o.parting.farewell)
		o.mu.Unlock()
		return &ended{reason: reasonEnded, kick: f.kick}, nil
	case o.closed || r.expired:
		o.mu.Unlock()
		return a.outcome(k), nil
	case at < 0:
		o.mu.Unlock()
		return &ended{reason: reasonUnknown}, nil
	case received > r.history.sent:
		o.mu.Unlock()
		_ = a.shut(errReceived, farewell{})
		return &ended{reason: reasonEnded}, nil
	case received < r.history.acked || received+1 < r.history.first:
		o.mu.Unlock()
		a.overflow()
		return &ended{reason: reasonOverflow}, nil
	}
	fits, old := true, o.conn
	if old != nil {
		fits = a.unhook(session.ErrClientClosed)
	}
	before := r.pending
	if fits {
		r.pending = c
		r.stopWindow(&a.hub.wheel)
	}
	o.mu.Unlock()
	if before != nil {
		before.closeSocket()
	}
	if old != nil {
		a.hub.wheel.remove(old)
		old.closeSocket()
	}
	if !fits {
		a.overflow()
		return &ended{reason: reasonOverflow}, nil
	}
	c.resuming = a
	a.awaitReader()
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		c.resuming = nil
		return a.outcome(k), nil
	case r.pending != c:
		c.resuming = nil
		return nil, errTakenOver
	}
	r.history.acknowledge(received)
	r.charge(a.hub, true)
	given := newToken(a.hub.nodeName())
	if at := indexOf(r.tokens, k); at > 0 { // the client has a newer token
		a.hub.tokens.remove(r.tokens[:at])
		r.tokens = r.tokens[at:]
	}
	if len(r.tokens) == maxTokens { // the client has the first token, and may have any later one
		a.hub.tokens.remove(r.tokens[1:2])
		r.tokens = append(r.tokens[:1:1], r.tokens[2:]...)
	}
	r.tokens = append(r.tokens, given)
	a.hub.tokens.add(given, a)
	n := r.received.Load()
	answer.Token, answer.Resumed, answer.Received = given.text(), true, &n
	c.acks.given = given
	return nil, nil
}

// outcome returns the reason why a closed session cannot be resumed.
func (a *Agent) outcome(k token) *ended {
	if _, e := a.hub.tokens.find(k); e != nil {
		return e
	}
	if reason := a.control.Reason(); reason != nil && !errors.Is(reason, session.ErrResumeExpired) {
		return &ended{reason: reasonEnded}
	}
	return &ended{reason: reasonExpired}
}

func indexOf(list []token, k token) int {
	for i := range list {
		if list[i] == k {
			return i
		}
	}
	return -1
}

// awaitReader waits until the session's last connection can deliver nothing more.
func (a *Agent) awaitReader() {
	o := &a.out
	o.mu.Lock()
	c := o.resume.previous
	if c == nil || c.unread {
		o.mu.Unlock()
		return
	}
	if c.done == nil {
		c.done = make(chan struct{})
	}
	done := c.done
	o.mu.Unlock()
	a.box.Interrupt()
	<-done
}

// abandon is called when a connection that resumes a session ends before its ack. It
// restarts the window of the session.
func (a *Agent) abandon(c *Conn) {
	o := &a.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.resume; r.pending == c && !o.closed {
		r.pending = nil
		r.startWindow(a)
	}
}

// begin handles the first ack of a session with resume.
func (a *Agent) begin(c *Conn) {
	o := &a.out
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.resume
	if r == nil || o.closed {
		return
	}
	r.begun = true
	c.meter = r.meter
	for _, k := range r.tokens {
		a.hub.tokens.add(k, a)
	}
}

// goOn handles the ack of a connection that resumes a session.
func (c *Conn) goOn() error {
	a := c.resuming
	if err := a.adopt(c); err != nil {
		return err // the connection is lost, see isLoss
	}
	c.resuming = nil
	c.meter = a.out.resume.meter
	c.acks.sent.Store(a.out.resume.received.Load()) // the handshake answer included this count
	a.hub.Counts.Resumed.Add(1)
	a.announceResumed()
	return nil
}

// reattach makes c, whose ack has arrived, the connection of the session. Packets that
// the client has not received are sent first. The caller holds mu.
func (r *resumption) reattach(a *Agent, c *Conn) {
	r.pending = nil
	var dropped []token
	for _, k := range r.tokens {
		if k != c.acks.given {
			dropped = append(dropped, k)
		}
	}
	a.hub.tokens.remove(dropped)
	r.tokens = append(r.tokens[:0], c.acks.given)
	if !r.history.empty() {
		if c.control == nil {
			c.control = newBuffer()
		}
		start := len(c.control.b)
		b, n := r.history.appendTo(c.control.b, c.flags.has(flagFramed))
		c.control.b = b
		r.replay = len(c.control.b) - start
		a.hub.Counts.Replayed.Add(int64(n))
	}
	r.charge(a.hub, false)
	a.hub.Counts.suspended.Add(-1)
}
