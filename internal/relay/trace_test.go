package relay

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
	"github.com/lonng/nano/trace"
)

// spans is a trace.Tracer that keeps a line for each event. A span is a number, and the
// header of a span is its number with a prefix.
type spans struct {
	prefix string

	mu    sync.Mutex
	count int      // mu guards it and lines
	lines []string // "start KIND ROUTE in PARENT", "end NUMBER ERROR"
}

type spanKey struct{}

func (s *spans) note(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *spans) Start(ctx context.Context, op trace.Operation) (context.Context, trace.Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	parent, _ := ctx.Value(spanKey{}).(string)
	s.note("start %v %s %d %q in %q", op.Kind, op.Route, op.Session, op.Node, parent)
	return context.WithValue(ctx, spanKey{}, fmt.Sprint(s.prefix, s.count)), oneSpan{s, s.count}
}

func (s *spans) Inject(ctx context.Context) string {
	header, _ := ctx.Value(spanKey{}).(string)
	return header
}

func (s *spans) Extract(ctx context.Context, header string) context.Context {
	return context.WithValue(ctx, spanKey{}, header)
}

type oneSpan struct {
	s      *spans
	number int
}

func (o oneSpan) End(err error) {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	o.s.note("end %d %v", o.number, err)
}

// has waits for exactly these lines, in any order, and forgets them.
func (s *spans) has(sc *scene, want ...string) {
	sc.t.Helper()
	slices.Sort(want)
	var got []string
	sc.eventually(fmt.Sprintf("the spans are %q", want), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		got = slices.Sorted(slices.Values(s.lines))
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		sc.t.Fatalf("the spans are\n%q, want\n%q", got, want)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = nil
}

// withSpans makes the node under test make spans, and the second node too if both is true.
func withSpans(s *spans, both bool) func(*Config) {
	return func(c *Config) {
		c.Tracer, c.Node.Traces = s, both
		c.Dispatcher.Tracer, c.Dispatcher.Node = s, func() string { return "here" }
	}
}

// TestNoBytesWithoutSpans checks that frames carry no span unless both nodes make spans.
func TestNoBytesWithoutSpans(t *testing.T) {
	for _, c := range []struct {
		name      string
		configure func(*Config)
	}{{"neither", nil}, {"the sender alone", withSpans(&spans{}, false)}} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, c.configure)
			v := s.enter(7)
			for i, want := range [][]byte{hello(0), nil} {
				if err := s.Forward(v.session, &message.Message{Type: message.Request, ID: uint64(i + 1), Route: "Far.Do"}); err != nil {
					t.Fatal(err)
				}
				f := s.next()
				if f.Flags != 0 || len(want) == 0 != (len(f.Meta) == 0) || i == 0 && bytes.Contains(f.Meta, []byte("span")) {
					t.Errorf("request %d has the flags %d and the meta %q, want no span", i+1, f.Flags, f.Meta)
				}
			}
			called := make(chan error, 1)
			go func() { called <- s.CallNode(t.Context(), "Far.Do", nil, nil) }()
			f := s.next()
			rd := reader{b: f.Meta}
			if rd.uvarint(); f.Flags != 0 || len(rd.b) > 0 || rd.fault {
				t.Errorf("the call has the flags %d and the meta %q, want the time alone", f.Flags, f.Meta)
			}
			s.says(link.Frame{Kind: kindReturn, ID: f.ID})
			if err := <-called; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestForwardSpan checks the span of a request and of a notify at the gate.
func TestForwardSpan(t *testing.T) {
	made := &spans{prefix: "span "}
	s := newScene(t, withSpans(made, true))
	v := s.enter(7)
	forward := func(id uint64, want string) {
		t.Helper()
		m := &message.Message{Type: message.Request, ID: id, Route: "Far.Do", Data: []byte("x")}
		if err := s.Forward(v.session, m); err != nil {
			t.Fatal(err)
		}
		f := s.next()
		header, err := takeTrace(&f)
		if header != want || err != nil || string(f.Data) != "x" || f.Flags != 0 {
			t.Errorf("the frame is %+v with the span %q, %v, want %q", f, header, err, want)
		}
	}
	here := fmt.Sprintf("%q", s.Address())
	forward(1, "span 1")
	forward(2, "span 2")
	forward(0, "span 3") // a notify ends when it was sent
	made.has(s, `start forward Far.Do 7 `+here+` in ""`, `start forward Far.Do 7 `+here+` in ""`, `start forward Far.Do 7 `+here+` in ""`, "end 3 <nil>")
	e, _ := message.Errorf("FAR-1", "no").MarshalProtobuf()
	s.says(link.Frame{Kind: kindResponse, Session: 7, ID: 2}, link.Frame{Kind: kindResponse, Flags: flagError, Session: 7, ID: 1, Data: e},
		link.Frame{Kind: kindResponse, Session: 7, ID: 1}) // too late
	s.gets(v, "response 2 Far.Do ", "error 1 Far.Do FAR-1")
	made.has(s, "end 2 <nil>", "end 1 FAR-1: no")

	forward(4, "span 4")
	forward(5, "span 5")
	if err := v.end(session.ErrClientClosed); err != nil {
		t.Fatal(err)
	}
	made.has(s, `start forward Far.Do 7 `+here+` in ""`, `start forward Far.Do 7 `+here+` in ""`, "end 4 "+errUnanswered.Error(), "end 5 "+errUnanswered.Error())
	if err := s.Forward(v.session, &message.Message{Type: message.Request, ID: 6, Route: "Far.Do"}); err == nil {
		t.Error("a message of a closed session was forwarded")
	}
	made.has(s, `start forward Far.Do 7 `+here+` in ""`, "end 6 "+session.ErrBrokenPipe.Error())

	w := s.enter(8)
	if err := s.Forward(w.session, &message.Message{Type: message.Request, ID: 1, Route: "Far.Do"}); err != nil {
		t.Fatal(err)
	}
	s.next() // closed of session 7
	s.next()
	s.far.stop(t)
	made.has(s, `start forward Far.Do 8 `+here+` in ""`, "end 7 NANO-503: the node that serves Far.Do is down")
}

// TestLongHeader checks that a header over the limit is not sent.
func TestLongHeader(t *testing.T) {
	s := newScene(t, withSpans(&spans{prefix: strings.Repeat("x", trace.MaxHeader)}, true))
	v := s.enter(7)
	if err := s.Forward(v.session, &message.Message{Type: message.Request, ID: 1, Route: "Far.Do"}); err != nil {
		t.Fatal(err)
	}
	if f := s.next(); f.Flags != 0 || len(f.Meta) > 100 {
		t.Errorf("the frame has the flags %d and %d bytes of meta", f.Flags, len(f.Meta))
	}
}

// TestServedSpans checks the spans of messages and calls that come from another node, and
// that malformed spans are refused.
func TestServedSpans(t *testing.T) {
	made := &spans{}
	s := newScene(t, withSpans(made, true))
	s.shop.do = func(*session.Session, []byte) error { return nil }
	traced := func(f link.Frame, header string) link.Frame {
		f.Flags |= flagTraced
		f.Meta = append(appendString(nil, header), f.Meta...)
		return f
	}
	hears := func(kind link.Kind, id uint64, flags uint8) {
		t.Helper()
		f := s.next()
		for f.Kind == kindDone { // acknowledgments
			f = s.next()
		}
		if f.Kind != kind || f.ID != id || f.Flags != flags {
			t.Fatalf("the other node got %+v, want the kind %d, the id %d and the flags %d", f, kind, id, flags)
		}
	}
	s.says(traced(link.Frame{Kind: kindRequest, Session: 7, ID: 1, Route: "Shop.Echo", Meta: hello(3)}, "far"))
	hears(kindResponse, 1, 0)
	made.has(s, `start receive Shop.Echo 7 "here" in "far"`, `start handle Shop.Echo 7 "here" in "1"`, "end 1 <nil>", "end 2 <nil>")
	s.says(link.Frame{Kind: kindRequest, Session: 7, ID: 2, Route: "Shop.Echo"})
	hears(kindResponse, 2, 0)
	made.has(s, `start handle Shop.Echo 7 "here" in ""`, "end 3 <nil>")

	left := appendTime(nil, 1e6)
	s.says(traced(link.Frame{Kind: kindCall, ID: 1, Route: "Shop.Tell", Meta: left}, "call"))
	hears(kindReturn, 1, 0)
	made.has(s, `start handle Shop.Tell 0 "here" in "call"`, "end 4 <nil>")
	s.says(traced(link.Frame{Kind: kindCall, Session: 7, ID: 1 << 63, Route: "Shop.Echo", Meta: left}, "call"))
	hears(kindReturn, 1<<63, 0)
	made.has(s, `start handle Shop.Echo 7 "here" in "call"`, "end 5 <nil>")
	s.says(traced(link.Frame{Kind: kindNotify, Flags: flagByProgram, Session: 7, Route: "Shop.Tell"}, "rpc"))
	made.has(s, `start handle Shop.Tell 0 "here" in "rpc"`, "end 6 <nil>")

	for _, meta := range [][]byte{nil, {5}, {5, 'a'}, {0x80}, append(appendString(nil, strings.Repeat("x", trace.MaxHeader+1)), hello(3)...)} {
		s.says(link.Frame{Kind: kindRequest, Flags: flagTraced, Session: 7, ID: 9, Route: "Shop.Echo", Meta: meta})
		hears(kindResponse, 9, flagError)
		s.says(link.Frame{Kind: kindCall, Flags: flagTraced, ID: 9, Route: "Shop.Tell", Meta: meta})
	}
	s.says(link.Frame{Kind: kindRequest, Session: 7, ID: 10, Route: "Shop.Echo"})
	hears(kindResponse, 10, 0)
	made.has(s, `start handle Shop.Echo 7 "here" in ""`, "end 7 <nil>")
}

func FuzzTrace(f *testing.F) {
	f.Add(appendString(nil, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
	f.Add([]byte{5, 'a'})
	f.Add(append(appendString(nil, ""), 1, 2, 3))
	f.Fuzz(func(t *testing.T, meta []byte) {
		frame := link.Frame{Flags: flagTraced | flagToGate, Meta: meta}
		header, err := takeTrace(&frame)
		if frame.Flags != flagToGate || err == nil && (len(header) > trace.MaxHeader || !bytes.HasSuffix(meta, frame.Meta)) {
			t.Errorf("takeTrace(%x) = %q, %v, and leaves %+v", meta, header, err, frame)
		}
		if err == nil && !bytes.Equal(append(appendString(nil, header), frame.Meta...), meta) && header != "" && meta[0] < 0x80 {
			t.Errorf("takeTrace(%x) = %q and %x, which is another frame", meta, header, frame.Meta)
		}
	})
}
