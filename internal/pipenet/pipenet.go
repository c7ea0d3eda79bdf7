// Package pipenet implements a net.Listener in memory. Its connections are pairs of
// net.Pipe.
//
// It serves tests, and package nanotest. A pipe has no buffer: a write returns when the
// other side has read it. Pipes need no system calls, so they also work in the fake time
// of testing/synctest.
package pipenet

import (
	"context"
	"net"
	"sync"
)

// Listener is a net.Listener in memory. Its methods may be called concurrently.
type Listener struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Listen returns a Listener with the address addr. It opens no socket.
func Listen(addr net.Addr) *Listener {
	return &Listener{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// New returns a Listener whose address has the network "pipe".
func New() *Listener { return Listen(&net.UnixAddr{Name: "memory", Net: "pipe"}) }

// Accept waits for the next connection. It returns net.ErrClosed after Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and all calls that wait for it. Accepted connections stay open.
// Closing again has no effect.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns the address that was passed to Listen.
func (l *Listener) Addr() net.Addr { return l.addr }

// Deliver waits until Accept has returned conn. It returns net.ErrClosed after Close, and
// the error of ctx if ctx ends first. On an error the caller still owns conn.
func (l *Listener) Deliver(ctx context.Context, conn net.Conn) error {
	select {
	case l.conns <- conn:
		return nil
	case <-l.closed:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// DialContext returns one end of a new pipe after Accept has returned the other end. It
// ignores network and addr. Its errors are those of Deliver.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	if err := l.Deliver(ctx, far); err != nil {
		return nil, err
	}
	return near, nil
}

// Dial is DialContext without a deadline.
func (l *Listener) Dial() (net.Conn, error) { return l.DialContext(context.Background(), "", "") }
