package agent

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/lonng/nano/internal/rawio"
)

// steadyConn is a socket with read deadlines that work on every kind of socket, and that
// exclude the time in which the process was stopped. It carries the data before the
// handshake: the header of a proxy, TLS and HTTP. Its user keeps the wheel's clock
// running with watch, and reads from one goroutine at a time.
type steadyConn struct {
	net.Conn
	wheel *wheel
	bare  bool // the deadlines of the socket work

	reads chan read // the result of a running read of the socket, or nil
	begun int       // value of moves when that read began
	read  read      // the unused result of a previous read

	mu       sync.Mutex
	deadline time.Duration // deadline on the wheel's clock, 0 for none; mu guards it and the following fields
	moves    int           // number of deadline changes
	moved    chan struct{} // closed when the deadline changes, or nil if no goroutine waits
	released bool          // release was called
}

// read is the result of a read.
type read struct {
	b   []byte
	err error
}

// deadlineGrace is how long a read may outlast its deadline. A socket whose deadlines do
// not work continues to read, and the next read returns the bytes.
const deadlineGrace = 20 * time.Millisecond

// steady returns a steadyConn.
func (h *Hub) steady(socket net.Conn) *steadyConn {
	return &steadyConn{Conn: socket, wheel: &h.wheel, bare: rawio.Of(socket) != nil}
}

// NetConn returns the socket.
func (c *steadyConn) NetConn() net.Conn { return c.Conn }

// now returns the time on the wheel's clock, or the real time once c is released. The
// caller holds mu.
func (c *steadyConn) now() time.Duration {
	if c.released {
		return time.Since(c.wheel.base)
	}
	return c.wheel.passed()
}

// SetReadDeadline sets the deadline of reads, including a waiting one.
func (c *steadyConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = 0
	if !t.IsZero() {
		c.deadline = max(c.now()+time.Until(t), 1)
	}
	c.moves++
	if c.moved != nil {
		close(c.moved)
		c.moved = nil
	}
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline sets the deadline of reads and writes.
func (c *steadyConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.Conn.SetWriteDeadline(t))
}

// Read reads until the deadline.
func (c *steadyConn) Read(p []byte) (n int, err error) {
	for {
		if n, err = c.readOnce(p); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !c.extend() {
			return n, err
		}
	}
}

// extend renews the deadline of the socket if it passed while the process was stopped.
func (c *steadyConn) extend() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deadline == 0 || c.released {
		return false
	}
	left := c.wheel.left(c.deadline)
	return left > 0 && c.Conn.SetReadDeadline(time.Now().Add(left)) == nil
}

// readOnce reads until the deadline of the socket.
func (c *steadyConn) readOnce(p []byte) (int, error) {
	if len(c.read.b) > 0 || c.read.err != nil {
		return c.give(p)
	}
	if c.reads == nil {
		c.mu.Lock()
		direct := c.bare || c.released
		c.begun = c.moves
		c.mu.Unlock()
		if direct {
			return c.Conn.Read(p)
		}
		reads := make(chan read, 1)
		c.reads = reads
		b := make([]byte, len(p))
		go func() {
			n, err := c.Conn.Read(b)
			reads <- read{b[:n], err}
		}()
	}
	for {
		c.mu.Lock()
		if c.moved == nil {
			c.moved = make(chan struct{})
		}
		moved, left := c.moved, c.deadline-c.now()
		var late <-chan time.Time
		if c.deadline != 0 {
			timer := time.NewTimer(max(left, 0) + deadlineGrace)
			defer timer.Stop()
			late = timer.C
		}
		c.mu.Unlock()
		select {
		case c.read = <-c.reads:
			c.reads = nil
			if len(c.read.b) == 0 && errors.Is(c.read.err, os.ErrDeadlineExceeded) && c.stale() {
				c.read = read{}
				return c.readOnce(p)
			}
			return c.give(p)
		case <-late:
			return 0, os.ErrDeadlineExceeded
		case <-moved:
		}
	}
}

// stale reports whether the deadline has changed since the last read of the socket began.
func (c *steadyConn) stale() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun != c.moves
}

// give returns the result of a read.
func (c *steadyConn) give(p []byte) (int, error) {
	n := copy(p, c.read.b)
	c.read.b = c.read.b[n:]
	if len(c.read.b) > 0 {
		return n, nil
	}
	err := c.read.err
	c.read = read{}
	return n, err
}

// release is called between two reads when the protocol of the client is known. It
// returns the socket, or c itself if a read is still running or its bytes are unread.
func (c *steadyConn) release() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.released = true
	if c.reads != nil || len(c.read.b) > 0 || c.read.err != nil {
		return c
	}
	return c.Conn
}
