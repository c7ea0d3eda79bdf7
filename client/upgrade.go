package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// maxBody limits the part of an HTTP response body in an error, in bytes.
const maxBody = 200

// dialWebSocket opens a WebSocket connection, through the proxy from the environment if
// there is one.
func dialWebSocket(ctx context.Context, u *url.URL, o *options) (transport, error) {
	var conn *upgradeConn
	stop := func() bool { return true }
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err := o.dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		stop = context.AfterFunc(ctx, func() { raw.Close() })
		conn = &upgradeConn{Conn: raw}
		if u.Scheme == "wss" {
			conn.secure = func() (net.Conn, error) { return secure(ctx, raw, u, o) }
		}
		return conn, nil
	}
	d := websocket.Dialer{
		NetDialContext:    dial,
		NetDialTLSContext: dial, // conn starts TLS itself, after the proxy has answered
		Proxy:             o.proxy,
	}
	_, response, err := d.DialContext(ctx, u.String(), o.header)
	if !stop() {
		err, response = ctx.Err(), nil
	}
	if err != nil {
		return transport{}, fmt.Errorf("WebSocket with %s: %w", u.Host, upgradeError(err, conn, response))
	}
	return transport{conn: conn.Conn, frame: true, read: conn.rest}, nil
}

// upgradeError adds the server's answer to err, when it is not an upgrade response.
func upgradeError(err error, conn *upgradeConn, response *http.Response) error {
	switch {
	case response != nil:
		err = fmt.Errorf("%w: HTTP status %s", err, response.Status)
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxBody)) // a partial body is enough
		if text := strings.TrimSpace(string(body)); text != "" {
			err = fmt.Errorf("%w: %q", err, text)
		}
	case conn == nil || !conn.sent:
	case conn.first > 0 && conn.first < ' ':
		err = fmt.Errorf("%w: it did not answer with HTTP, dial it with tcp:// or tls:// (%w)", ErrWrongTransport, err)
	case conn.first == 0 && hungUp(err):
		err = fmt.Errorf("%w: it closed the connection without an answer, and may expect tcp:// or tls:// (%w)", ErrWrongTransport, err)
	}
	return err
}

// hungUp reports whether err means that the other side closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// upgradeConn is the connection that gorilla's library uses for the upgrade. It stops
// reading at the end of a response header, because the library would keep the frames that
// follow.
type upgradeConn struct {
	net.Conn
	secure func() (net.Conn, error) // starts TLS on the connection; nil for no TLS, and after TLS has started
	sent   bool                     // the upgrade request was sent
	first  byte                     // first byte of the upgrade response
	rest   []byte                   // bytes read after the end of a header
	lines  int                      // consecutive line ends that were read
}

// SetDeadline does nothing: the context ends the upgrade.
func (c *upgradeConn) SetDeadline(time.Time) error { return nil }

// Write sends b, and starts TLS before the upgrade request. Data before that request is
// for a proxy.
func (c *upgradeConn) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("GET ")) {
		if c.secure != nil {
			conn, err := c.secure()
			if err != nil {
				return 0, err
			}
			c.Conn, c.secure = conn, nil
		}
		c.sent = true
	}
	return c.Conn.Write(b)
}

// Read reads up to the end of a header, which an empty line marks.
func (c *upgradeConn) Read(b []byte) (int, error) {
	var n int
	var err error
	if len(c.rest) > 0 {
		n = copy(b, c.rest)
		c.rest = c.rest[n:]
	} else {
		n, err = c.Conn.Read(b)
	}
	if n > 0 && c.sent && c.first == 0 {
		c.first = b[0]
	}
	for i, char := range b[:n] {
		switch char {
		case '\n':
			c.lines++
		case '\r':
		default:
			c.lines = 0
		}
		if c.lines == 2 {
			c.lines = 0
			c.rest = append(bytes.Clone(b[i+1:n]), c.rest...)
			return i + 1, nil // the next read returns err again, after the rest
		}
	}
	return n, err
}
