package agent

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// Limits bounds the resources of unknown clients. Zero means no limit. The first two
// fields are always set.
type Limits struct {
	MaxRoute     int // bytes of a route that a client sends as text
	MaxHandshake int // bytes of a handshake body

	MessageRate  float64 // messages per second and per burst of one session
	MessageBurst int
	ByteRate     float64 // payload bytes per second and per burst of one session
	ByteBurst    int
	MaxAbuse     int // refused messages after which the client is kicked

	MaxConnections int // in total
	MaxPerAddress  int // per address; an IPv6 address counts as its /64 prefix

	Trusted []netip.Prefix // proxies whose reports of client addresses are trusted
}

// abuseForgiven is how long a client must stay within its rate before its refused
// messages are forgotten.
const abuseForgiven = 10 * time.Second

// meter holds the remaining rates of one session.
type meter struct {
	messages, bytes *rate.Limiter // nil for no limit
	refused         int           // refused messages without a gap of abuseForgiven
	last            time.Time     // time of the latest refused message

	// While the process is stopped, messages wait in the socket. These fields give the session
	// extra rate for them.
	wheel        *wheel
	lost         time.Duration // lost time of the wheel at the latest check
	credit       float64       // in seconds at the rate
	creditExpiry time.Time
}

// newMeter returns nil if no rate is limited. The clock must run while the meter is used.
func (h *Hub) newMeter() *meter {
	l := &h.Limits
	if l.MessageRate <= 0 && l.ByteRate <= 0 {
		return nil
	}
	m := &meter{wheel: &h.wheel, lost: h.wheel.lost()}
	if l.MessageRate > 0 {
		m.messages = rate.NewLimiter(rate.Limit(l.MessageRate), l.MessageBurst)
	}
	if l.ByteRate > 0 {
		m.bytes = rate.NewLimiter(rate.Limit(l.ByteRate), l.ByteBurst)
	}
	return m
}

var errRate = message.Errorf(message.CodeLimit, "too many messages")

// take accounts for one message of size bytes. abused reports that the client exceeded
// the abuse limit. A message without a payload costs as many bytes as a packet header.
func (m *meter) take(size, maxAbuse int) (ok, abused bool) {
	now := time.Now()
	if m.bytes != nil {
		size = max(size, min(packet.HeadLength, m.bytes.Burst()))
	}
	if (m.messages == nil || m.messages.AllowN(now, 1)) && (m.bytes == nil || m.bytes.AllowN(now, size)) {
		return true, false
	}
	if m.forgive(now, size) {
		return true, false
	}
	if now.Sub(m.last) > abuseForgiven {
		m.refused = 0
	}
	m.refused++
	m.last = now
	return false, maxAbuse > 0 && m.refused >= maxAbuse
}

// hasRoom reports whether take would accept n messages of size bytes together.
func (m *meter) hasRoom(n, size int) bool {
	return (m.messages == nil || m.messages.Tokens() >= float64(n)) &&
		(m.bytes == nil || m.bytes.Tokens() >= float64(max(size, n*min(packet.HeadLength, m.bytes.Burst()))))
}

// forgive reports whether a message over the rate was probably sent while the process was
// stopped. The client could send during that time.
func (m *meter) forgive(now time.Time, size int) bool {
	if lost := m.wheel.lost(); lost > m.lost {
		if now.After(m.creditExpiry) {
			m.credit = 0
		}
		m.credit += (lost - m.lost).Seconds()
		m.lost, m.creditExpiry = lost, now.Add(abuseForgiven)
	}
	var cost float64 // in seconds
	if m.messages != nil {
		cost = 1 / float64(m.messages.Limit())
	}
	if m.bytes != nil {
		cost = max(cost, float64(size)/float64(m.bytes.Limit()))
	}
	if cost > m.credit || now.After(m.creditExpiry) {
		return false
	}
	m.credit -= cost
	return true
}

// key returns the prefix under which MaxPerAddress counts a connection.
func key(addr net.Addr) (netip.Prefix, bool) {
	ip, ok := addrOf(addr)
	if !ok {
		return netip.Prefix{}, false
	}
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	return p, err == nil
}

// addrOf returns the IP address of a network address.
func addrOf(addr net.Addr) (netip.Addr, bool) {
	if addr == nil {
		return netip.Addr{}, false
	}
	if t, ok := addr.(*net.TCPAddr); ok {
		ip, ok := netip.AddrFromSlice(t.IP)
		return ip.Unmap().WithZone(""), ok
	}
	p, err := netip.ParseAddrPort(addr.String())
	return p.Addr().Unmap().WithZone(""), err == nil
}

// full returns the limit that a new connection would exceed, if any. The caller holds mu.
func (h *Hub) full(remote net.Addr) limit {
	if n := h.Limits.MaxConnections; n > 0 && h.connections >= n {
		return refusedConnections
	}
	if n := h.Limits.MaxPerAddress; n > 0 {
		if k, ok := key(remote); ok && h.addresses[k] >= n {
			return refusedAddress
		}
	}
	return noLimit
}

// maxExtra is the number of connections accepted beyond the limits. Each one stays until
// its handshake shows whether it resumes a session.
const maxExtra = 64

// admit returns the limit that a new connection would exceed, if any. If the server has
// resume, maxExtra connections beyond the limits may stay until their handshakes arrive. For
// such a connection, extra is true. The caller holds mu.
func (h *Hub) admit(remote net.Addr) (full limit, extra bool) {
	full = h.full(remote)
	if full != noLimit && h.Resume.Window > 0 && h.extra < maxExtra {
		return noLimit, true
	}
	return full, false
}

// decideExtra makes c count toward the limits, and reports whether c was beyond them.
func (c *Conn) decideExtra() bool {
	if !c.flags.clear(flagExtra) {
		return false
	}
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	c.hub.extra--
	return true
}

// occupy changes the count of connections by d, which is 1 or -1. The caller holds mu.
func (h *Hub) occupy(remote net.Addr, d int) {
	h.connections += d
	if h.Limits.MaxPerAddress <= 0 {
		return
	}
	if k, ok := key(remote); ok {
		if h.addresses[k] += d; h.addresses[k] <= 0 {
			delete(h.addresses, k)
		}
	}
}

// errAbuse closes the connection of a client that keeps exceeding its rate.
var errAbuse = &protocolError{reason: session.ErrLimit, code: wsframe.CodePolicyViolation, kick: "rate limit", err: errRate}
