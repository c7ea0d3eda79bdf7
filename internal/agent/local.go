package agent

import "net"

// AcceptLocal serves a client of this process on a new goroutine. The connection has no
// TLS and no proxy header. The limits of connections apply to it too.
func (h *Hub) AcceptLocal(conn net.Conn) {
	c, full := h.newConn(conn, conn.RemoteAddr(), false)
	switch {
	case c != nil:
		go c.serve(nil, h.HandshakeTimeout)
	case full != noLimit:
		h.turnAway(conn, h.hello.noRoom)
	default:
		_ = conn.Close()
	}
}
