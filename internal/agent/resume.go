package agent

import (
	"errors"
	"fmt"
	"time"

	"github.com/lonng/nano/session"
)

// Resume configures how sessions outlive their connections.
type Resume struct {
	Window    time.Duration // how long a session without a connection is kept, at least 1 s; 0 disables resume
	Buffer    int           // bytes of packets kept for one session
	MaxMemory int64         // bytes of packets kept for all sessions
}

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
	o := &a.out
	s := o.activate()
	c := o.conn
	o.conn, o.writing, o.taken, s.replay = nil, false, 0, 0
	c.kill()
	c.flags.set(flagLeft)
	a.flags.set(flagConnGone)
	a.flags.clear(flagFull)
	c.wakeReader()
	s.lost, s.remote = reason, c.remote
	if !c.unread {
		s.previous = c
	}
	fits = o.park(a.hub)
	s.history.shrink()
	s.charge(a.hub, true)
	a.hub.Counts.Suspensions.Add(1)
	a.hub.Counts.suspended.Add(1)
	s.startWindow(a)
	return fits
}

// park moves queued packets to the history of a suspended session, and reports whether
// they fit. The caller holds mu.
func (o *outbox) park(h *Hub) bool {
	if o.buf == nil {
		return true
	}
	s := o.activate()
	s.history.keep(o.buf, int(o.messages), s.fleeting)
	o.drop()
	fits := s.history.trim(h.Resume.Buffer)
	s.charge(h, true)
	return fits
}

// startWindow restarts the window. The caller holds mu.
func (s *activity) startWindow(a *Agent) {
	window := a.hub.Resume.Window
	if s.deadline == 0 {
		a.hub.wheel.watch()
	}
	s.deadline = a.hub.wheel.passed() + window
	if s.timer == nil {
		s.timer = time.AfterFunc(window, a.expire)
	} else {
		s.timer.Reset(window)
	}
}

// stopWindow stops the window. The caller holds mu.
func (s *activity) stopWindow(w *wheel) {
	if s.deadline != 0 {
		w.unwatch()
	}
	s.deadline = 0
	if s.timer != nil {
		s.timer.Stop()
	}
}

// expire ends the session if its window has passed.
func (a *Agent) expire() {
	o := &a.out
	o.mu.Lock()
	s := o.resume.active
	if s == nil { // the session was resumed
		o.mu.Unlock()
		return
	}
	passed := o.suspended() && s.pending == nil && s.deadline != 0
	if left := a.hub.wheel.left(s.deadline); passed && left > 0 { // the process was stopped meanwhile
		s.timer.Reset(left)
		passed = false
	}
	s.expired = s.expired || passed
	lost := s.lost
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
	lost := o.activate().lost
	o.mu.Unlock()
	a.announceSuspended(lost)
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := r.active; s != nil && s.previous == c {
		s.previous = nil
	}
}

// end records that the session has ended. The caller holds mu.
func (r *resumption) end(a *Agent, reason error, kick []byte) {
	if !r.begun {
		return
	}
	if a.out.conn == nil {
		a.hub.Counts.suspended.Add(-1)
	}
	e := &ended{session: a.id, tokens: r.tokens(), reason: reasonEnded, kick: kick, until: time.Now().Add(a.hub.Resume.Window)}
	switch {
	case errors.Is(reason, session.ErrResumeExpired):
		e.reason = reasonExpired
	case errors.Is(reason, session.ErrResumeOverflow):
		e.reason = reasonOverflow
	}
	a.hub.tokens.end(e)
	if a.out.recent != nil {
		a.out.activate()
	}
	if s := r.active; s != nil {
		s.stopWindow(&a.hub.wheel)
		s.history = history{first: 1}
		s.charge(a.hub, false)
	}
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
// answer. If the client resumes a session, c.in.resuming is the session's agent. If that
// session belongs to another node, c is away, and the other node answers.
func (c *Conn) negotiate(ask *resumeRequest) (part []byte, err error) {
	h := c.hub
	c.flags.set(flagResume)
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
	a := c.agent.Load()
	r := &resumption{meter: h.newMeter(), latest: 1}
	answer.Token = h.tokens.issue(h.nodeName(), a.id, r.latest).text()
	o := &a.out
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
	switch a, n, e := c.hub.findToken(k); {
	case a != nil:
		return a.takeOver(c, n, ask.received, answer)
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

// takeOver makes c the connection that resumes the session of a at its ack. n is the
// number of the client's token. takeOver closes the session's current connection, and
// fills in the answer. e is the reason if the session cannot be resumed.
func (a *Agent) takeOver(c *Conn, n uint64, received uint64, answer *resumeAnswer) (e *ended, err error) {
	o := &a.out
	o.mu.Lock()
	r := o.resume
	switch {
	case o.parting != nil:
		f := farewellOf(a.control.Reason(), o.parting.farewell)
		o.mu.Unlock()
		return &ended{reason: reasonEnded, kick: f.kick}, nil
	case o.closed || r.expired():
		o.mu.Unlock()
		return a.outcome(n), nil
	case !r.tokens().has(n):
		o.mu.Unlock()
		return &ended{reason: reasonUnknown}, nil
	case received > o.sent():
		o.mu.Unlock()
		_ = a.shut(errReceived, farewell{})
		return &ended{reason: reasonEnded}, nil
	case !o.keeps(received):
		o.mu.Unlock()
		a.overflow()
		return &ended{reason: reasonOverflow}, nil
	}
	s := o.activate()
	fits, old := true, o.conn
	if old != nil {
		fits = a.unhook(session.ErrClientClosed)
	}
	before := s.pending
	if fits {
		s.pending = c
		s.stopWindow(&a.hub.wheel)
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
	c.in.resuming = a
	a.awaitReader()
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		c.in.resuming = nil
		return a.outcome(n), nil
	case !r.awaits(c):
		c.in.resuming = nil
		return nil, errTakenOver
	}
	s = r.active
	s.history.acknowledge(received)
	s.charge(a.hub, true)
	s.used = n
	r.latest++
	r.unacked.Store(0) // the answer acknowledges all packets
	accepted := r.received.Load()
	answer.Token = a.hub.tokens.issue(a.hub.nodeName(), a.id, r.latest).text()
	answer.Resumed, answer.Received = true, &accepted
	return nil, nil
}

// outcome returns the reason why a closed session cannot be resumed.
func (a *Agent) outcome(n uint64) *ended {
	if e := a.hub.tokens.find(a.id, n); e != nil {
		return e
	}
	if reason := a.control.Reason(); reason != nil && !errors.Is(reason, session.ErrResumeExpired) {
		return &ended{reason: reasonEnded}
	}
	return &ended{reason: reasonExpired}
}

// awaitReader waits until the session's last connection can deliver nothing more.
func (a *Agent) awaitReader() {
	o := &a.out
	o.mu.Lock()
	c := o.activate().previous
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
	if r := o.resume; r.awaits(c) && !o.closed {
		r.active.pending = nil
		r.active.startWindow(a)
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
}

// goOn handles the ack of a connection that resumes a session.
func (c *Conn) goOn() error {
	a := c.in.resuming
	if err := a.adopt(c); err != nil {
		return err // the connection is lost, see isLoss
	}
	c.in.resuming = nil
	c.meter = a.out.resume.meter
	a.hub.Counts.Resumed.Add(1)
	a.announceResumed()
	return nil
}

// reattach makes c, whose ack has arrived, the connection of the session. Packets that
// the client has not received are sent first. The caller holds mu.
func (r *resumption) reattach(a *Agent, c *Conn) {
	s := a.out.activate()
	s.pending = nil
	s.used = r.latest // the token in the answer to c
	if !s.history.empty() {
		if c.control == nil {
			c.control = newBuffer()
		}
		start := len(c.control.b)
		b, n := s.history.appendTo(c.control.b, c.flags.has(flagFramed))
		c.control.b = b
		s.replay = len(c.control.b) - start
		a.hub.Counts.Replayed.Add(int64(n))
	}
	s.charge(a.hub, false)
	a.hub.Counts.suspended.Add(-1)
}
