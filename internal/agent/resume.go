package agent

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/session"
)

// Resume says how sessions outlive their connections.
type Resume struct {
	Window    time.Duration // how long a session without a connection is kept, 1 s or more; 0 turns resume off
	Buffer    int           // bytes of packets that are kept for one session
	MaxMemory int64         // bytes of packets that are kept for all sessions
}

// resumption is what a session with resume has beside other sessions. The mu of the
// agent's outbox guards what has no other comment.
type resumption struct {
	received atomic.Uint64 // data packets of the client that were accepted; only the reader of the connection adds
	meter    *meter        // of the session's rates; belongs to the reader of the connection

	history  history
	replay   int     // bytes of the replay that wait or were taken: they count for no bound
	fleeting []span  // packets in the outbox that are replaced by something newer
	charged  int64   // bytes of the history that count in the hub's total
	tokens   []token // the one that the client had last, and those given since

	begun    bool        // the first ack has come
	pending  *Conn       // was answered, and its ack is to come
	previous *Conn       // the last connection, if its reader has not ended
	lost     error       // why the last connection was lost
	timer    *time.Timer // ends the session when the window has passed
	// deadline is when the window will have passed, on the wheel's clock; 0 if it stands still.
	deadline time.Duration
	expired  bool // the window has passed
}

// maxTokens is how many tokens of a session are good at most.
const maxTokens = 8

// minCharge is the memory with which a suspended session counts at least, in bytes.
const minCharge = 1 << 10

// Suspended reports whether the session has no connection, and waits for its client to
// come back.
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

// suspend takes the agent's connection c away, and keeps the session for the client to
// come back. It reports false, and does nothing, if the session cannot be resumed or is
// closed; it reports true if the session has another connection already.
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
	a.box.Interrupt() // the reader may wait for room
	if !fits {
		a.overflow()
	}
	return true
}

// unhook takes the connection of a session with resume away, and starts the window. It
// reports whether what waits can be kept. The caller holds mu.
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

// park moves what waits to the history of a suspended session, and reports whether it
// fits. The caller holds mu.
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

// startWindow begins the window anew. The caller holds mu.
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

// stopWindow makes the window stand still. The caller holds mu.
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
	if left := a.hub.wheel.left(r.deadline); passed && left > 0 { // the process did not run meanwhile
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

// overflow ends a suspended session because what its client lacks is not kept.
func (a *Agent) overflow() {
	if a.shut(errOverflow, farewell{}) == nil {
		a.hub.Counts.ResumeOverflowed.Add(1)
	}
}

var errOverflow = fmt.Errorf("%w: %w", session.ErrResumeOverflow, session.ErrSlowClient)

// readerEnded is called when the reader of a connection that its agent has left has
// ended: everything that it had accepted is in the mailbox.
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

// end notes that the session has ended. The caller holds mu.
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

// farewellOf returns the farewell of a session with resume: when the server ends it, the
// client is told, so that it does not come back.
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

// negotiate answers the resume part of a handshake. It returns the part of the answer. If
// the client goes on with its session, c.resuming is its agent; if that session belongs to
// another node, c is away, and the other node answers.
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
// goes on with it. It fills in the answer. e is not nil if no session can go on.
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

// errReceived is why a session ends whose client claims to have received what was not
// sent.
var errReceived = fmt.Errorf("%w: the client has received more than was sent", session.ErrProtocol)

var errTakenOver = errors.New("agent: another connection goes on with the session")

// takeOver makes c the connection that goes on with the session of a when its ack comes.
// It cuts the connection that the session has, and fills in the answer. e is not nil if
// the session cannot go on.
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
	if at := indexOf(r.tokens, k); at > 0 { // the client has a newer one
		a.hub.tokens.remove(r.tokens[:at])
		r.tokens = r.tokens[at:]
	}
	if len(r.tokens) == maxTokens { // the client has the first one, and may have any other
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

// outcome returns why a session that has closed cannot go on.
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

// awaitReader returns when the session's last connection can deliver nothing more.
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

// abandon is called when a connection ends whose ack did not come: the window of the
// session that it was to go on with begins anew.
func (a *Agent) abandon(c *Conn) {
	o := &a.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.resume; r.pending == c && !o.closed {
		r.pending = nil
		r.startWindow(a)
	}
}

// begin is called at the first ack of a session with resume.
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

// goOn is called at the ack of a connection that goes on with a session.
func (c *Conn) goOn() error {
	a := c.resuming
	if err := a.adopt(c); err != nil {
		return err // the connection is lost, see isLoss
	}
	c.resuming = nil
	c.meter = a.out.resume.meter
	c.acks.sent.Store(a.out.resume.received.Load()) // the answer has told it
	a.hub.Counts.Resumed.Add(1)
	a.announceResumed()
	return nil
}

// reattach makes c, whose ack has come, the connection of the session: what the client
// has not received goes first. The caller holds mu.
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
