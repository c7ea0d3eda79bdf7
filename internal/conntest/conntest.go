// Package conntest makes connections for tests. They implement net.Conn correctly, but
// behave differently from those of package net.
package conntest

import (
	"errors"
	"net"
	"os"
	"time"
)

// Kind is a kind of connection. Wrap makes one from a TCP connection.
type Kind struct {
	Name string
	Wrap func(*net.TCPConn) net.Conn
}

// Kinds returns all kinds. The plain TCP connection is the first.
var Kinds = []Kind{
	{"bare", func(c *net.TCPConn) net.Conn { return c }},
	{"short reads", func(c *net.TCPConn) net.Conn { return shortReads{c} }},
	{"reads of nothing", func(c *net.TCPConn) net.Conn { return emptyReads{c, new(bool)} }},
	{"bytes with the end", func(c *net.TCPConn) net.Conn { return lastReads{c, new([]byte)} }},
	{"no CloseWrite", func(c *net.TCPConn) net.Conn { return noCloseWrite{c} }},
	{"no deadlines", func(c *net.TCPConn) net.Conn { return noDeadlines{c} }},
}

// Listener wraps the connections of a TCP listener.
type Listener struct {
	net.Listener
	Kind Kind
}

// Accept waits for the next connection.
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.Kind.Wrap(c.(*net.TCPConn)), nil
}

// shortReads is a connection whose reads return a few bytes each.
type shortReads struct{ *net.TCPConn }

func (c shortReads) Read(p []byte) (int, error) { return c.TCPConn.Read(p[:min(len(p), 3)]) }

// emptyReads is a connection on which every other read returns neither bytes nor an
// error.
type emptyReads struct {
	*net.TCPConn
	empty *bool
}

func (c emptyReads) Read(p []byte) (int, error) {
	if *c.empty = !*c.empty; *c.empty {
		return 0, nil
	}
	return c.TCPConn.Read(p)
}

// lastReads is a connection that returns the last bytes together with io.EOF. After each
// read it waits for the end of the stream for a short time.
type lastReads struct {
	*net.TCPConn
	ahead *[]byte
}

// endWait is how long lastReads waits for the end of the stream.
const endWait = 5 * time.Millisecond

func (c lastReads) Read(p []byte) (n int, err error) {
	if n = copy(p, *c.ahead); n > 0 {
		*c.ahead = (*c.ahead)[n:]
	} else if n, err = c.TCPConn.Read(p); err != nil {
		return n, err
	}
	if len(*c.ahead) > 0 {
		return n, nil
	}
	next := make([]byte, 1)
	_ = c.SetReadDeadline(time.Now().Add(endWait))
	m, err := c.TCPConn.Read(next)
	_ = c.SetReadDeadline(time.Time{})
	*c.ahead = next[:m]
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n, err
}

// noCloseWrite is a connection that has only the methods of net.Conn.
type noCloseWrite struct{ net.Conn }

// noDeadlines is a connection that ignores deadlines.
type noDeadlines struct{ net.Conn }

func (noDeadlines) SetDeadline(time.Time) error      { return nil }
func (noDeadlines) SetReadDeadline(time.Time) error  { return nil }
func (noDeadlines) SetWriteDeadline(time.Time) error { return nil }
