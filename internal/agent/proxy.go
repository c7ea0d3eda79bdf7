package agent

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pires/go-proxyproto"
)

// trusts reports whether the address is that of a trusted proxy.
func (h *Hub) trusts(addr net.Addr) bool {
	if len(h.Limits.Trusted) == 0 {
		return false
	}
	ip, ok := addrOf(addr)
	return ok && h.trustsIP(ip)
}

func (h *Hub) trustsIP(ip netip.Addr) bool {
	return slices.ContainsFunc(h.Limits.Trusted, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// forwardedFor returns the client's address as trusted proxies report it, or peer if they
// report none. It reads the first header that is present of X-Forwarded-For, Forwarded
// (RFC 7239) and X-Real-IP. It reads from the right up to the first address that is not a
// trusted proxy.
func (h *Hub) forwardedFor(peer net.Addr, r *http.Request) net.Addr {
	if !h.trusts(peer) {
		return peer
	}
	found := peer
	for _, hop := range slices.Backward(hops(r.Header)) {
		hop = strings.TrimSpace(hop)
		ip, err := netip.ParseAddr(strings.Trim(hop, "[]")) // brackets are for a port, but some write them without one
		port := uint16(0)
		if ap, e := netip.ParseAddrPort(hop); e == nil {
			ip, port, err = ap.Addr(), ap.Port(), nil
		}
		if err != nil {
			return found
		}
		ip = ip.Unmap().WithZone("")
		found = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, port))
		if !h.trustsIP(ip) {
			return found
		}
	}
	return found
}

// hops returns the addresses that the proxies of a request have recorded, the client's
// first.
func hops(h http.Header) []string {
	if values := h.Values("X-Forwarded-For"); len(values) > 0 {
		return strings.Split(strings.Join(values, ","), ",")
	}
	if values := h.Values("Forwarded"); len(values) > 0 {
		var list []string
		for element := range strings.SplitSeq(strings.Join(values, ","), ",") {
			list = append(list, forwardedNode(element))
		}
		return list
	}
	return h.Values("X-Real-IP")
}

// forwardedNode returns the node of the parameter "for" of an element of Forwarded, such as
// for="[2001:db8::1]:4711";proto=https. It is empty if there is none.
func forwardedNode(element string) string {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "for") {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// proxied reads a header of the PROXY protocol, version 1 or 2, which a trusted proxy may
// send before the client's data. It returns the client's address, and the bytes after the
// header that were already read. The format is specified in
// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. A connection that ends
// without a byte returns io.EOF.
func proxied(conn *steadyConn, timeout time.Duration) (remote net.Addr, rest []byte, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(conn, proxyBuffer)
	there, err := awaitHeader(r)
	if err != nil {
		return nil, nil, err
	}
	remote = conn.RemoteAddr() // a proxy may connect itself for a health check
	if there {
		header, err := proxyproto.Read(r)
		if err != nil {
			return nil, nil, err
		}
		if !header.Command.IsLocal() && header.SourceAddr != nil {
			remote = header.SourceAddr
		}
	}
	rest, err = r.Peek(r.Buffered())
	if err != nil {
		return nil, nil, err
	}
	return remote, slices.Clone(rest), conn.SetReadDeadline(time.Time{})
}

const (
	proxyBuffer = 4 << 10                  // fits the largest accepted header of the PROXY protocol
	proxyLine   = 107                      // maximum length of a version 1 header in bytes
	proxyFirst  = "PROXY"                  // start of a version 1 header
	proxySecond = "\r\n\r\n\x00\r\nQUIT\n" // start of a version 2 header
)

// awaitHeader waits until r holds a whole header of version 1 or the start of a header of
// version 2. The parser needs a version 1 header in one piece. awaitHeader reports
// whether there is a header, and returns as soon as that is known.
func awaitHeader(r *bufio.Reader) (bool, error) {
	for n := 1; ; n = max(n+1, r.Buffered()) {
		b, err := r.Peek(min(n, proxyLine))
		switch {
		case err == io.EOF && len(b) > 0:
			return false, io.ErrUnexpectedEOF
		case err != nil:
			return false, err
		case begins(b, proxyFirst):
			if bytes.IndexByte(b, '\n') >= 0 || len(b) == proxyLine {
				return true, nil
			}
		case begins(b, proxySecond):
			if len(b) >= len(proxySecond) {
				return true, nil
			}
		default:
			return false, nil
		}
	}
}

// begins reports whether the shorter of b and s is a prefix of the other.
func begins(b []byte, s string) bool {
	n := min(len(b), len(s))
	return string(b[:n]) == s[:n]
}

// behind is a connection whose first bytes were already read.
type behind struct {
	net.Conn
	rest []byte
}

func (b *behind) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}
