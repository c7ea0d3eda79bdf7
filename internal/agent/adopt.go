package agent

import "github.com/lonng/nano/session"

// left reports whether the connection's agent has changed to another connection.
func (c *Conn) left() bool { return c.flags.has(flagLeft) }

// writerGone wakes the goroutine that waits until c has no writer. The caller holds the
// mu of the agent's outbox.
func (c *Conn) writerGone() {
	if c.done != nil && !c.left() {
		close(c.done)
		c.done = nil
	}
}

// adopt gives the agent another connection whose handshake was answered. The reader of
// the new connection calls it.
//
// The new connection carries queued data that no writer has taken, in order and once.
// Data that a writer has taken is not sent again, because the client may have received
// it. Messages that the old connection delivered to the mailbox run, and their answers go
// over the new connection.
//
// adopt returns when the old connection can deliver nothing more. It closes the old
// connection without a farewell and removes the agent that the new connection was created
// with.
//
// The error is session.ErrBrokenPipe if the agent or the new connection is closed, or if
// another connection has taken the session over. Then the new connection keeps its own
// agent, and an old connection that is not closed stays.
func (a *Agent) adopt(c *Conn) error {
	if !a.detach(c) {
		return session.ErrBrokenPipe
	}
	first := c.agent.Load()
	first.release(c)
	claimed := !first.flags.set(flagClosed) // otherwise it is already ending
	o := &a.out
	o.mu.Lock()
	fits := claimed && !c.dead && o.admits(c)
	if fits {
		c.agent.Store(a)
		o.conn = c
		a.flags.clear(flagConnGone)
		if o.resume != nil {
			o.resume.reattach(a, c)
		}
	}
	flush := fits && (o.buf.len() > 0 || c.control.len() > 0) && o.list()
	o.mu.Unlock()
	if !fits {
		if claimed {
			first.flags.clear(flagClosed)
		}
		first.takeBack(c)
		return session.ErrBrokenPipe
	}
	first.forget()
	if flush {
		a.hub.flusher.add(a)
	}
	return nil
}

// admits reports whether c may become the connection. The caller holds mu.
func (o *outbox) admits(c *Conn) bool {
	return !o.ending() && (o.resume == nil || o.resume.awaits(c))
}

// detach removes the agent's connection to make room for c, closes it, and returns when
// it can deliver nothing more. It returns false and does nothing if c may not become the
// connection. For a session with resume, takeOver has already removed the connection.
func (a *Agent) detach(c *Conn) bool {
	o := &a.out
	o.mu.Lock()
	if !o.admits(c) {
		o.mu.Unlock()
		return false
	}
	old := o.conn
	var done chan struct{}
	if old != nil {
		o.conn, o.writing, o.taken = nil, false, 0
		old.kill()
		old.flags.set(flagLeft)
		a.flags.set(flagConnGone)
		if !old.unread {
			done = make(chan struct{})
			old.done = done
		}
	}
	o.mu.Unlock()
	if old == nil {
		return true
	}
	a.hub.wheel.remove(old)
	old.closeSocket()
	if done != nil {
		a.box.Interrupt()
		<-done
	}
	return true
}

// takeBack restores the connection that release removed, if no other agent has it.
func (a *Agent) takeBack(c *Conn) {
	o := &a.out
	o.mu.Lock()
	o.conn = c
	if o.closed && c.last == nil { // closed without a connection: no writer will close this one
		c.kill()
	}
	flush := o.pending(c) && o.list()
	o.mu.Unlock()
	if flush {
		a.hub.flusher.add(a)
	}
}

// release removes the agent's connection when no write is in progress.
func (a *Agent) release(c *Conn) {
	o := &a.out
	for {
		o.mu.Lock()
		if !o.writing {
			o.conn, o.listed = nil, false
			o.mu.Unlock()
			return
		}
		done := make(chan struct{})
		c.done = done
		o.mu.Unlock()
		<-done
	}
}

// forget removes an agent that has no connection and never had an open session. The
// caller has set flagClosed.
func (a *Agent) forget() {
	a.flags.set(flagConnGone)
	a.control.End(session.ErrClosed)
	a.hub.gone(a, flagSessionGone)
	a.hub.wg.Done()
}
