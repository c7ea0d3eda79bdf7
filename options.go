package nano

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/agent"
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/mesh"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/snowflake"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/serialize/protobuf"
	"github.com/lonng/nano/session"
	"github.com/lonng/nano/trace"
)

// The defaults of a server.
const (
	defaultHeartbeat        = 30 * time.Second
	defaultHandshakeTimeout = 10 * time.Second
	defaultShutdownTimeout  = 10 * time.Second
	defaultSlowHandler      = 100 * time.Millisecond
	defaultMaxPending       = 256
	defaultMaxQueued        = 1 << 20
	defaultMaxHandshake     = 16 << 10
	defaultMaxAbuse         = 100
	defaultPath             = "/"
)

// Option configures a [Server]. Options apply in order: of two that set the same thing,
// the later one counts. [Server.Start], [Server.Serve] and [Listen] return the bad values
// of all options, joined with [errors.Join]; such a value is never replaced by another
// one.
type Option func(*options)

type options struct {
	scheduler  *scheduler.Scheduler
	components []component.CompWithOptions
	dictionary map[string]uint16
	serializer serialize.Serializer
	pipeline   pipeline.Pipeline
	validator  func(*session.Session, []byte) error
	userData   func(*session.Session, []byte) (any, error)

	heartbeat        time.Duration
	handshakeTimeout time.Duration
	shutdownTimeout  time.Duration
	timerPrecision   time.Duration
	slowHandler      time.Duration
	maxPacket        int
	maxPending       int
	maxQueued        int
	refuseAtFull     bool
	singleLogin      bool

	limits  agent.Limits
	resume  agent.Resume
	cluster clusterOptions
	web     webOptions
	listen  listenOptions

	tlsConfig *tls.Config
	tlsFiles  tlsFiles

	nodeID    uint64
	hasNodeID bool

	log   Logger
	slog  *slog.Logger
	debug bool

	tracer trace.Tracer // nil for none

	errs []error
}

func newOptions(opts []Option) *options {
	o := &options{
		serializer:       protobuf.NewSerializer(),
		heartbeat:        defaultHeartbeat,
		handshakeTimeout: defaultHandshakeTimeout,
		shutdownTimeout:  defaultShutdownTimeout,
		slowHandler:      defaultSlowHandler,
		maxPacket:        codec.DefaultLimit,
		maxPending:       defaultMaxPending,
		maxQueued:        defaultMaxQueued,
		web:              webOptions{path: defaultPath},
		limits: agent.Limits{
			MaxRoute:     message.MaxRouteLength,
			MaxHandshake: defaultMaxHandshake,
			MaxAbuse:     defaultMaxAbuse,
		},
		nodeID: 1 + rand.Uint64N(snowflake.MaxNode),
	}
	for _, f := range opts {
		if f != nil {
			f(o)
		}
	}
	return o
}

// fault records a bad value. The text begins with the option's name and says what it
// wants.
func (o *options) fault(format string, args ...any) {
	o.errs = append(o.errs, fmt.Errorf("nano: "+format, args...))
}

// check completes the options and returns every bad value among them, joined.
func (o *options) check() (*message.Dictionary, error) {
	errs := append([]error(nil), o.errs...)
	if err := o.checkTLS(); err != nil {
		errs = append(errs, err)
	}
	if addr := o.cluster.nodeAddr; addr != "" && !mesh.Dialable(addr) {
		errs = append(errs, fmt.Errorf("nano: WithNodeAddress: want host:port of one machine, got %q: %w", addr, cluster.ErrInvalidRegisterReq))
	}
	for _, route := range slices.Sorted(maps.Keys(o.dictionary)) {
		if !utf8.ValidString(route) {
			errs = append(errs, fmt.Errorf("nano: WithDictionary: want routes in UTF-8, got %q", route))
		}
	}
	for _, err := range message.CheckDictionary(o.dictionary) {
		errs = append(errs, fmt.Errorf("nano: WithDictionary: %w", err))
	}
	dictionary, _ := message.NewDictionary(o.dictionary) // its errors are those above
	return dictionary, errors.Join(errs...)
}

// WithComponents adds components to those that the server serves. It may be given several
// times.
func WithComponents(c *component.Components) Option {
	return func(o *options) {
		if c == nil {
			o.fault("WithComponents: want components, got nil")
			return
		}
		o.components = append(o.components, c.List()...)
	}
}

// WithSerializer sets the codec of payloads. The default is protobuf. Several goroutines
// use the serializer at once.
func WithSerializer(s serialize.Serializer) Option {
	return func(o *options) {
		if s == nil {
			o.fault("WithSerializer: want a serializer, got nil")
			return
		}
		o.serializer = s
	}
}

// WithDictionary replaces routes by two-byte codes on the wire, in both directions. The
// handshake tells clients the codes. A route is UTF-8 of 1 to 255 bytes, and no two
// routes share a code; several dictionaries add up. The default is none, because some
// existing clients cannot read compressed pushes.
func WithDictionary(codes map[string]uint16) Option {
	return func(o *options) {
		if o.dictionary == nil {
			o.dictionary = map[string]uint16{}
		}
		maps.Copy(o.dictionary, codes)
	}
}

// WithPipeline sets the hooks that see every message of a client. The default, and nil,
// is none.
func WithPipeline(p pipeline.Pipeline) Option { return func(o *options) { o.pipeline = p } }

// WithHandshakeValidator sets a function that accepts or refuses each client. It gets the
// session, to which it may attach data or a uid, and the JSON that the client sent, which
// may be empty. The default, and nil, accepts every client.
//
// An error refuses the client, which gets the error's text with code 500, or 501 if the
// error is [ErrOldClient]. A refused session still calls its [session.Session.OnClose]
// callbacks, so f may acquire what such a callback releases. Several goroutines call f at
// once. It may block until the time of [WithHandshakeTimeout] ends.
func WithHandshakeValidator(f func(s *session.Session, handshake []byte) error) Option {
	return func(o *options) { o.validator = f }
}

// WithHandshakeData sets a function whose result is the "user" part of the server's
// answer to the handshake, encoded as JSON. The server calls it after the validator and
// in the same way: an error refuses the client. The default, and nil, is no "user" part.
func WithHandshakeData(f func(s *session.Session, handshake []byte) (any, error)) Option {
	return func(o *options) { o.userData = f }
}

// WithSingleLogin limits a user to one open session. When a session with a completed
// handshake binds a uid, the server kicks the older sessions of that uid and closes them
// with [session.ErrReplaced]. A uid bound earlier, by the handshake's validator, takes
// effect when the handshake is complete.
func WithSingleLogin() Option { return func(o *options) { o.singleLogin = true } }

// WithScheduler makes the server run on s instead of a scheduler of its own.
// [Server.Shutdown] closes s. A test of a program that uses package functions such as
// [Invoke] or [scheduler.NewTimer] gives its server [scheduler.Default], which they use.
func WithScheduler(s *scheduler.Scheduler) Option {
	return func(o *options) {
		if s == nil {
			o.fault("WithScheduler: want a scheduler, got nil")
			return
		}
		o.scheduler = s
	}
}

// WithNodeID sets the number of this server in the ids of its sessions, from 0 to 65,535.
// No two nodes of a cluster may have the same number. The default is random, and a node
// that meets another one with the same number takes a new one.
func WithNodeID(id uint64) Option {
	return func(o *options) {
		if id > snowflake.MaxNode {
			o.fault("WithNodeID: want %d at most, got %d", snowflake.MaxNode, id)
			return
		}
		o.nodeID, o.hasNodeID = id, true
	}
}

// WithLogger sets where the server logs. The default, and nil, is [slog.Default]. See
// [Logger] for levels.
func WithLogger(l Logger) Option { return func(o *options) { o.log, o.slog = l, nil } }

// WithSlog sets where the server logs. The default, and nil, is [slog.Default].
func WithSlog(l *slog.Logger) Option { return func(o *options) { o.log, o.slog = nil, l } }

// WithTracer makes a span for each message that a handler serves or that a gate sends to
// another node. Calls of [session.Session.Call] and [Server.Call] have spans too. A
// handler with a context gets its span in it. Between nodes that have a tracer, frames
// carry the span, about 60 bytes each. The default, and nil, is no tracer: frames then
// carry no span. Package trace/otel makes a tracer for OpenTelemetry.
func WithTracer(t trace.Tracer) Option { return func(o *options) { o.tracer = t } }

// WithDebugMode logs every message at level debug, and sends clients the text of every
// error.
func WithDebugMode() Option { return func(o *options) { o.debug = true } }
