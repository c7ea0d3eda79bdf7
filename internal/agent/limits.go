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

// Limits bound what unknown clients may ask for. Zero is no limit, but for the first two,
// which are always set.
type Limits struct {
	MaxRoute     int // bytes of a route that a client may send spelled out
	MaxHandshake int // bytes of a handshake's body

	MessageRate  float64 // messages a second of one session, and how many at once
	MessageBurst int
	ByteRate     float64 // bytes of payload a second of one session, and how many at once
	ByteBurst    int
	MaxAbuse     int // messages over the rate after which the client is kicked

	MaxConnections int // in all
	MaxPerAddress  int // of one address; an IPv6 client is taken for its whole /64

	Trusted []netip.Prefix // proxies that are believed about where a client is
}

// abuseForgiven is how long a client must keep within its rate for what it did before to
// be forgotten.
const abuseForgiven = 10 * time.Second

// meter is what one session has left of its rates.
type meter struct {
	messages, bytes *rate.Limiter // nil for no limit
	refused         int           // without abuseForgiven between them
	last            time.Time     // when a message was refused

	// What the client may have sent beyond the burst while the process did not run.
	wheel        *wheel
	lost         time.Duration // that the wheel had lost when this was last asked for
	credit       float64       // in seconds at the rate
	creditExpiry time.Time
}

// newMeter returns nil where no rate is limited. The clock has to run while the meter is
// used.
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

// take asks for one message of size bytes; abused reports that the client went too far. A
// message without a payload costs as many bytes as the head of a packet.
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

// hasRoom reports whether take would accept a message of size bytes.
func (m *meter) hasRoom(size int) bool {
	return (m.messages == nil || m.messages.Tokens() >= 1) && (m.bytes == nil || m.bytes.Tokens() >= float64(max(size, packet.HeadLength)))
}

// forgive reports whether a message over the rate was probably sent while the process did
// not run: the client had that time to send it in.
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

// key is what connections are counted under for MaxPerAddress.
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

// full reports which limit a new connection passes, if any. The caller holds mu.
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

// maxExtra is how many connections are let in beyond the limits until their handshake
// says whether they go on with a session.
const maxExtra = 64

// admit is full for a server with resume: extra is true if a connection that passes a
// limit may still be let in, until its handshake has come. The caller holds mu.
func (h *Hub) admit(remote net.Addr) (full limit, extra bool) {
	full = h.full(remote)
	if full != noLimit && h.Resume.Window > 0 && h.extra < maxExtra {
		return noLimit, true
	}
	return full, false
}

// decideExtra ends the time in which c is beyond the limits, and reports whether it was.
func (c *Conn) decideExtra() bool {
	if !c.flags.clear(flagExtra) {
		return false
	}
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	c.hub.extra--
	return true
}

// occupy counts a connection, d is 1 or -1. The caller holds mu.
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

// errAbuse is why a client is kicked that goes on sending more than it may.
var errAbuse = &protocolError{reason: session.ErrLimit, code: wsframe.CodePolicyViolation, kick: "rate limit", err: errRate}
