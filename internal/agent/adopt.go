package agent

import "github.com/lonng/nano/session"

// left reports whether the connection's agent has another one.
func (c *Conn) left() bool { return c.flags.has(flagLeft) }

// writerGone wakes the goroutine that waits until c has no writer. The caller holds the
// mu of the agent's outbox.
func (c *Conn) writerGone() {
	if c.done != nil && !c.left() {
		close(c.done)
		c.done = nil
	}
}

// adopt gives the agent another connection, whose handshake was answered. The reader of
// the new connection calls it.
//
// What the agent has queued, and no writer has taken, goes over the new connection, in
// order and once. What a writer had taken may have reached the client or not: it is not
// sent again. Messages that the old connection had delivered to the mailbox run, and are
// answered over the new connection; adopt returns when the old connection can deliver
// nothing more. It closes the old connection without a farewell. The agent that the new
// connection was made with is gone without a trace.
//
// The error is session.ErrBrokenPipe if the agent is closed, or if another connection has
// taken the session over; then the new connection keeps its own agent.
func (a *Agent) adopt(c *Conn) error {
	if !a.detach() {
		return session.ErrBrokenPipe
	}
	first := c.agent.Load()
	first.release(c)
	o := &a.out
	o.mu.Lock()
	closed := o.closed || o.resume != nil && o.resume.pending != c
	if !closed {
		c.agent.Store(a)
		o.conn, o.remote = c, c.remote
		a.flags.clear(flagConnGone)
		if o.resume != nil {
			o.resume.reattach(a, c)
		}
	}
	flush := !closed && (o.buf.len() > 0 || c.control.len() > 0) && o.list()
	o.mu.Unlock()
	if closed {
		first.out.mu.Lock()
		first.out.conn = c
		first.out.mu.Unlock()
		return session.ErrBrokenPipe
	}
	first.forget()
	if flush {
		a.hub.flusher.add(a)
	}
	return nil
}

// detach takes the agent's connection away, closes it, and returns when it can deliver
// nothing more. It reports false, and does nothing, if the agent is closed.
func (a *Agent) detach() bool {
	o := &a.out
	o.mu.Lock()
	if o.closed || o.parting != nil {
		o.mu.Unlock()
		return false
	}
	c := o.conn
	var done chan struct{}
	if c != nil {
		o.conn, o.writing, o.taken = nil, false, 0
		c.kill()
		c.flags.set(flagLeft)
		a.flags.set(flagConnGone)
		if !c.unread {
			done = make(chan struct{})
			c.done = done
		}
	}
	o.mu.Unlock()
	if c == nil {
		return true
	}
	a.hub.wheel.remove(c)
	c.closeSocket()
	if done != nil {
		a.box.Interrupt()
		<-done
	}
	return true
}

// release gives the agent's connection up when nothing is being written over it.
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

// forget removes an agent that never had an open session, and has no connection any more.
func (a *Agent) forget() {
	a.flags.set(flagClosed | flagConnGone)
	a.control.End(session.ErrClosed)
	a.hub.gone(a, flagSessionGone)
	a.hub.wg.Done()
}
