package otel

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/lonng/nano/trace"
)

// Options configures a tracer. Zero values select the defaults.
type Options struct {
	// Provider makes the spans. By default it is the global one, which is
	// otel.GetTracerProvider at the time of New.
	Provider oteltrace.TracerProvider
}

// scope is the name under which spans are made.
const scope = "github.com/lonng/nano/trace/otel"

// New returns a tracer for nano.WithTracer. It may be used by several servers.
func New(o Options) trace.Tracer {
	if o.Provider == nil {
		o.Provider = otel.GetTracerProvider()
	}
	return &tracer{o.Provider.Tracer(scope)}
}

type tracer struct{ tracer oteltrace.Tracer }

// Start implements trace.Tracer.
func (t *tracer) Start(ctx context.Context, op trace.Operation) (context.Context, trace.Span) {
	opts := []oteltrace.SpanStartOption{
		oteltrace.WithSpanKind(kindOf(ctx, op)), oteltrace.WithAttributes(attributes(op)...),
	}
	if !op.Begun.IsZero() {
		opts = append(opts, oteltrace.WithTimestamp(op.Begun))
	}
	ctx, s := t.tracer.Start(ctx, text(op.Route), opts...)
	return ctx, span{s}
}

// kindOf returns the kind of a span. The handler of a message that has a span at this node
// is internal.
func kindOf(ctx context.Context, op trace.Operation) oteltrace.SpanKind {
	parent := oteltrace.SpanContextFromContext(ctx)
	inside := op.Kind == trace.Handle && parent.IsValid() && !parent.IsRemote()
	sends := op.Kind == trace.Forward || op.Kind == trace.Call
	switch {
	case inside:
		return oteltrace.SpanKindInternal
	case sends && op.Notify:
		return oteltrace.SpanKindProducer
	case sends:
		return oteltrace.SpanKindClient
	case op.Notify:
		return oteltrace.SpanKindConsumer
	}
	return oteltrace.SpanKindServer
}

// attributes returns the attributes of a span.
func attributes(op trace.Operation) []attribute.KeyValue {
	route := text(op.Route)
	dot := strings.LastIndexByte(route, '.')
	list := []attribute.KeyValue{
		attribute.String("rpc.system", "nano"),
		attribute.String("rpc.service", route[:max(dot, 0)]),
		attribute.String("rpc.method", route[dot+1:]),
		attribute.String("nano.operation", op.Kind.String()),
	}
	if op.Session != 0 {
		list = append(list, attribute.Int64("nano.session", op.Session))
	}
	if op.UID != 0 {
		list = append(list, attribute.Int64("nano.uid", op.UID))
	}
	if op.Node != "" {
		list = append(list, attribute.String("nano.node", op.Node))
	}
	return list
}

// text returns s as UTF-8: a client chooses the bytes of its routes, and an exporter refuses
// all spans of a batch because of one that is not UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Inject implements trace.Tracer. The header is the traceparent of the W3C trace context,
// and behind a blank its tracestate, if there is one and it fits.
func (t *tracer) Inject(ctx context.Context) string {
	var c carrier
	propagation.TraceContext{}.Inject(ctx, &c)
	if c.state == "" || len(c.parent)+1+len(c.state) > trace.MaxHeader {
		return c.parent
	}
	return c.parent + " " + c.state
}

// Extract implements trace.Tracer.
func (t *tracer) Extract(ctx context.Context, header string) context.Context {
	var c carrier
	c.parent, c.state, _ = strings.Cut(header, " ")
	return propagation.TraceContext{}.Extract(ctx, &c)
}

// carrier holds the headers of a W3C trace context.
type carrier struct{ parent, state string }

// Get implements propagation.TextMapCarrier.
func (c *carrier) Get(key string) string {
	switch key {
	case "traceparent":
		return c.parent
	case "tracestate":
		return c.state
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (c *carrier) Set(key, value string) {
	switch key {
	case "traceparent":
		c.parent = value
	case "tracestate":
		c.state = value
	}
}

// Keys implements propagation.TextMapCarrier.
func (c *carrier) Keys() []string { return []string{"traceparent", "tracestate"} }

type span struct{ span oteltrace.Span }

// End implements trace.Span.
func (s span) End(err error) {
	if err != nil {
		s.span.SetStatus(codes.Error, text(err.Error()))
	}
	s.span.End()
}

var (
	_ trace.Tracer               = (*tracer)(nil)
	_ propagation.TextMapCarrier = (*carrier)(nil)
)
