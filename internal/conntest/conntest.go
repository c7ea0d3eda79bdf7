// Package conntest makes connections for tests that keep the contract of net.Conn, and are not like those of package net.
package conntest

import (
	"errors"
	"net"
	"os"
	"time"
)

// Kind is a kind of connections. Wrap makes one of a TCP connection.
type Kind struct {
	Name string
	Wrap func(*net.TCPConn) net.Conn
}

// Kinds are all kinds, the bare TCP connection first.
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

// shortReads reads a few bytes at once.
type shortReads struct{ *net.TCPConn }

func (c shortReads) Read(p []byte) (int, error) { return c.TCPConn.Read(p[:min(len(p), 3)]) }

// emptyReads returns neither bytes nor an error every other time.
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

// lastReads returns the last bytes together with the end of the stream. It waits for the end for a moment, because only
// the other side knows which bytes are the last.
type lastReads struct {
	*net.TCPConn
	ahead *[]byte
}

// endWait is how long lastReads waits for the end.
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

// noCloseWrite has the methods of net.Conn alone.
type noCloseWrite struct{ net.Conn }

// noDeadlines has deadlines without effect.
type noDeadlines struct{ net.Conn }

func (noDeadlines) SetDeadline(time.Time) error      { return nil }
func (noDeadlines) SetReadDeadline(time.Time) error  { return nil }
func (noDeadlines) SetWriteDeadline(time.Time) error { return nil }
