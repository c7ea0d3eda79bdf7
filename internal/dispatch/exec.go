package dispatch

import (
	"context"
	"errors"
	"fmt"

	"github.com/lonng/nano/internal/stacktrace"
	"github.com/lonng/nano/session"
)

// refusal returns why the handler of a message is not called, or nil.
func (m *Mailbox) refusal(c *Call) error {
	switch {
	case c.handler == nil:
	case c.special != nil && c.special.ctx != nil && c.special.ctx.Err() != nil:
		return errLate
	case c.handler.SchedName != "" && !m.isPlacedOn(c.handler.SchedName):
		return fmt.Errorf("the session holds no running scheduler.LocalScheduler under the key %q", c.handler.SchedName)
	}
	return nil
}

// exec runs one message: its handler, or the error, forward or function that it has
// instead.
func (m *Mailbox) exec(c *Call, refusal error) {
	m.entity.Begin(c.id, c.route())
	if m.d.Debug {
		m.d.Log.Debug("nano: message", "session", m.s.ID(), "uid", m.s.UID(), "route", c.routeForLog(), "request", c.id)
	}
	err := refusal
	if err == nil {
		err = m.serve(c)
	}
	if err != nil {
		m.failed(c, err)
	}
}

// serve calls the handler and sends its reply.
func (m *Mailbox) serve(c *Call) error {
	if c.handler == nil {
		return m.execSpecial(c.special)
	}
	if m.d.Tracer != nil {
		return m.serveTraced(c)
	}
	ctx := context.Background()
	if c.handler.Context() {
		ctx = c.context(m.s)
	}
	return m.call(ctx, c)
}

// call calls the handler with ctx and sends its reply.
func (m *Mailbox) call(ctx context.Context, c *Call) error {
	reply, err := c.handler.Call(ctx, m.s, c.arg)
	switch {
	case err != nil:
		return err
	case c.id == 0:
		return nil // a notify has no answer
	case reply == nil:
		return m.noReply(c)
	}
	return m.entity.ResponseMid(c.id, reply)
}

// execSpecial runs a call that has no handler: an error reply, a forwarded message or a function.
func (m *Mailbox) execSpecial(c *special) error {
	switch {
	case c.fail != nil:
		return c.fail
	case c.forward != nil:
		return m.d.remote.Forward(m.s, c.forward)
	}
	return c.do()
}

// failed answers a message that could not be served. It logs the error if the program is at
// fault.
func (m *Mailbox) failed(c *Call, err error) {
	if c.handler != nil {
		c.handler.Stats.Errors.Add(1)
	}
	m.answer(c, err)
	switch {
	case !unexpected(err):
		return
	case !isNilPointer(err) && errors.Is(err, session.ErrBrokenPipe) && m.s.Closed():
		return // the client is gone: no fault of the handler
	}
	m.d.Log.Error("nano: handler failed", "route", c.routeForLog(), "session", m.s.ID(), "uid", m.s.UID(), "error", loggable(err))
}

// answer answers a request with an error, and drops a notify. Both are counted.
func (m *Mailbox) answer(c *Call, err error) {
	if c.id == 0 {
		m.d.Counts.Dropped.Add(1)
		return
	}
	m.d.Counts.Failed.Add(1)
	m.entity.Fail(c.id, m.d.Public(err))
}

// unreturned is called for a message whose handler did not return: it panicked with p, or it
// ended this goroutine with runtime.Goexit if p is nil.
func (m *Mailbox) unreturned(c *Call, p any) {
	if p == nil {
		m.d.Log.Error("nano: a handler ended its goroutine with runtime.Goexit", "route", c.routeForLog(), "session", m.s.ID(),
			"uid", m.s.UID())
	} else {
		m.d.Counts.Panics.Add(1)
		m.d.Log.Error("nano: panic in a handler", "route", c.routeForLog(), "session", m.s.ID(), "uid", m.s.UID(),
			"panic", fmt.Sprint(p), stacktrace.Attr())
	}
	m.failed(c, errLogged)
}
