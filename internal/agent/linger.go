package agent

import "net"

// farewellSent is called after the last write. It closes the sending side. If the socket
// cannot do that, the client sees the end when the socket is closed: see lingerOn.
func (c *Conn) farewellSent() {
	c.flags.set(flagLingering)
	half, pipe := halfCloser(c.socket)
	switch {
	case half != nil && half.CloseWrite() == nil:
	case pipe: // the client has read all written data
		_ = c.socket.Close()
	case c.flags.has(flagHeardClose): // the client sends nothing more, and waits for the end
		_ = c.socket.Close()
		c.socketClosed()
	}
}

// lingerOn reports whether the reader continues after the farewell, when it has just
// discarded n bytes. It continues until the client closes its side or exceeds a limit.
func (c *Conn) lingerOn(n int) bool {
	c.in.dropped += n
	return !c.flags.has(flagHeardClose) && c.in.dropped < lingerBytes
}

// halfCloser returns the CloseWrite method of conn, or of a connection that conn wraps
// and exposes with a NetConn method. It returns nil if there is none. pipe reports that
// conn is a net.Pipe.
func halfCloser(conn net.Conn) (half interface{ CloseWrite() error }, pipe bool) {
	for conn != nil {
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			return half, false
		}
		wrapper, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			addr := conn.LocalAddr()
			return nil, addr != nil && addr.Network() == "pipe"
		}
		conn = wrapper.NetConn()
	}
	return nil, false
}
