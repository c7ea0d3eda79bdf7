package dispatch

import (
	"context"

	"github.com/lonng/nano/trace"
)

// serveTraced calls the handler of a message inside a span, and sends its reply. A message that
// another node has forwarded has one more span, which includes its time in the mailbox.
func (m *Mailbox) serveTraced(c *Call) error {
	t := m.d.Tracer
	op := trace.Operation{
		Kind: trace.Handle, Route: c.handler.Route, Session: m.s.ID(), UID: m.s.UID(),
		Node: m.d.Node(), Notify: c.id == 0,
	}
	ctx := c.context(m.s)
	err := errLogged // if the handler does not return
	if c.special != nil && c.special.sent != nil {
		receive := op
		receive.Kind, receive.Begun = trace.Receive, c.special.sent.received
		var span trace.Span
		ctx, span = t.Start(t.Extract(ctx, c.special.sent.header), receive)
		defer func() { span.End(err) }()
	}
	ctx, span := t.Start(ctx, op)
	defer func() { span.End(err) }()
	err = m.call(ctx, c)
	return err
}

// start begins the span of a handler without a session. Without a Tracer it returns ctx and
// nil.
func (d *Dispatcher) start(ctx context.Context, route string) (context.Context, trace.Span) {
	if d.Tracer == nil {
		return ctx, nil
	}
	return d.Tracer.Start(ctx, trace.Operation{Kind: trace.Handle, Route: route, Node: d.Node()})
}
