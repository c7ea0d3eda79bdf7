package trace

import (
	"context"
	"time"
)

// Kind is the kind of an operation.
type Kind int

// The kinds of operations.
const (
	// Forward is the work of a gate for a client's message that another node serves. It ends
	// with the answer. Without an answer it ends when the message was sent.
	Forward Kind = iota + 1
	// Receive is the time of a forwarded message at the node that serves it, until its handler
	// has returned: it includes the time for which the message waits there.
	Receive
	// Handle is the call of a handler.
	Handle
	// Call is a Session.Call or a Server.Call, until its reply.
	Call
)

// String returns the name of the kind, such as "forward".
func (k Kind) String() string {
	switch k {
	case Forward:
		return "forward"
	case Receive:
		return "receive"
	case Handle:
		return "handle"
	case Call:
		return "call"
	}
	return "unknown"
}

// Operation describes a span.
type Operation struct {
	Kind    Kind      // the kind of the operation
	Route   string    // route of the message
	Session int64     // id of the session; 0 for none
	UID     int64     // user of the session; 0 for none
	Node    string    // address of this node; "" without a cluster
	Notify  bool      // the message has no answer
	Begun   time.Time // when it began; the zero time is now
}

// Tracer makes spans. Its methods may be called concurrently, and must not block.
type Tracer interface {
	// Start begins a span. If ctx has a span, that is its parent. The returned context is
	// ctx with the new span; a handler gets it.
	Start(ctx context.Context, op Operation) (context.Context, Span)
	// Inject returns the span of ctx as text that another node can extract; "" for none. The
	// text has at most [MaxHeader] bytes; a longer one is not sent.
	Inject(ctx context.Context) string
	// Extract returns ctx with the span of a text that Inject has returned at another node.
	// For any other text it returns ctx.
	Extract(ctx context.Context, header string) context.Context
}

// Span is a span that has begun.
type Span interface {
	// End ends the span. err is the error of the operation, nil if it succeeded. The server
	// calls End once, on any goroutine.
	End(err error)
}

// MaxHeader is the maximum number of bytes that one span adds to a frame.
const MaxHeader = 1024
