package nano

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pkg/errors"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/agent"
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/snowflake"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/serialize/protobuf"
	"github.com/lonng/nano/session"
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
	defaultWSPath           = "/"
)

// Option configures a Server. Options are applied in order; a fault of one is reported by Start, Serve or Listen.
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
	cluster clusterOptions

	websocket   bool
	wsPath      string
	sameOrigin  bool
	checkOrigin func(*http.Request) bool // nil for none
	tlsConfig   *tls.Config
	tlsFiles    [2]string

	nodeID    uint64
	hasNodeID bool

	log   Logger
	slog  *slog.Logger
	debug bool

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
		wsPath:           defaultWSPath,
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

func (o *options) fault(format string, args ...any) {
	o.errs = append(o.errs, fmt.Errorf(format, args...))
}

// WithComponents adds components to those the server offers.
func WithComponents(c *component.Components) Option {
	return func(o *options) {
		if c != nil {
			o.components = append(o.components, c.List()...)
		}
	}
}

// WithSerializer sets the codec of payloads. The default is protobuf.
func WithSerializer(s serialize.Serializer) Option {
	return func(o *options) {
		if s == nil {
			o.fault("WithSerializer: want a serializer, got nil")
			return
		}
		o.serializer = s
	}
}

// WithDictionary compresses routes: clients are told the codes in the handshake and use them both ways. A route has 1 to
// 255 bytes, and no two routes share a code. Some clients in the field cannot read compressed pushes, so there is
// none by default.
func WithDictionary(codes map[string]uint16) Option {
	return func(o *options) {
		if o.dictionary == nil {
			o.dictionary = map[string]uint16{}
		}
		for route, code := range codes {
			o.dictionary[route] = code
		}
	}
}

// WithPipeline sets the hooks that see every message. There are none by default.
func WithPipeline(p pipeline.Pipeline) Option { return func(o *options) { o.pipeline = p } }

// WithHandshakeValidator has f decide about every client: it is given the session, to which it may attach what it
// finds, and the JSON that the client sent, which may be empty. An error refuses the client, which is told its text,
// whatever error it is. f runs on the goroutines of connections, concurrently, and may block for as long as the handshake
// may take.
func WithHandshakeValidator(f func(s *session.Session, handshake []byte) error) Option {
	return func(o *options) { o.validator = f }
}

// WithHandshakeData has f make the "user" part of the answer to a client's handshake, which is encoded as JSON. It is
// called after the validator, in the same way; an error refuses the client likewise.
func WithHandshakeData(f func(s *session.Session, handshake []byte) (any, error)) Option {
	return func(o *options) { o.userData = f }
}

// WithHeartbeatInterval sets how often the server sends heartbeats: 30 s by default. A client that is silent for two
// and a half intervals, or up to three, is closed. Clients are told whole seconds, one at least.
func WithHeartbeatInterval(d time.Duration) Option {
	return func(o *options) {
		if d <= 0 {
			o.fault("WithHeartbeatInterval: want a time above 0, got %v", d)
			return
		}
		o.heartbeat = d
	}
}

// WithHandshakeTimeout sets how long a client may take from connecting to its ack, TLS and the upgrade of a
// WebSocket included: 10 s by default.
func WithHandshakeTimeout(d time.Duration) Option {
	return func(o *options) {
		if d <= 0 {
			o.fault("WithHandshakeTimeout: want a time above 0, got %v", d)
			return
		}
		o.handshakeTimeout = d
	}
}

// WithShutdownTimeout sets how long Listen takes for shutting down at the most: 10 s by default. The last tenth of it, a
// second at most, is for telling clients whose messages have not run.
func WithShutdownTimeout(d time.Duration) Option {
	return func(o *options) {
		if d <= 0 {
			o.fault("WithShutdownTimeout: want a time above 0, got %v", d)
			return
		}
		o.shutdownTimeout = d
	}
}

// WithMaxPacketSize sets the largest body of a packet, in bytes, that a client may send: 65,536 by default. A larger one
// closes the connection before its body is read.
func WithMaxPacketSize(n int) Option {
	return func(o *options) {
		if n < 1 || n > packet.MaxLength {
			o.fault("WithMaxPacketSize: want 1 to %d bytes, got %d", packet.MaxLength, n)
			return
		}
		o.maxPacket = n
	}
}

// WithMaxPending sets how many messages of a session may wait for the logic goroutine: 256 by default. Their payloads may
// have as many bytes as four packets of the largest size. Reading from that client pauses until half of both is free.
func WithMaxPending(n int) Option {
	return func(o *options) {
		if n < 1 {
			o.fault("WithMaxPending: want 1 message or more, got %d", n)
			return
		}
		o.maxPending = n
	}
}

// SlowClientPolicy is what happens when a message does not fit the bytes that may be queued to a client.
type SlowClientPolicy int

const (
	// CloseSlowClient closes the session with session.ErrSlowClient. It is the default.
	CloseSlowClient SlowClientPolicy = iota
	// RefusePush keeps the session, and returns session.ErrBufferExceed to whoever sends.
	RefusePush
)

// WithWriteBuffer sets how many bytes may be queued to a client that reads slowly, 1 MiB by default, and what happens
// to what does not fit.
func WithWriteBuffer(bytes int, policy SlowClientPolicy) Option {
	return func(o *options) {
		if bytes < 1 {
			o.fault("WithWriteBuffer: want 1 byte or more, got %d", bytes)
			return
		}
		o.maxQueued, o.refuseAtFull = bytes, policy == RefusePush
	}
}

// WithMaxRouteLength sets the longest route, in bytes, that a client may send spelled out: 255 by default, which is
// all that fits. A request with a longer one is answered with NANO-400.
func WithMaxRouteLength(n int) Option {
	return func(o *options) {
		if n < 1 || n > message.MaxRouteLength {
			o.fault("WithMaxRouteLength: want 1 to %d bytes, got %d", message.MaxRouteLength, n)
			return
		}
		o.limits.MaxRoute = n
	}
}

// WithMaxHandshakeSize sets the largest JSON, in bytes, that a client may send with its handshake: 16,384 by default. The
// handshake of a client that sends more is refused with code 500.
func WithMaxHandshakeSize(n int) Option {
	return func(o *options) {
		if n < 0 {
			o.fault("WithMaxHandshakeSize: want 0 bytes or more, got %d", n)
			return
		}
		o.limits.MaxHandshake = n
	}
}

// WithMessageRate lets each session send so many messages a second, and burst of them at once; heartbeats, pings, pongs and
// empty frames count too. A request over the rate is answered with NANO-429, a notify is dropped. There is no limit by
// default.
func WithMessageRate(perSecond float64, burst int) Option {
	return func(o *options) {
		if !(perSecond > 0) || burst < 1 {
			o.fault("WithMessageRate: want more than 0 messages a second and a burst of 1 or more, got %v and %d", perSecond, burst)
			return
		}
		o.limits.MessageRate, o.limits.MessageBurst = perSecond, burst
	}
}

// WithByteRate lets each session send so many bytes of payload a second, and burst of them at once; the burst is also
// the largest message that passes. The payload of heartbeats, pings and pongs counts too, and what bears none costs four
// bytes. What is over the rate is refused as by WithMessageRate. There is no limit by default.
func WithByteRate(perSecond float64, burst int) Option {
	return func(o *options) {
		if !(perSecond > 0) || burst < 1 {
			o.fault("WithByteRate: want more than 0 bytes a second and a burst of 1 or more, got %v and %d", perSecond, burst)
			return
		}
		o.limits.ByteRate, o.limits.ByteBurst = perSecond, burst
	}
}

// WithMaxAbuse sets at how many messages over its rate a client is kicked, and closed with session.ErrLimit: 100 by
// default, 0 for never. Ten seconds within the rate make up for all before.
func WithMaxAbuse(n int) Option {
	return func(o *options) { o.limits.MaxAbuse = max(n, 0) }
}

// WithMaxConnections sets how many connections the server holds at once, those that have yet to become a WebSocket
// included. A client over it is told so where it can be, and closed. There is no limit by default but that of the
// process's file descriptors.
func WithMaxConnections(n int) Option {
	return func(o *options) {
		if n < 1 {
			o.fault("WithMaxConnections: want 1 or more, got %d", n)
			return
		}
		o.limits.MaxConnections = n
	}
}

// WithMaxConnectionsPerAddress sets how many connections one address may hold at once; an IPv6 client is taken for
// its whole /64 network. There is no limit by default. Behind a proxy, see WithTrustedProxies.
func WithMaxConnectionsPerAddress(n int) Option {
	return func(o *options) {
		if n < 1 {
			o.fault("WithMaxConnectionsPerAddress: want 1 or more, got %d", n)
			return
		}
		o.limits.MaxPerAddress = n
	}
}

// WithTrustedProxies has the proxies in the given networks, such as "10.0.0.0/8" or "192.0.2.7", believed about where
// a client is: on TCP by the header of the PROXY protocol, version 1 or 2, with which they may begin a connection, before any
// TLS; on WebSocket by X-Forwarded-For. RemoteAddr of a session is then the client's own address, and limits go by it.
func WithTrustedProxies(networks ...string) Option {
	return func(o *options) {
		for _, n := range networks {
			p, err := netip.ParsePrefix(n)
			if err != nil {
				var ip netip.Addr
				if ip, err = netip.ParseAddr(n); err == nil {
					p = netip.PrefixFrom(ip, ip.BitLen())
				}
			}
			if p.Addr().Is4In6() { // addresses are compared as IPv4
				p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
			}
			if err != nil || !p.IsValid() {
				o.fault("WithTrustedProxies: want networks such as 10.0.0.0/8, got %q", n)
				continue
			}
			o.limits.Trusted = append(o.limits.Trusted, p)
		}
	}
}

// WithSingleLogin allows a user one session: when one binds a uid, older ones of that uid are kicked and closed with
// session.ErrReplaced.
func WithSingleLogin() Option { return func(o *options) { o.singleLogin = true } }

// WithScheduler has the server run on s instead of a scheduler of its own; Shutdown closes s. A test of a program that
// uses scheduler.NewTimer or nano.Invoke gives its server scheduler.Default(), which they serve.
func WithScheduler(s *scheduler.Scheduler) Option {
	return func(o *options) {
		if s == nil {
			o.fault("WithScheduler: want a scheduler, got nil")
			return
		}
		o.scheduler = s
	}
}

// WithTimerPrecision has timers fire at multiples of d only, 1 ms or more. By default they fire when they are due, and
// condition timers are polled every second.
func WithTimerPrecision(d time.Duration) Option {
	return func(o *options) {
		if d < time.Millisecond {
			o.fault("WithTimerPrecision: want 1 ms or more, got %v", d)
			return
		}
		o.timerPrecision = d
	}
}

// WithSlowHandler sets how long a handler may hold the logic goroutine before it is logged: 100 ms by default, 0 for never.
// Past five seconds its stack is logged too.
func WithSlowHandler(d time.Duration) Option {
	return func(o *options) { o.slowHandler = max(d, 0) }
}

// WithIsWebsocket has Listen accept WebSocket clients instead of TCP ones.
func WithIsWebsocket(enable bool) Option { return func(o *options) { o.websocket = enable } }

// WithWSPath sets the path at which WebSocket clients connect: "/" by default.
func WithWSPath(path string) Option {
	return func(o *options) { o.wsPath = "/" + strings.TrimPrefix(path, "/") }
}

// WithCheckOriginFunc has f decide whether a WebSocket client may connect from the page it is on; by default every
// origin may. f runs concurrently. With WithSameOrigin too, both have to agree.
func WithCheckOriginFunc(f func(*http.Request) bool) Option {
	return func(o *options) {
		if f != nil {
			o.checkOrigin = f
		}
	}
}

// WithSameOrigin lets WebSocket clients connect only from pages of the server's own host: the Origin header, where
// there is one, must name the host of the request.
func WithSameOrigin() Option { return func(o *options) { o.sameOrigin = true } }

// mayConnect reports whether a WebSocket client may connect from the page it is on.
func (o *options) mayConnect(r *http.Request) bool {
	if o.sameOrigin {
		if origin := r.Header.Values("Origin"); len(origin) > 0 {
			u, err := url.Parse(origin[0])
			if err != nil || !strings.EqualFold(u.Host, r.Host) {
				return false
			}
		}
	}
	return o.checkOrigin == nil || o.checkOrigin(r)
}

// WithTSLConfig serves clients over TLS, with the certificate and key in two PEM files. They are read when the
// server starts. The name is as programs know it.
func WithTSLConfig(certificate, key string) Option {
	return func(o *options) { o.tlsFiles = [2]string{certificate, key} }
}

// WithTLSConfig serves clients over TLS. With GetCertificate in c, certificates are renewed without a restart; with
// ClientAuth, clients show theirs.
func WithTLSConfig(c *tls.Config) Option {
	return func(o *options) {
		if c == nil {
			o.fault("WithTLSConfig: want a configuration, got nil")
			return
		}
		o.tlsConfig = c.Clone()
	}
}

// WithNodeId sets the node's number in the ids of sessions, from 0 to 65,535; no two nodes of a cluster have the
// same. By default it is chosen at random, and again when nodes meet that have the same.
func WithNodeId(id uint64) Option {
	return func(o *options) {
		if id > snowflake.MaxNode {
			o.fault("WithNodeId: want %d at most, got %d", snowflake.MaxNode, id)
			return
		}
		o.nodeID, o.hasNodeID = id, true
	}
}

// WithLogger has the server log to l. The default is slog.Default.
func WithLogger(l Logger) Option { return func(o *options) { o.log, o.slog = l, nil } }

// WithSlog has the server log to l.
func WithSlog(l *slog.Logger) Option { return func(o *options) { o.log, o.slog = nil, l } }

// WithDebugMode logs every message, and shows clients the text of every error.
func WithDebugMode() Option { return func(o *options) { o.debug = true } }

// check returns the faults of the options, and completes them.
func (o *options) check() (*message.Dictionary, error) {
	if len(o.errs) > 0 {
		return nil, errors.Wrap(o.errs[0], "nano: option")
	}
	if o.tlsFiles != [2]string{} {
		certificate, err := tls.LoadX509KeyPair(o.tlsFiles[0], o.tlsFiles[1])
		if err != nil {
			return nil, errors.Wrapf(err, "nano: WithTSLConfig(%s, %s)", o.tlsFiles[0], o.tlsFiles[1])
		}
		if o.tlsConfig == nil {
			o.tlsConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		o.tlsConfig.Certificates = append(slices.Clip(o.tlsConfig.Certificates), certificate)
	}
	if c := o.tlsConfig; c != nil && len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		return nil, errors.New("nano: WithTLSConfig: want Certificates, GetCertificate or GetConfigForClient, got none")
	}
	dictionary, err := message.NewDictionary(o.dictionary)
	return dictionary, errors.Wrap(err, "nano: WithDictionary")
}
