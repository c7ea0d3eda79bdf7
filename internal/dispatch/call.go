package dispatch

import (
	"context"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/message"
)

// Call is one message that is ready to run.
type Call struct {
	handler *component.Handler
	arg     component.Arg
	id      uint64 // of the request, or 0 for a notify
	more    *more  // what few messages need; it keeps the others small
}

// more is what belongs to few messages only.
type more struct {
	ctx context.Context // the handler's, and when to give the message up; nil for the session's
	// Instead of a handler, one of these:
	do      func() error
	fail    error            // what to answer
	forward *message.Message // what another node is to serve
}

// Refuse makes a Call that is answered with an error; id is 0 for a notify, which is dropped.
func Refuse(id uint64, err error) Call { return Call{id: id, more: &more{fail: err}} }

// forward makes a Call of a message that another node is to serve.
func forward(m *message.Message) Call { return Call{id: m.ID, more: &more{forward: m}} }

// Do makes a Call that runs f in its turn, on the dispatcher's scheduler. An error of f is answered as a handler's; id is
// 0 for a notify.
func Do(id uint64, f func() error) Call { return Call{id: id, more: &more{do: f}} }

// Under returns c with ctx for its handler's context. It is answered with NANO-504 if ctx ends before it runs.
func (c Call) Under(ctx context.Context) Call {
	if c.handler != nil {
		c.more = &more{ctx: ctx}
	}
	return c
}

// Handler returns the handler of the call, nil where something else is to be done.
func (c *Call) Handler() *component.Handler { return c.handler }

func (c *Call) route() *string {
	switch {
	case c.handler != nil:
		return &c.handler.Route
	case c.more != nil && c.more.forward != nil:
		return &c.more.forward.Route
	}
	return nil
}

func (c *Call) name() string {
	if r := c.route(); r != nil {
		return *r
	}
	return ""
}
