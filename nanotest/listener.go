package nanotest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/lonng/nano/internal/pipenet"
)

// Listener is a net.Listener in memory: its connections are pairs of net.Pipe, which hold no bytes back, so a write
// returns when the other side has read it. Make one with Listen. Its methods may be called concurrently.
type Listener struct {
	pipes  *pipenet.Listener
	dialed atomic.Int64
}

// Listen makes a Listener. Nothing is opened; Close ends every call that waits in Accept or DialContext.
func Listen() *Listener { return &Listener{pipes: pipenet.Listen(madeUp(1, 3250))} }

// Accept waits for a DialContext and returns its other end; net.ErrClosed once the listener is closed.
func (l *Listener) Accept() (net.Conn, error) { return l.pipes.Accept() }

// Close accepts no more connections. Those that were accepted stay. Closing again does nothing.
func (l *Listener) Close() error { return l.pipes.Close() }

// Addr returns 192.0.2.1:3250, an address of the range for documentation.
func (l *Listener) Addr() net.Addr { return l.pipes.Addr() }

// DialContext connects to the listener and returns when the connection was accepted. It ignores network and addr.
// Pass it to client.WithDialer. The error wraps net.ErrClosed when the listener is closed, and that of ctx when ctx
// ends. Each connection has a client address of its own: 192.0.2.2 with the ports from 1.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	c, _, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// dial is DialContext, and returns both ends.
func (l *Listener) dial(ctx context.Context) (*clientConn, *serverConn, error) {
	const ports = 1<<16 - 1
	here, there := l.Addr(), madeUp(2, int((l.dialed.Add(1)-1)%ports)+1)
	ours, theirs := net.Pipe()
	server := &serverConn{conn: conn{theirs, here, there}, entered: make(chan struct{}), ended: make(chan struct{})}
	if err := l.pipes.Deliver(ctx, server); err != nil {
		return nil, nil, fmt.Errorf("nanotest: dial: %w", err)
	}
	return &clientConn{conn: conn{ours, there, here}, entered: make(chan struct{})}, server, nil
}

// madeUp returns an address of a network that is reserved for documentation, which no host uses.
func madeUp(host byte, port int) net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, host), Port: port}
}

// conn is one end of a pipe with addresses.
type conn struct {
	net.Conn
	local, remote net.Addr
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// NetConn returns the pipe. Package client closes one at once, since a pipe holds no bytes.
func (c *conn) NetConn() net.Conn { return c.Conn }

// serverConn is the server's end. It detects that the server has processed the client's ack: after its handshake
// answer, the server reads the ack, and then reads again.
type serverConn struct {
	conn
	answered atomic.Bool
	entered  chan struct{} // closed when the client is in
	ended    chan struct{} // closed when the server has done with the connection
	closed   sync.Once
	// Of the server's reader.
	acked, told bool
}

func (c *serverConn) Write(b []byte) (int, error) {
	c.answered.Store(true)
	return c.conn.Write(b)
}

// Close is called when all received messages are in the session's mailbox.
func (c *serverConn) Close() error {
	c.closed.Do(func() { close(c.ended) })
	return c.conn.Close()
}

func (c *serverConn) Read(b []byte) (int, error) {
	if c.acked && !c.told {
		c.told = true
		close(c.entered)
	}
	n, err := c.conn.Read(b)
	c.acked = c.acked || n > 0 && c.answered.Load()
	return n, err
}

// clientConn is the client's end. It detects that the client has processed the handshake answer: the client has then
// sent its ack, and reads again.
type clientConn struct {
	conn
	entered chan struct{} // closed when the client is in

	mu                             sync.Mutex // guards the fields below
	answered, acked, reading, told bool
}

// tell closes entered when the client has completed the handshake. The caller holds mu.
func (c *clientConn) tell() {
	if c.acked && c.reading && !c.told {
		c.told = true
		close(c.entered)
	}
}

func (c *clientConn) Write(b []byte) (int, error) {
	n, err := c.conn.Write(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked = c.acked || c.answered
	c.tell()
	return n, err
}

func (c *clientConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	c.reading = true
	c.tell()
	c.mu.Unlock()
	n, err := c.conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	c.answered = c.answered || n > 0
	return n, err
}
