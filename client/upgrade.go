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

// maxBody is how much of the body of an HTTP response stands in an error, in bytes.
const maxBody = 200

// dialWebSocket makes a WebSocket connection, through the proxy that the environment names.
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
		NetDialTLSContext: dial, // conn starts TLS by itself: it has to wait for a proxy
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

// upgradeError adds to err what the server has answered instead of an upgrade.
func upgradeError(err error, conn *upgradeConn, response *http.Response) error {
	switch {
	case response != nil:
		err = fmt.Errorf("%w: HTTP status %s", err, response.Status)
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxBody)) // what there is
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

// hungUp reports whether err is the end of a connection that the other side closed.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// upgradeConn is the connection of an upgrade, as gorilla's library uses it. It does not let
// the library read past the end of a response's header, since the library would keep the
// frames behind it.
type upgradeConn struct {
	net.Conn
	secure func() (net.Conn, error) // makes the connection one of TLS; nil for none, and when it is done
	sent   bool                     // the upgrade was asked for
	first  byte                     // of the answer to that
	rest   []byte                   // read, and behind a header
	lines  int                      // line ends that were read in a row
}

// SetDeadline does nothing: the context ends the upgrade.
func (c *upgradeConn) SetDeadline(time.Time) error { return nil }

// Write starts TLS before the upgrade request, and sends b. What is sent before that request
// is for a proxy.
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

// Read reads up to the end of a header, which is an empty line.
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
			return i + 1, nil // err comes again, behind what is left
		}
	}
	return n, err
}
