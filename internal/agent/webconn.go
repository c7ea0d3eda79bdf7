package agent

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
)

// webConn is a connection for WebSocket clients and pages, as seen by the HTTP server. It
// detects clients with another transport by their first bytes, and answers them. It
// handles TLS itself, so that the HTTP server sees the decrypted data.
type webConn struct {
	net.Conn // the socket, or TLS over it
	hub      *Hub
	socket   *steadyConn
	heard    bool // the first bytes were received; owned by the reading goroutine
	full     bool // a limit is exceeded and noRoomPage is to be sent; set before the first read
}

// Pages returns a listener for the http.Server that has ConnContext and ConnState. It
// accepts the connections of l, with TLS if clients use TLS.
func (h *Hub) Pages(l net.Listener) net.Listener {
	p := pages{Listener: l, hub: h}
	if h.TLS != nil {
		p.tls = h.TLS.Clone()
		p.tls.NextProtos = []string{"http/1.1"}
	}
	return p
}

type pages struct {
	net.Listener
	hub *Hub
	tls *tls.Config
}

func (p pages) Accept() (net.Conn, error) {
	socket, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &webConn{hub: p.hub, socket: p.hub.steady(socket)}
	c.Conn = c.socket
	if p.tls != nil {
		c.Conn = tls.Server(c.socket, p.tls)
	}
	return c, nil
}

// NetConn returns the socket.
func (c *webConn) NetConn() net.Conn { return c.socket.Conn }

// CloseWrite closes the sending side, if the socket supports that.
func (c *webConn) CloseWrite() error {
	if half, _ := halfCloser(c.Conn); half != nil {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// ReadFrom sends the data of r. On a bare socket, the kernel copies the data of a file.
func (c *webConn) ReadFrom(r io.Reader) (int64, error) {
	if c.Conn == c.socket {
		return io.Copy(c.socket.Conn, r)
	}
	return io.Copy(c.Conn, r)
}

// Read reads for the HTTP server. It returns the end of the stream for a client with
// another transport.
func (c *webConn) Read(p []byte) (int, error) {
	if c.full {
		c.full = false
		c.hub.dismiss(c.Conn, noRoomPage)
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p)
	if c.heard || n == 0 && err == nil {
		return n, err
	}
	c.heard = true
	if belowTLS, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		c.hub.mistakenWithoutTLS(c.socket, c.RemoteAddr(), belowTLS)
		return 0, io.EOF
	}
	if err != nil && c.Conn != c.socket {
		c.hub.Log.Debug("nano: no request came over TLS", "remote", c.RemoteAddr(), "error", err)
	}
	if n == 0 || !c.hub.mistakenOnWeb(c.Conn, p[:n]) {
		return n, err
	}
	return 0, io.EOF
}

// released returns the socket or the TLS connection once the HTTP server no longer uses
// the connection.
func (c *webConn) released() net.Conn {
	socket := c.socket.release()
	if c.Conn == c.socket {
		return socket
	}
	return c.Conn
}

// SetTLS sets the TLS state of a request that arrived on a listener of Pages.
func (h *Hub) SetTLS(r *http.Request) {
	p := pageOf(r)
	if p == nil {
		return
	}
	w, _ := p.conn.(*webConn)
	if w == nil {
		return
	}
	if secure, ok := w.Conn.(*tls.Conn); ok {
		state := secure.ConnectionState()
		r.TLS = &state
	}
}
