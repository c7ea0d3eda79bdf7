package otel_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
	"github.com/lonng/nano/trace"
	nanootel "github.com/lonng/nano/trace/otel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder keeps the spans of a server.
type recorder struct {
	t        *testing.T
	exporter *tracetest.InMemoryExporter
	provider *sdk.TracerProvider
}

func newRecorder(t *testing.T, opts ...sdk.TracerProviderOption) *recorder {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(append(opts, sdk.WithSyncer(exporter))...)
	t.Cleanup(func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &recorder{t, exporter, provider}
}

func (r *recorder) option() nano.Option {
	return nano.WithTracer(nanootel.New(nanootel.Options{Provider: r.provider}))
}

// await waits for a span with this name and operation.
func (r *recorder) await(name, operation string) tracetest.SpanStub {
	r.t.Helper()
	var found tracetest.SpanStub
	testkit.Eventually(r.t, "the span "+operation+" of "+name, func() bool {
		for _, s := range r.exporter.GetSpans() {
			if s.Name == name && value(s, "nano.operation").AsString() == operation {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// value returns an attribute of a span.
func value(s tracetest.SpanStub, key attribute.Key) attribute.Value {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value
		}
	}
	return attribute.Value{}
}

// checkChild checks that child has the given parent.
func (r *recorder) checkChild(child, parent tracetest.SpanStub) {
	r.t.Helper()
	if child.SpanContext.TraceID() != parent.SpanContext.TraceID() || child.Parent.SpanID() != parent.SpanContext.SpanID() {
		r.t.Errorf("%s %v has the parent %v of trace %v, want %v of trace %v", child.Name, value(child, "nano.operation").AsString(),
			child.Parent.SpanID(), child.SpanContext.TraceID(), parent.SpanContext.SpanID(), parent.SpanContext.TraceID())
	}
}

// room is the component of the tests.
type room struct {
	component.Base
	inside func(ctx context.Context, s *session.Session, data []byte) error
}

func (r *room) Ask(ctx context.Context, s *session.Session, data []byte) error {
	if err := r.inside(ctx, s, data); err != nil {
		return err
	}
	return s.Response(data)
}

func (r *room) Tell(ctx context.Context, s *session.Session, data []byte) error {
	return r.inside(ctx, s, data)
}

// Count has no session: other nodes call it.
func (r *room) Count(ctx context.Context, n *testkit.Number) (*testkit.Number, error) {
	return n, r.inside(ctx, nil, nil)
}

func (r *room) Panic(*session.Session, []byte) error { panic("planted") }

func nothing(context.Context, *session.Session, []byte) error { return nil }

// TestGateToHandler checks the three spans of a request that a gate forwards, and that the
// handler's context has the innermost one.
func TestGateToHandler(t *testing.T) {
	r := newRecorder(t)
	spans := make(chan oteltrace.SpanContext, 1)
	gate, backend := testkit.StartPair(t, testkit.Services{"Room": &room{
		inside: func(ctx context.Context, s *session.Session, _ []byte) error {
			spans <- oteltrace.SpanContextFromContext(ctx)
			return s.Bind(77)
		}}}, r.option())
	p := gate.Connect()
	p.Expect("Room.Ask", "hello", "hello")

	forward := r.await("Room.Ask", "forward")
	receive, handle := r.await("Room.Ask", "receive"), r.await("Room.Ask", "handle")
	if forward.Parent.IsValid() {
		t.Errorf("the span of the gate has the parent %v, want none", forward.Parent.SpanID())
	}
	r.checkChild(receive, forward)
	r.checkChild(handle, receive)
	if got := testkit.Receive(t, spans, "the handler's span"); !got.Equal(handle.SpanContext) {
		t.Errorf("the handler's context has the span %v, want %v", got.SpanID(), handle.SpanContext.SpanID())
	}
	for _, c := range []struct {
		span tracetest.SpanStub
		kind oteltrace.SpanKind
		node string
	}{
		{forward, oteltrace.SpanKindClient, gate.ClusterAddr()},
		{receive, oteltrace.SpanKindServer, backend.ClusterAddr()},
		{handle, oteltrace.SpanKindInternal, backend.ClusterAddr()},
	} {
		what := value(c.span, "nano.operation").AsString()
		if c.span.SpanKind != c.kind || c.span.Status.Code != codes.Unset {
			t.Errorf("the span %s has the kind %v and the status %v", what, c.span.SpanKind, c.span.Status)
		}
		if got := value(c.span, "nano.node").AsString(); got != c.node {
			t.Errorf("the span %s has the node %q, want %q", what, got, c.node)
		}
		if value(c.span, "nano.session").AsInt64() == 0 || value(c.span, "rpc.service").AsString() != "Room" ||
			value(c.span, "rpc.method").AsString() != "Ask" {
			t.Errorf("the span %s has the attributes %v", what, c.span.Attributes)
		}
	}
	if receive.StartTime.After(handle.StartTime) || receive.EndTime.Before(handle.EndTime) {
		t.Errorf("the handler ran from %v to %v, which is not inside %v to %v", handle.StartTime, handle.EndTime, receive.StartTime, receive.EndTime)
	}

	r.exporter.Reset()
	p.Expect("Room.Ask", "again", "again")
	if got := value(r.await("Room.Ask", "handle"), "nano.uid").AsInt64(); got != 77 {
		t.Errorf("the span has the uid %d, want 77", got)
	}
}

// TestNotify checks that a notify has spans of its kinds, and that the gate does not wait for
// an answer.
func TestNotify(t *testing.T) {
	r := newRecorder(t)
	hold := make(chan struct{})
	gate, _ := testkit.StartPair(t, testkit.Services{"Room": &room{inside: func(context.Context, *session.Session, []byte) error {
		<-hold
		return nil
	}}}, r.option())
	gate.Connect().Send("Room.Tell", "news")
	forward := r.await("Room.Tell", "forward") // before the handler returns
	close(hold)
	receive := r.await("Room.Tell", "receive")
	r.checkChild(receive, forward)
	if forward.SpanKind != oteltrace.SpanKindProducer || receive.SpanKind != oteltrace.SpanKindConsumer {
		t.Errorf("the spans have the kinds %v and %v, want producer and consumer", forward.SpanKind, receive.SpanKind)
	}
}

// TestFailures checks the status of spans whose operation fails.
func TestFailures(t *testing.T) {
	r := newRecorder(t)
	gate, backend := testkit.StartPair(t, testkit.Services{"Room": &room{inside: func(_ context.Context, _ *session.Session, data []byte) error {
		if string(data) == "own" {
			return &nano.Error{Code: "ROOM-1", Message: "full"}
		}
		return errors.New("the table \xff is missing")
	}}}, r.option())
	p := gate.Connect()
	check := func(span tracetest.SpanStub, want string) {
		t.Helper()
		if span.Status.Code != codes.Error || !strings.Contains(span.Status.Description, want) {
			t.Errorf("the span %s has the status %v, want an error with %q", value(span, "nano.operation").AsString(), span.Status, want)
		}
	}
	p.ExpectError("Room.Ask", "own", "ROOM-1")
	for _, operation := range []string{"forward", "receive", "handle"} {
		check(r.await("Room.Ask", operation), "ROOM-1")
	}
	r.exporter.Reset()
	p.ExpectError("Room.Ask", "other", nano.CodeInternal)
	check(r.await("Room.Ask", "handle"), "the table \uFFFD is missing")
	check(r.await("Room.Ask", "forward"), nano.CodeInternal)

	p.ExpectError("Room.Panic", "", nano.CodeInternal)
	check(r.await("Room.Panic", "handle"), "internal error")
	check(r.await("Room.Panic", "forward"), nano.CodeInternal)

	r.exporter.Reset()
	p.ExpectError("Room.\xffNone", "", nano.CodeNotFound)
	check(r.await("Room.\uFFFDNone", "forward"), nano.CodeNotFound)

	backend.Kill()
	gate.AwaitAlone()
	r.exporter.Reset()
	p.ExpectError("Room.Ask", "", nano.CodeUnavailable)
	check(r.await("Room.Ask", "forward"), nano.CodeUnavailable)
}

// TestUnanswered checks that the span of the gate ends if the client closes, or if the
// backend goes down.
func TestUnanswered(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	for _, c := range []struct {
		name string
		end  func(p *testkit.Player, backend *testkit.Node)
	}{
		{"the client closes", func(p *testkit.Player, _ *testkit.Node) { _ = p.Close() }},
		{"the backend goes down", func(_ *testkit.Player, backend *testkit.Node) { backend.Kill() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecorder(t)
			entered, hold := make(chan bool, 1), make(chan struct{})
			gate, backend := testkit.StartPair(t, testkit.Services{"Room": &room{inside: func(context.Context, *session.Session, []byte) error {
				entered <- true
				<-hold
				return nil
			}}}, r.option())
			defer close(hold)
			p := gate.Connect()
			done := make(chan error, 1)
			go func() { _, err := p.Ask("Room.Ask", ""); done <- err }()
			testkit.Receive(t, entered, "the call of the handler")
			c.end(p, backend)
			if err := testkit.Receive(t, done, "the end of the request"); err == nil {
				t.Error("the request was answered")
			}
			if s := r.await("Room.Ask", "forward"); s.Status.Code != codes.Error {
				t.Errorf("the span has the status %v, want an error", s.Status)
			}
		})
	}
}

// TestCalls checks that calls of the program continue the trace at the node that they call.
func TestCalls(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	r := newRecorder(t)
	gate, backend := testkit.StartPair(t, testkit.Services{"Room": &room{inside: nothing}}, r.option())
	tracer := r.provider.Tracer("program")

	for _, c := range []struct {
		name string
		from *testkit.Node
	}{{"another node", gate}, {"this node", backend}} {
		t.Run("Server.Call to "+c.name, func(t *testing.T) {
			r.exporter.Reset()
			ctx, own := tracer.Start(t.Context(), "own")
			if err := c.from.Call(ctx, "Room.Count", &testkit.Number{N: 1}, nil); err != nil {
				t.Fatal(err)
			}
			own.End()
			call := r.await("Room.Count", "call")
			r.checkChild(call, tracetest.SpanStubFromReadOnlySpan(own.(sdk.ReadOnlySpan)))
			handle := r.await("Room.Count", "handle")
			r.checkChild(handle, call)
		})
	}
	t.Run("Session.Call", func(t *testing.T) {
		// The backend's handler calls the third node, through the gate.
		caller := make(chan error, 1)
		gate, backend := testkit.StartPair(t, testkit.Services{"Room": &room{inside: func(ctx context.Context, s *session.Session, _ []byte) error {
			go func() { caller <- s.Call(context.WithoutCancel(ctx), "Bank.Ask", []byte("5"), nil) }()
			return nil
		}}}, r.option())
		testkit.StartNode(t, testkit.Services{"Bank": &room{inside: nothing}}, []*testkit.Node{gate, backend}, r.option())
		r.exporter.Reset()
		gate.Connect().Expect("Room.Ask", "x", "x")
		if err := testkit.Receive(t, caller, "the end of the call"); err != nil {
			t.Fatal(err)
		}
		call := r.await("Bank.Ask", "call")
		r.checkChild(call, r.await("Room.Ask", "handle"))
		r.checkChild(r.await("Bank.Ask", "handle"), call)
	})
}

// TestOneNode checks the span of a message that needs no other node.
func TestOneNode(t *testing.T) {
	r := newRecorder(t)
	s := testkit.StartNode(t, testkit.Services{"Room": &room{inside: nothing}}, nil, r.option())
	s.Connect().Expect("Room.Ask", "x", "x")
	handle := r.await("Room.Ask", "handle")
	if handle.SpanKind != oteltrace.SpanKindServer || handle.Parent.IsValid() {
		t.Errorf("the span has the kind %v and the parent %v, want a server without one", handle.SpanKind, handle.Parent.SpanID())
	}
	if n := len(r.exporter.GetSpans()); n != 1 {
		t.Errorf("the request has %d spans, want 1", n)
	}
}

// TestUntracedPeer checks that nodes with and without a tracer work together, and that the
// spans of a node with one begin a trace.
func TestUntracedPeer(t *testing.T) {
	for _, c := range []struct {
		name           string
		gate, backend  bool
		wantOperations []string
	}{
		{"the gate has none", false, true, []string{"handle"}},
		{"the backend has none", true, false, []string{"forward"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRecorder(t)
			opts := func(traced bool) []nano.Option {
				if traced {
					return []nano.Option{r.option()}
				}
				return nil
			}
			gate := testkit.StartNode(t, nil, nil, opts(c.gate)...)
			testkit.StartNode(t, testkit.Services{"Room": &room{inside: nothing}}, []*testkit.Node{gate}, opts(c.backend)...)
			gate.Connect().Expect("Room.Ask", "x", "x")
			var operations []string
			for _, operation := range c.wantOperations {
				if s := r.await("Room.Ask", operation); s.Parent.IsValid() {
					t.Errorf("the span %s has a parent", operation)
				}
			}
			for _, s := range r.exporter.GetSpans() {
				operations = append(operations, value(s, "nano.operation").AsString())
			}
			if !slices.Equal(operations, c.wantOperations) {
				t.Errorf("the spans are %v, want %v", operations, c.wantOperations)
			}
		})
	}
}

// TestSampling checks that the backend follows the gate's decision about a trace.
func TestSampling(t *testing.T) {
	dropping, keeping := newRecorder(t, sdk.WithSampler(sdk.NeverSample())), newRecorder(t)
	gate := testkit.StartNode(t, nil, nil, dropping.option())
	testkit.StartNode(t, testkit.Services{"Room": &room{inside: nothing}}, []*testkit.Node{gate}, keeping.option())
	p := gate.Connect()
	p.Expect("Room.Ask", "x", "x")
	p.Expect("Room.Ask", "y", "y") // the spans of the request before have ended
	if n := len(keeping.exporter.GetSpans()); n != 0 {
		t.Errorf("the backend has %d spans of a trace that the gate does not sample, want none", n)
	}
}

// TestHeader checks that the header is a W3C traceparent with its tracestate, and that
// Extract ignores every other text.
func TestHeader(t *testing.T) {
	tracer := nanootel.New(nanootel.Options{})
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, header := range []string{parent, parent + " vendor=t61rcWkgMzE,other=a b"} {
		if got := tracer.Inject(tracer.Extract(t.Context(), header)); got != header {
			t.Errorf("Inject(Extract(%q)) = %q", header, got)
		}
	}
	long := parent + " vendor=" + strings.Repeat("x", trace.MaxHeader)
	if got := tracer.Inject(tracer.Extract(t.Context(), long)); len(got) > trace.MaxHeader {
		t.Errorf("Inject returns %d bytes, want at most %d", len(got), trace.MaxHeader)
	}
	for _, header := range []string{"", " ", "x", parent[:54], strings.ToUpper(parent), "00-" + strings.Repeat("0", 32) + parent[35:]} {
		if ctx := tracer.Extract(t.Context(), header); oteltrace.SpanContextFromContext(ctx).IsValid() {
			t.Errorf("Extract(%q) has a span, want none", header)
		}
	}
	if got := tracer.Inject(t.Context()); got != "" {
		t.Errorf("Inject without a span = %q, want none", got)
	}
}

// BenchmarkRequest measures a request from a client over a gate to a backend and back. Its
// allocations are those of all three.
func BenchmarkRequest(b *testing.B) {
	for name, opts := range map[string][]nano.Option{
		"off": nil,
		"on":  {nano.WithTracer(nanootel.New(nanootel.Options{Provider: sdk.NewTracerProvider()}))},
	} {
		b.Run(name, func(b *testing.B) {
			gate, _ := testkit.StartPair(b, testkit.Services{"Room": &room{inside: nothing}}, opts...)
			p := gate.Connect()
			b.ReportAllocs()
			for b.Loop() {
				p.Expect("Room.Ask", "x", "x")
			}
		})
	}
}
