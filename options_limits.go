package nano

import (
	"net/netip"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

// SlowClientPolicy says what happens to a message that does not fit the client's write
// buffer.
type SlowClientPolicy int

const (
	// CloseSlowClient closes the session with session.ErrSlowClient. It is the default.
	CloseSlowClient SlowClientPolicy = iota
	// RefusePush keeps the session open, drops the message and returns
	// session.ErrBufferExceed to the sender.
	RefusePush
)

// above records a fault and reports false unless d is above 0.
func (o *options) above(name string, d time.Duration) bool {
	if d <= 0 {
		o.fault("%s: want a time above 0, got %v", name, d)
		return false
	}
	return true
}

// within records a fault and reports false unless n is from low to high; high 0 is no
// upper bound.
func (o *options) within(name, unit string, n, low, high int) bool {
	switch {
	case n >= low && (high == 0 || n <= high):
		return true
	case high == 0:
		o.fault("%s: want %d or more %s, got %d", name, low, unit, n)
	default:
		o.fault("%s: want %d to %d %s, got %d", name, low, high, unit, n)
	}
	return false
}

// WithHeartbeatInterval sets how often the server sends heartbeats: 30 s by default, any
// time above 0. The handshake tells clients the interval in whole seconds, 1 at least. The
// server closes a client that sends nothing for two and a half to three intervals, with
// [session.ErrHeartbeat]; it counts in the longer of the two intervals.
func WithHeartbeatInterval(d time.Duration) Option {
	return func(o *options) {
		if o.above("WithHeartbeatInterval", d) {
			o.heartbeat = d
		}
	}
}

// WithHandshakeTimeout sets how long a client may take from connecting to its handshake's
// ack, including TLS and the WebSocket upgrade: 10 s by default, any time above 0.
func WithHandshakeTimeout(d time.Duration) Option {
	return func(o *options) {
		if o.above("WithHandshakeTimeout", d) {
			o.handshakeTimeout = d
		}
	}
}

// WithShutdownTimeout sets how long [Listen] takes to shut down at most: 10 s by default,
// any time above 0. The last tenth of it, 1 s at most, is kept for kicking clients whose
// messages have not run.
func WithShutdownTimeout(d time.Duration) Option {
	return func(o *options) {
		if o.above("WithShutdownTimeout", d) {
			o.shutdownTimeout = d
		}
	}
}

// WithTimerPrecision makes timers fire at multiples of d only, 1 ms or more. By default
// timers fire when they are due, and the server polls condition timers every second.
func WithTimerPrecision(d time.Duration) Option {
	return func(o *options) {
		if d < time.Millisecond {
			o.fault("WithTimerPrecision: want 1 ms or more, got %v", d)
			return
		}
		o.timerPrecision = d
	}
}

// WithSlowHandler sets how long a handler may hold the logic goroutine before the server
// logs it: 100 ms by default; 0 turns the log off. After 5 s the server logs the
// handler's stack too.
func WithSlowHandler(d time.Duration) Option {
	return func(o *options) {
		if d < 0 {
			o.fault("WithSlowHandler: want a time of 0 or more, got %v", d)
			return
		}
		o.slowHandler = d
	}
}

// WithMaxPacketSize sets the largest packet body that a client may send, in bytes: 65,536
// by default, 1 to 16,777,215. The server closes the connection of a client that
// announces more, before it reads the body.
func WithMaxPacketSize(n int) Option {
	return func(o *options) {
		if o.within("WithMaxPacketSize", "bytes", n, 1, packet.MaxLength) {
			o.maxPacket = n
		}
	}
}

// WithMaxPending sets how many messages of a session may wait for the logic goroutine:
// 256 by default, 1 or more. Their payloads may have as many bytes as four packets of the
// largest size. At either limit the server stops reading from that client until half of
// both is free.
func WithMaxPending(n int) Option {
	return func(o *options) {
		if o.within("WithMaxPending", "messages", n, 1, 0) {
			o.maxPending = n
		}
	}
}

// WithWriteBuffer sets how many bytes the server queues for a client that reads slowly: 1
// MiB by default, 1 or more. The policy says what happens to a message that does not fit.
// The default policy is CloseSlowClient.
func WithWriteBuffer(bytes int, policy SlowClientPolicy) Option {
	return func(o *options) {
		if policy != CloseSlowClient && policy != RefusePush {
			o.fault("WithWriteBuffer: want CloseSlowClient or RefusePush, got %d", policy)
		}
		if o.within("WithWriteBuffer", "bytes", bytes, 1, 0) {
			o.maxQueued, o.refuseAtFull = bytes, policy == RefusePush
		}
	}
}

// WithMaxRouteLength sets the longest uncompressed route that a client may send, in
// bytes: 255 by default, which is the longest that the protocol allows. A request with a
// longer route is answered with NANO-400.
func WithMaxRouteLength(n int) Option {
	return func(o *options) {
		if o.within("WithMaxRouteLength", "bytes", n, 1, message.MaxRouteLength) {
			o.limits.MaxRoute = n
		}
	}
}

// WithMaxHandshakeSize sets the largest JSON that a client may send with its handshake,
// in bytes: 16,384 by default, 0 or more. The server refuses a larger handshake with code
// 500.
func WithMaxHandshakeSize(n int) Option {
	return func(o *options) {
		if o.within("WithMaxHandshakeSize", "bytes", n, 0, 0) {
			o.limits.MaxHandshake = n
		}
	}
}

// WithMessageRate limits each session to perSecond messages a second, with bursts of the
// given size. Heartbeats, pings, pongs and empty frames count too. The server answers a
// request over the rate with NANO-429 and drops a notify. The default is no limit.
func WithMessageRate(perSecond float64, burst int) Option {
	return func(o *options) {
		if !(perSecond > 0) || burst < 1 {
			o.fault("WithMessageRate: want more than 0 messages a second and a burst of 1 or more, got %v and %d", perSecond, burst)
			return
		}
		o.limits.MessageRate, o.limits.MessageBurst = perSecond, burst
	}
}

// WithByteRate limits each session to perSecond bytes of payload a second, with bursts of
// the given size. The burst is also the largest message that passes. Heartbeats, pings
// and pongs count with their payload, or with 4 bytes if they have none. The server
// refuses what is over the rate as with [WithMessageRate]. The default is no limit.
func WithByteRate(perSecond float64, burst int) Option {
	return func(o *options) {
		if !(perSecond > 0) || burst < 1 {
			o.fault("WithByteRate: want more than 0 bytes a second and a burst of 1 or more, got %v and %d", perSecond, burst)
			return
		}
		o.limits.ByteRate, o.limits.ByteBurst = perSecond, burst
	}
}

// WithMaxAbuse sets after how many messages over its rate a client is kicked and closed
// with [session.ErrLimit]: 100 by default; 0 turns it off. Ten seconds within the rate
// reset the count.
func WithMaxAbuse(n int) Option {
	return func(o *options) {
		if o.within("WithMaxAbuse", "messages", n, 0, 0) {
			o.limits.MaxAbuse = n
		}
	}
}

// WithMaxConnections sets how many connections the server holds at once, 1 or more,
// including those that are not a WebSocket yet. The server tells a client over the limit,
// if it can, and closes the connection. The default is no limit other than the file
// descriptors of the process.
func WithMaxConnections(n int) Option {
	return func(o *options) {
		if o.within("WithMaxConnections", "connections", n, 1, 0) {
			o.limits.MaxConnections = n
		}
	}
}

// WithMaxConnectionsPerAddress sets how many connections one address may hold at once, 1
// or more. An IPv6 address counts as its /64 network. The default is no limit. For a
// server behind a proxy, see [WithTrustedProxies].
func WithMaxConnectionsPerAddress(n int) Option {
	return func(o *options) {
		if o.within("WithMaxConnectionsPerAddress", "connections", n, 1, 0) {
			o.limits.MaxPerAddress = n
		}
	}
}

// WithTrustedProxies lists networks, such as "10.0.0.0/8" or "192.0.2.7", whose proxies
// the server believes about a client's address. A TCP connection from such a proxy may
// begin with a header of the PROXY protocol, version 1 or 2, before any TLS. A WebSocket
// upgrade through it may have the header X-Forwarded-For. [session.Session.RemoteAddr]
// and all limits then use the client's own address.
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
