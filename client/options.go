package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/serialize"
)

const (
	defaultRequestTimeout = 10 * time.Second
	defaultDialTimeout    = 10 * time.Second
	defaultSendBuffer     = 1 << 20
	defaultPushBuffer     = 16 << 20
)

// Option configures a client. [Dial] and [New] return the bad values of all options, joined with
// errors.Join.
type Option func(*options)

type options struct {
	serializer     serialize.Serializer
	user           func(context.Context) (any, error)
	dial           func(ctx context.Context, network, addr string) (net.Conn, error)
	proxy          func(*http.Request) (*url.URL, error) // proxy of WebSocket connections
	tls            *tls.Config
	header         http.Header
	dialTimeout    time.Duration
	requestTimeout time.Duration
	heartbeat      time.Duration
	packetLimit    int
	sendBuffer     int
	pushBuffer     int
	outbound       []Hook
	inbound        []Hook
	handlers       map[string]func(*Message)
	fallback       func(*Message)
	reconnect      *Reconnect
	resume         bool
	resumeBuffer   int
	offline        Offline
	onStatus       func(*Client, Status)
	onDisconnect   func(error)
	onConnect      func(*Client)
	onReconnect    func(*Client)
	logger         *slog.Logger
	clock          func() time.Time // the wall clock; tests replace it
	faults         []error          // bad values
}

func newOptions(opts []Option) options {
	o := options{
		dial:           new(net.Dialer).DialContext,
		proxy:          http.ProxyFromEnvironment,
		dialTimeout:    defaultDialTimeout,
		requestTimeout: defaultRequestTimeout,
		packetLimit:    packet.MaxLength,
		sendBuffer:     defaultSendBuffer,
		pushBuffer:     defaultPushBuffer,
		resumeBuffer:   defaultResumeBuffer,
		handlers:       map[string]func(*Message){},
		logger:         slog.New(slog.DiscardHandler),
		clock:          func() time.Time { return time.Now().Round(0) }, // without the monotonic clock
	}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	var r Reconnect
	switch {
	case o.reconnect != nil:
		r = *o.reconnect
	case !o.resume:
		return o
	}
	if o.resume {
		o.reconnect = r.withDefaults(resumeMin, resumeMax)
	} else {
		o.reconnect = r.withDefaults(reconnectMin, reconnectMax)
	}
	return o
}

// fault records a bad value. The text begins with the option's name and says what it wants.
func (o *options) fault(format string, args ...any) {
	o.faults = append(o.faults, fmt.Errorf("client: "+format, args...))
}

// WithSerializer sets the serializer of payloads. By default it is the one that the server names
// in the handshake, JSON or protobuf. If the server names none it is protobuf, the default of
// servers.
func WithSerializer(s serialize.Serializer) Option {
	return func(o *options) { o.serializer = s }
}

// WithUser sends user, encoded as JSON, as the user data of the handshake, which the server's
// handshake validator gets. A json.RawMessage is sent as it is.
func WithUser(user any) Option {
	return WithUserFunc(func(context.Context) (any, error) { return user, nil })
}

// WithUserFunc calls fn for the user data before every handshake, so that fn can fetch a new
// token when the client reconnects. The context is that of the attempt to connect. If fn returns
// an error, the attempt fails with it.
func WithUserFunc(fn func(context.Context) (any, error)) Option {
	return func(o *options) { o.user = fn }
}

// WithDialer makes [Dial] open its connections with dial: through a proxy, from a source address,
// or in memory. The network is "tcp"; TLS and WebSocket run over the returned connection.
func WithDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(o *options) {
		if dial == nil {
			o.fault("WithDialer: want a function, got nil")
			return
		}
		o.dial = dial
	}
}

// WithTLSConfig sets the configuration for tls:// and wss://, such as roots and client
// certificates. The client copies it, and sets an empty ServerName from the address. The option
// does not turn TLS on.
func WithTLSConfig(config *tls.Config) Option {
	return func(o *options) { o.tls = config }
}

// WithHeader adds header fields to the request that opens a WebSocket, such as Origin, Cookie or
// Authorization.
func WithHeader(header http.Header) Option {
	return func(o *options) { o.header = header }
}

// WithDialTimeout bounds each attempt to connect: dialing, TLS, the WebSocket upgrade and the
// handshake together. It is 10 s by default, and with 0 or less.
func WithDialTimeout(d time.Duration) Option {
	return func(o *options) { o.dialTimeout = positive(d, defaultDialTimeout) }
}

// WithRequestTimeout bounds requests whose context has no deadline, and how long
// [Client.Notify] waits for room. It is 10 s by default. With 0 or less they may wait until the
// client ends.
func WithRequestTimeout(d time.Duration) Option {
	return func(o *options) { o.requestTimeout = d }
}

// WithHeartbeat sends a heartbeat every d, and not at the interval that the server names. How
// long the server may be silent still follows from the server's interval. With 0, the default,
// the client uses the server's interval. Below 0 the client sends no heartbeats and waits for a
// silent server without limit.
func WithHeartbeat(d time.Duration) Option {
	return func(o *options) { o.heartbeat = d }
}

// WithPacketLimit sets the largest packet body, in bytes, that the client accepts. A larger one
// ends the connection with [ErrProtocol] before it is read. By default, and with 0 or less, the
// client accepts what the protocol can carry, 16 MiB less one byte. It uses memory as the bytes
// arrive, and not because a length was announced. The server limits the packets of the client, to
// 64 KiB by default; see [ErrTooLarge].
func WithPacketLimit(bytes int) Option {
	return func(o *options) { o.packetLimit = positive(bytes, packet.MaxLength) }
}

// WithSendBuffer sets how many bytes may wait to be sent before Request and Notify wait for room.
// It is 1 MiB by default, and with 0 or less. The message that passes the bound is still queued,
// and as many bytes again may be on their way to the network.
func WithSendBuffer(bytes int) Option {
	return func(o *options) { o.sendBuffer = positive(bytes, defaultSendBuffer) }
}

// WithPushBuffer sets how many bytes of pushes may wait for their handlers, with an overhead of
// 128 bytes each, before the connection ends with [ErrSlowHandlers]. It is 16 MiB by default, and
// with 0 or less. The client does not stop reading when the buffer is full, because a handler may
// wait for an answer that comes behind the pushes.
func WithPushBuffer(bytes int) Option {
	return func(o *options) { o.pushBuffer = positive(bytes, defaultPushBuffer) }
}

// Hook is called with a message. It may change the message's Data, in place or by another slice,
// or refuse the message with an error. It must not call Request or Close.
type Hook func(*Message) error

// WithOutbound adds hooks for every request and notify, which run after the payload was encoded: to
// sign or to encrypt it. They run in order, on the goroutine that sends, and may run concurrently
// for several messages. Messages may be sent in another order than their hooks ran. State that both
// sides share, such as a nonce, must therefore be part of the message. An error is returned to the
// sender, and nothing is sent.
func WithOutbound(hooks ...Hook) Option {
	return func(o *options) {
		if slices.ContainsFunc(hooks, func(h Hook) bool { return h == nil }) {
			o.fault("WithOutbound: want hooks, got nil")
			return
		}
		o.outbound = append(o.outbound, hooks...)
	}
}

// WithInbound adds hooks for every response, error responses included, and every push, which run
// before the payload is decoded. They run one at a time in the order of arrival, on the goroutine
// that reads, and must not block. If one returns an error, the request fails with it, or the push
// is dropped and logged.
func WithInbound(hooks ...Hook) Option {
	return func(o *options) {
		if slices.ContainsFunc(hooks, func(h Hook) bool { return h == nil }) {
			o.fault("WithInbound: want hooks, got nil")
			return
		}
		o.inbound = append(o.inbound, hooks...)
	}
}

// WithHandler sets the handler of a route, as [Client.On] does, before there is a connection, so
// that no push is missed.
func WithHandler(route string, fn func(*Message)) Option {
	return func(o *options) { o.handlers[route] = fn }
}

// WithFallback sets the handler of the pushes whose route has no handler.
func WithFallback(fn func(*Message)) Option {
	return func(o *options) { o.fallback = fn }
}

// WithReconnect makes a client of [Dial] connect again, as r says, when its connection is lost.
// Handlers stay, and requests that wait fail with [ErrDisconnected]. For the server the client has
// a new session: the program has to log in and join again, best in the hook of WithOnReconnect.
func WithReconnect(r Reconnect) Option {
	return func(o *options) {
		switch {
		case r.Min < 0 || r.Max < 0:
			o.fault("WithReconnect: want Min and Max of 0 or more, got %v and %v", r.Min, r.Max)
		case r.Max != 0 && r.Max < r.Min:
			o.fault("WithReconnect: want a Max of at least Min, got %v below %v", r.Max, r.Min)
		default:
			o.reconnect = &r
		}
	}
}

// WithOnDisconnect sets a hook that runs with the reason when a connection was lost, after the
// handlers of its last pushes and on their goroutine. [Client.Close] does not run it. If
// [Client.Err] is not nil then, the client has ended.
func WithOnDisconnect(fn func(err error)) Option {
	return func(o *options) { o.onDisconnect = fn }
}

// WithOnConnect sets a hook that runs on the goroutine of the handlers when the first handshake
// is complete, before the handler of the first push. [Dial] and [New] may return before it has
// run.
func WithOnConnect(fn func(*Client)) Option {
	return func(o *options) { o.onConnect = fn }
}

// WithOnReconnect sets a hook that runs on the goroutine of the handlers when a later handshake is
// complete, before the handler of its first push. Calls of other goroutines may go out before it
// runs. It does not run if the session was resumed; see [WithResume].
func WithOnReconnect(fn func(*Client)) Option {
	return func(o *options) { o.onReconnect = fn }
}

// WithLogger sets where the client logs. It logs dropped pushes and responses at level Debug,
// connections that were made or lost at Info, and messages of the server that cannot be used at
// Warn. By default the client logs nothing; nil changes nothing.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) {
		if logger != nil {
			o.logger = logger
		}
	}
}

func positive[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}
