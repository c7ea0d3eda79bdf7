package netsim

import (
	"io"
	"net"
	"sync"
	"time"
)

// linger is how long a closed connection waits for its peer to read what arrived.
const linger = 5 * time.Second

// readSize is how much is read from a wrapped connection at once.
const readSize = 64 << 10

// conn is a connection whose bytes pass through a network.
type conn struct {
	net.Conn
	network *Network
	number  uint64
	in, out *line

	mu      sync.Mutex // guards the fields below
	breaker *time.Timer
	armed   uint64 // number of calls of arm
	closed  bool
	gone    bool // the peer has closed the connection
}

func (c *conn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.out.write(p) }

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.in.setDeadline(&c.in.readBy, t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.out.setDeadline(&c.out.writeBy, t) }

func (c *conn) Close() error {
	first, gone := c.disarm()
	if !first {
		return nil
	}
	c.in.fail(net.ErrClosed)
	if gone {
		c.out.fail(net.ErrClosed)
		return nil
	}
	arrival := c.out.finish(io.EOF, net.ErrClosed)
	_ = c.Conn.SetWriteDeadline(arrival.Add(linger))
	return nil
}

// arm chooses when the connection is cut. As the time is distributed exponentially, arming
// again does not change the mean.
func (c *conn) arm() {
	mean := c.network.Conditions().Cut
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if c.breaker != nil {
		c.breaker.Stop()
		c.breaker = nil
	}
	c.armed++
	if mean > 0 {
		in := c.network.random(2*c.number, ^uint64(0), c.armed).ExpFloat64() * float64(mean)
		c.breaker = time.AfterFunc(time.Duration(in), c.cut)
	}
}

// disarm stops the breaker for good. It reports whether this is the first call, and whether
// the peer has closed the connection.
func (c *conn) disarm() (first, gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first = !c.closed
	c.closed = true
	if c.breaker != nil {
		c.breaker.Stop()
	}
	return first, c.gone
}

// leave notes that the peer has closed the connection.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
}

// cut ends the connection at once, on both sides.
func (c *conn) cut() {
	c.disarm()
	c.in.fail(ErrCut)
	c.out.fail(ErrCut)
	_ = c.Conn.Close()
}

// send writes the arriving bytes to the wrapped connection, and closes it at the end.
func (c *conn) send() {
	defer c.network.remove(c)
	defer c.Conn.Close()
	buf := make([]byte, readSize)
	for {
		n, err := c.out.read(buf)
		if n > 0 {
			if _, err := c.Conn.Write(buf[:n]); err != nil {
				c.out.fail(err)
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// receive reads from the wrapped connection.
func (c *conn) receive() {
	buf := make([]byte, readSize)
	for {
		n, err := c.Conn.Read(buf)
		_, _ = c.in.write(buf[:n]) // after Close, received bytes are discarded
		if err != nil {
			c.leave()
			c.in.finish(err, err)
			return
		}
	}
}
