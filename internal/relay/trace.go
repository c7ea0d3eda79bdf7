package relay

import (
	"context"
	"errors"
	"time"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/session"
	"github.com/lonng/nano/trace"
)

// This file carries the spans of messages and calls between nodes.

// errUnanswered ends the span of a request whose client has closed before the answer.
var errUnanswered = errors.New("cluster: the session has closed before the answer")

// start begins the span of a call. Without a Tracer it returns ctx and nil. s is nil if there is no session.
func (b *Broker) start(ctx context.Context, s *session.Session, route string) (context.Context, trace.Span) {
	if b.Tracer == nil || route == "" {
		return ctx, nil
	}
	op := trace.Operation{Kind: trace.Call, Route: route, Node: b.Address()}
	if s != nil {
		op.Session, op.UID = s.ID(), s.UID()
	}
	return b.Tracer.Start(ctx, op)
}

// header returns the header of the span of ctx for other nodes; "" for none.
func (b *Broker) header(ctx context.Context) string {
	if b.Tracer == nil {
		return ""
	}
	header := b.Tracer.Inject(ctx)
	if len(header) > trace.MaxHeader {
		return ""
	}
	return header
}

// sendTraced sends a request or notify of a client's session inside a span, which ends with the answer, or here if none
// comes.
func (b *Broker) sendTraced(s *session.Session, f *link.Frame) error {
	ctx, span := b.Tracer.Start(s.Context(), trace.Operation{
		Kind: trace.Forward, Route: f.Route, Session: s.ID(), UID: s.UID(), Node: b.Address(), Notify: f.ID == 0,
	})
	err := b.sendFrame(s, f, span, b.header(ctx))
	if err != nil || f.ID == 0 {
		span.End(err)
	}
	return err
}

// endSpan ends a span, if there is one.
func endSpan(span trace.Span, err error) {
	if span != nil {
		span.End(err)
	}
}

// extract returns ctx with the span of a header; "" is for no span.
func (b *Broker) extract(ctx context.Context, header string) context.Context {
	if b.Tracer == nil || header == "" {
		return ctx
	}
	return b.Tracer.Extract(ctx, header)
}

// putTrace puts the header of a span in front of the Meta of a frame, if the peer makes spans too.
func (pc *peerConn) putTrace(f *link.Frame, header string) {
	if header != "" && pc.link.Hello().GetTraces() {
		f.Flags |= flagTraced
		f.Meta = append(appendString(nil, header), f.Meta...)
	}
}

// takeTrace removes the header of a span from a frame.
func takeTrace(f *link.Frame) (header string, err error) {
	if f.Flags&flagTraced == 0 {
		return "", nil
	}
	rd := reader{b: f.Meta}
	header = rd.string()
	if len(header) > trace.MaxHeader {
		rd.fault = true
	}
	f.Flags &^= flagTraced
	f.Meta = rd.b
	return header, rd.err("trace")
}

// sent returns a call of a message with the header of the sender's span; "" is none.
func (b *Broker) sent(c dispatch.Call, header string) dispatch.Call {
	if b.Tracer == nil || header == "" {
		return c
	}
	return c.Sent(header, time.Now())
}
