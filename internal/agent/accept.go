package agent

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// Accept serves a connection on a new goroutine. The deadline of the connection's
// handshake starts now.
func (h *Hub) Accept(conn net.Conn) {
	if !h.trusts(conn.RemoteAddr()) {
		h.begin(conn, conn.RemoteAddr(), nil, h.HandshakeTimeout)
		return
	}
	h.mu.Lock()
	draining := h.draining
	full, extra := h.admit(nil)
	if !draining && full == noLimit {
		h.proxies[conn] = struct{}{}
		h.occupy(nil, 1)
		if extra {
			h.extra++
		}
		h.wg.Add(1)
	}
	h.mu.Unlock()
	switch {
	case draining:
		_ = conn.Close()
	case full != noLimit:
		h.refuse(full, conn.RemoteAddr())
		answer := h.hello.noRoom
		if h.TLS != nil {
			answer = nil // before TLS no answer can be sent
		}
		h.turnAway(conn, answer)
	default:
		go h.acceptProxied(conn, extra)
	}
}

// acceptProxied is Accept for a connection from a trusted proxy. The proxy's header
// precedes any TLS. Until the header arrives, the connection counts for no address. extra
// reports that the connection exceeds the limits.
func (h *Hub) acceptProxied(conn net.Conn, extra bool) {
	defer h.wg.Done()
	h.wheel.watch()
	began := h.wheel.passed()
	remote, rest, err := proxied(h.steady(conn), h.HandshakeTimeout)
	left := h.HandshakeTimeout + began - h.wheel.passed()
	h.wheel.unwatch()
	h.mu.Lock()
	delete(h.proxies, conn)
	h.occupy(nil, -1)
	if extra {
		h.extra--
	}
	h.mu.Unlock()
	if err != nil {
		if !errors.Is(err, io.EOF) { // a health check closes without sending a byte
			h.Counts.HandshakesRefused.Add(1)
			h.Log.Debug("nano: PROXY header refused", "proxy", conn.RemoteAddr(), "error", err)
		}
		_ = conn.Close()
		return
	}
	h.begin(conn, remote, rest, max(left, time.Millisecond))
}

// begin serves a TCP client. rest holds the bytes that were already read from the
// connection, and left is the time that remains for the handshake.
func (h *Hub) begin(conn net.Conn, remote net.Addr, rest []byte, left time.Duration) {
	if h.TLS != nil {
		if len(rest) > 0 {
			conn, rest = &behind{conn, rest}, nil
		}
		conn = tls.Server(conn, h.TLS)
	}
	c, full := h.newConn(conn, remote, false)
	switch {
	case c != nil:
		go c.serve(rest, left)
	case full != noLimit:
		h.turnAway(conn, h.hello.noRoom)
	default:
		_ = conn.Close()
	}
}

// noRoomPage answers an HTTP request that exceeds a connection limit.
var noRoomPage = []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
