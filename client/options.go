package client

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
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

// Option configures a client.
type Option func(*options)

type options struct {
	serializer     serialize.Serializer
	user           func(context.Context) (any, error)
	dial           func(ctx context.Context, network, addr string) (net.Conn, error)
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
	onDisconnect   func(error)
	onConnect      func(*Client)
	onReconnect    func(*Client)
	logger         *slog.Logger
}

func newOptions(opts []Option) options {
	o := options{
		dial:           new(net.Dialer).DialContext,
		dialTimeout:    defaultDialTimeout,
		requestTimeout: defaultRequestTimeout,
		packetLimit:    packet.MaxLength,
		sendBuffer:     defaultSendBuffer,
		pushBuffer:     defaultPushBuffer,
		handlers:       map[string]func(*Message){},
		logger:         slog.New(slog.DiscardHandler),
	}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// WithSerializer sets the codec of payloads. By default it is the one that the server names in the handshake, JSON
// or protobuf; where the server names none, protobuf, the default of servers.
func WithSerializer(s serialize.Serializer) Option {
	return func(o *options) { o.serializer = s }
}

// WithUser sends user, encoded as JSON, as the user data of the handshake: what the server's handshake validator
// is given. json.RawMessage is sent as it is.
func WithUser(user any) Option {
	return WithUserFunc(func(context.Context) (any, error) { return user, nil })
}

// WithUserFunc asks fn for the user data before every handshake: a token that runs out is fetched anew when the client
// reconnects. The context is that of the attempt to connect, and an error fails it.
func WithUserFunc(fn func(context.Context) (any, error)) Option {
	return func(o *options) { o.user = fn }
}

// WithDialer makes Dial open its connections with dial: through a proxy, from a source address, or in memory.
// network is "tcp"; TLS and WebSocket are spoken over what it returns.
func WithDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return func(o *options) { o.dial = dial }
}

// WithTLSConfig sets the configuration for tls:// and wss://: roots, client certificates. The client copies it, and
// fills in ServerName from the address where it is empty. It does not turn TLS on.
func WithTLSConfig(config *tls.Config) Option {
	return func(o *options) { o.tls = config }
}

// WithHeader adds header to the request that opens a WebSocket: Origin, cookies, authorisation.
func WithHeader(header http.Header) Option {
	return func(o *options) { o.header = header }
}

// WithDialTimeout bounds connecting: dialing, TLS, the WebSocket upgrade and the handshake together, for every try.
// 10 s by default, and with 0 or less.
func WithDialTimeout(d time.Duration) Option {
	return func(o *options) { o.dialTimeout = positive(d, defaultDialTimeout) }
}

// WithRequestTimeout bounds requests whose context has no deadline, and how long Notify waits for room. 10 s by
// default; 0 or less: they may wait until the client ends.
func WithRequestTimeout(d time.Duration) Option {
	return func(o *options) { o.requestTimeout = d }
}

// WithHeartbeat sends a heartbeat every d instead of at the interval that the server names; how long the server may
// be silent follows the server's interval all the same. 0 is the server's interval, as by default; below 0, none is sent, and
// a silent server is waited for.
func WithHeartbeat(d time.Duration) Option {
	return func(o *options) { o.heartbeat = d }
}

// WithPacketLimit sets the largest packet body, in bytes, that is taken from the server; a larger one ends the
// connection with ErrProtocol before it is read. By default, and with 0 or less, everything that the protocol can carry
// is taken, 16 MiB less one byte; memory is used as the bytes arrive, never on the strength of an announcement. What the
// client sends is limited by the server alone, to 64 KiB unless it was configured otherwise.
func WithPacketLimit(bytes int) Option {
	return func(o *options) { o.packetLimit = positive(bytes, packet.MaxLength) }
}

// WithSendBuffer sets how many bytes may wait to be sent before Request and Notify wait for room. 1 MiB by default, and
// with 0 or less. The message that passes the bound still goes in, and as much again may be on its way to the network.
func WithSendBuffer(bytes int) Option {
	return func(o *options) { o.sendBuffer = positive(bytes, defaultSendBuffer) }
}

// WithPushBuffer sets how many bytes of pushes may wait for their handlers, some overhead included, before the
// connection ends with ErrSlowHandlers. 16 MiB by default, and with 0 or less. The client never stops reading instead: a
// handler may wait for an answer that comes behind the pushes.
func WithPushBuffer(bytes int) Option {
	return func(o *options) { o.pushBuffer = positive(bytes, defaultPushBuffer) }
}

// Hook sees a message and may change its Data, in place or by another slice, or refuse it with an error. It must
// not call Request or Close.
type Hook func(*Message) error

// WithOutbound adds hooks that see every request and notify after its payload was encoded: they sign or encrypt it. They
// run in order on the goroutines that send, so several at a time, and messages may go out in another order than
// hooks ran: state that both sides share, such as a nonce, has to travel in the message. An error is returned to the
// sender, and nothing is sent.
func WithOutbound(hooks ...Hook) Option {
	return func(o *options) { o.outbound = append(o.outbound, hooks...) }
}

// WithInbound adds hooks that see every response and push before its payload is decoded, error responses included.
// They run one at a time in the order of arrival, on the goroutine that reads, and must not block. When one returns
// an error, the request fails with it, or the push is dropped and logged.
func WithInbound(hooks ...Hook) Option {
	return func(o *options) { o.inbound = append(o.inbound, hooks...) }
}

// WithHandler is On before there is a connection: nothing that the server pushes first is missed.
func WithHandler(route string, fn func(*Message)) Option {
	return func(o *options) { o.handlers[route] = fn }
}

// WithFallback sets the handler of the pushes that no other handler takes.
func WithFallback(fn func(*Message)) Option {
	return func(o *options) { o.fallback = fn }
}

// WithReconnect makes a client of Dial connect anew, in the way that r says, whenever its connection is lost. Handlers
// stay, ids of requests go on, and requests that were waiting fail with ErrDisconnected. For the server it is a new
// session: whatever the player was logged in to or had joined has to be done again, best in WithOnReconnect.
func WithReconnect(r Reconnect) Option {
	return func(o *options) { o.reconnect = r.withDefaults() }
}

// WithOnDisconnect sets a hook that runs, as handlers do, when an established connection was lost, after the last of
// its pushes, with the reason. Close does not run it. Where Client.Err is not nil by then, the client has ended.
func WithOnDisconnect(fn func(err error)) Option {
	return func(o *options) { o.onDisconnect = fn }
}

// WithOnConnect sets a hook that runs, as handlers do, when the first connection is there, before its first push. Dial
// and New may return before it has run.
func WithOnConnect(fn func(*Client)) Option {
	return func(o *options) { o.onConnect = fn }
}

// WithOnReconnect sets a hook that runs, as handlers do, when there is a connection again, before the first of its
// pushes. Calls from other goroutines may go out before it.
func WithOnReconnect(fn func(*Client)) Option {
	return func(o *options) { o.onReconnect = fn }
}

// WithLogger makes the client log: at level Debug what was dropped because nobody wanted it, at Info connections made
// and lost, at Warn what a server sent that could not be used. By default it logs nothing.
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
