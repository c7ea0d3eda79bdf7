package dispatch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/lonng/nano/session"
)

// refusal returns why the handler of a message is not called, or nil.
func (m *Mailbox) refusal(c *Call) error {
	switch {
	case c.handler == nil:
	case c.more != nil && c.more.ctx.Err() != nil:
		return errLate
	case c.handler.SchedName != "" && !m.held(c.handler.SchedName):
		return fmt.Errorf("the session holds no running scheduler.LocalScheduler under the key %q", c.handler.SchedName)
	}
	return nil
}

// exec runs one message: its handler, or what is to be answered instead.
func (m *Mailbox) exec(c *Call, refusal error) {
	m.entity.Begin(c.id, c.route())
	if m.d.Debug {
		m.d.Log.Debug("nano: message", "session", m.s.ID(), "uid", m.s.UID(), "route", c.name(), "id", c.id)
	}
	err := refusal
	if err == nil {
		err = m.serve(c)
	}
	if err != nil {
		m.failed(c, err)
	}
}

// failed answers what could not be served, and logs why where that is the program's business.
func (m *Mailbox) failed(c *Call, err error) {
	m.answer(c, err)
	if _, public := errorAs(err); public || errors.Is(err, errLogged) {
		return
	}
	if errors.Is(err, session.ErrBrokenPipe) && m.s.Closed() {
		return // the client is gone: no fault of the handler
	}
	m.d.Log.Error("nano: handler failed", "route", c.name(), "session", m.s.ID(), "uid", m.s.UID(), "error", err)
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

// unreturned is called for a message whose handler did not return: it panicked with p, or ended this goroutine with
// runtime.Goexit if that is nil.
func (m *Mailbox) unreturned(c *Call, p any) {
	if p == nil {
		m.d.Log.Error("nano: a handler ended its goroutine with runtime.Goexit", "route", c.name(), "session", m.s.ID(),
			"uid", m.s.UID())
	} else {
		m.d.Counts.Panics.Add(1)
		m.d.Log.Error("nano: panic in a handler", "route", c.name(), "session", m.s.ID(), "uid", m.s.UID(),
			"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
	m.failed(c, errLogged)
}

// serve runs the handler, or what is in its place.
func (m *Mailbox) serve(c *Call) error {
	if c.handler == nil {
		return m.instead(c.more)
	}
	ctx := context.Background()
	if c.handler.Context() {
		if c.more != nil {
			ctx = c.more.ctx
		} else {
			ctx = m.s.Context()
		}
	}
	reply, err := c.handler.Call(ctx, m.s, c.arg)
	if err != nil || reply == nil {
		return err
	}
	if c.id == 0 {
		return nil // nobody waits for the reply to a notify
	}
	return m.entity.ResponseMid(c.id, reply)
}

// instead does what is to be done where there is no handler.
func (m *Mailbox) instead(c *more) error {
	switch {
	case c.fail != nil:
		return c.fail
	case c.forward != nil:
		return m.d.remote.Forward(m.s, c.forward)
	}
	return c.do()
}
