package mesh

import (
	"context"
	"net"
	"sync"

	"google.golang.org/grpc"
)

// gate passes the traffic of a node, or stops it as a stopped process or a cut cable
// does. While it is shut, nothing is read, written or closed.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while the gate is open
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

// pass waits until the gate is open. It returns at once when done is closed.
func (g *gate) pass(done <-chan struct{}) error {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return nil
	case <-done:
		return net.ErrClosed
	}
}

func (g *gate) wrap(c net.Conn) net.Conn {
	return &gatedConn{Conn: c, gate: g, done: make(chan struct{})}
}

// dialOption makes the node's own connections pass through the gate.
func (g *gate) dialOption() grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		if err := g.pass(ctx.Done()); err != nil {
			return nil, err
		}
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return g.wrap(c), nil
	})
}

// gatedListener makes accepted connections pass through the gate.
type gatedListener struct {
	net.Listener
	gate *gate
}

func (l gatedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.gate.wrap(c), nil
}

type gatedConn struct {
	net.Conn
	gate *gate
	once sync.Once
	done chan struct{}
}

// Read waits for the gate after it has read, because a read may be in progress when the
// gate shuts.
func (c *gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if e := c.gate.pass(c.done); e != nil {
		return 0, e
	}
	return n, err
}

func (c *gatedConn) Write(b []byte) (int, error) {
	if err := c.gate.pass(c.done); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *gatedConn) Close() error {
	c.once.Do(func() { close(c.done) })
	return c.Conn.Close()
}
