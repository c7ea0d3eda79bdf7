package dispatch

import (
	"context"
	"time"

	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// Call is one message that is ready to run.
type Call struct {
	handler *handler.Handler
	arg     handler.Arg
	id      uint64   // id of the request, or 0 for a notify
	special *special // for few messages only, which keeps the others small
}

// special is the part of a Call that few messages need.
type special struct {
	ctx  context.Context // the handler's context and deadline; nil for the session's context
	sent *sent           // the span that the sender of the message has begun; nil for none

	// A Call without a handler has one of these.
	do      func() error
	fail    error            // the answer
	forward *message.Message // a message for another node

	route string // route for the log of a call with fail
}

// Refuse makes a Call that is answered with an error; id is 0 for a notify, which is dropped.
func Refuse(id uint64, err error) Call { return Call{id: id, special: &special{fail: err}} }

// forward makes a Call of a message that another node serves.
func forward(m *message.Message) Call { return Call{id: m.ID, special: &special{forward: m}} }

// Do makes a Call that runs f in its turn, on the dispatcher's loop. An error of f is answered
// like a handler's; id is 0 for a notify.
func Do(id uint64, f func() error) Call { return Call{id: id, special: &special{do: f}} }

// Under returns c with ctx as its handler's context. If ctx ends before the call runs, it is
// answered with NANO-504.
func (c Call) Under(ctx context.Context) Call {
	if c.handler != nil {
		c.special = &special{ctx: ctx}
	}
	return c
}

// sent is the span of a message at the node that has sent it.
type sent struct {
	header   string
	received time.Time
}

// Sent returns c as a message that another node has sent, with the header of its span there.
func (c Call) Sent(header string, received time.Time) Call {
	if c.handler != nil {
		c.special = &special{sent: &sent{header, received}}
	}
	return c
}

// context returns the context of the handler.
func (c *Call) context(s *session.Session) context.Context {
	if c.special != nil && c.special.ctx != nil {
		return c.special.ctx
	}
	return s.Context()
}

// Handler returns the handler of the call, nil if it has none.
func (c *Call) Handler() *handler.Handler { return c.handler }

// route returns the route of the call for the session's entity; nil if it is not known.
func (c *Call) route() *string {
	switch {
	case c.handler != nil:
		return &c.handler.Route
	case c.special != nil && c.special.forward != nil:
		return &c.special.forward.Route
	}
	return nil
}

// routeForLog returns the route of the call for the log; "" if it has none.
func (c *Call) routeForLog() string {
	switch r := c.route(); {
	case r != nil:
		return *r
	case c.special != nil:
		return c.special.route
	}
	return ""
}
