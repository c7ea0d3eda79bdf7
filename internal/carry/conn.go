package carry

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/lonng/nano/internal/flow"
)

// Conn is one end of a stream. It is a net.Conn with two restrictions: one goroutine at a
// time may read, and one may write. The methods that start with On handle events from the
// other end. They do not block.
type Conn struct {
	sender        Sender
	local, remote net.Addr

	ended chan struct{} // closed when the stream has ended

	mu       sync.Mutex
	changed  sync.Cond // uses mu; signals changes of the fields below
	in       []byte    // received and unread bytes; mu guards it and the following fields
	at       int       // number of bytes of in that were read
	received flow.Received
	sent     flow.Sent
	inEnded  bool     // the other end sends no more bytes
	outEnded bool     // this end sends no more bytes
	over     error    // why the stream has ended, or nil
	closed   bool     // this end was closed
	refusal  *Refusal // why the gate has refused the stream
	onOver   func()   // called when the stream ends, or nil

	readBy, writeBy time.Time // deadlines
}

// NewConn returns one end of a stream. remote is the address of the client.
func NewConn(s Sender, local, remote net.Addr) *Conn {
	c := &Conn{sender: s, local: local, remote: remote, ended: make(chan struct{})}
	c.changed.L = &c.mu
	return c
}

var _ net.Conn = (*Conn)(nil)

const (
	maxData  = 16 << 10 // bytes sent at once, so that other frames do not wait long
	maxSpare = 4 << 10  // a larger buffer is not kept when it is empty
)

// These errors end a stream.
var (
	errEnded   = errors.New("carry: the other end has closed the stream")
	errOverrun = errors.New("carry: the other end has exceeded the flow window")
	errCredit  = errors.New("carry: the other end has consumed more bytes than were sent")
)

// Await returns when the other end has sent bytes or refused the stream. If it has done
// neither, the error is that of a read.
func (c *Conn) Await() (*Refusal, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.awaitBytes()
	if c.refusal != nil {
		return c.refusal, nil
	}
	return nil, err
}

// Refuse ends the stream because the session is not resumed.
func (c *Conn) Refuse(why Refusal) { c.close(&why) }

// Read reads the bytes that the other end has written, even after the other end has
// closed the stream.
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	if err := c.awaitBytes(); err != nil || len(b) == 0 {
		c.mu.Unlock()
		return 0, err
	}
	n := copy(b, c.in[c.at:])
	if c.at += n; c.at == len(c.in) {
		c.reuse(c.in)
	}
	c.mu.Unlock()
	c.consumed(n)
	return n, nil
}

// WriteTo copies bytes from the other end to w until the other end sends no more. Bytes
// count as consumed after they were written.
func (c *Conn) WriteTo(w io.Writer) (total int64, err error) {
	for {
		c.mu.Lock()
		if err := c.awaitBytes(); err != nil {
			c.mu.Unlock()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return total, err
		}
		b, at := c.in, c.at
		c.in, c.at = nil, 0
		c.mu.Unlock()
		n, err := w.Write(b[at:])
		total += int64(n)
		if err != nil {
			return total, err
		}
		c.mu.Lock()
		if c.in == nil {
			c.reuse(b)
		}
		c.mu.Unlock()
		c.consumed(n)
	}
}

// reuse makes b the receive buffer if it is small. The caller holds mu.
func (c *Conn) reuse(b []byte) {
	c.in, c.at = nil, 0
	if cap(b) <= maxSpare {
		c.in = b[:0]
	}
}

// awaitBytes waits until there are bytes to read. If none will arrive, it returns the
// error of a read. The caller holds mu.
func (c *Conn) awaitBytes() error {
	for {
		switch {
		case c.closed:
			return net.ErrClosed
		case c.at < len(c.in):
			return nil
		case c.inEnded, errors.Is(c.over, errEnded):
			return io.EOF
		case c.over != nil:
			return c.over
		case !c.wait(c.readBy):
			return os.ErrDeadlineExceeded
		}
	}
}

// wait waits until the state changes. It returns false if the deadline has passed. The
// caller holds mu.
func (c *Conn) wait(deadline time.Time) bool {
	if deadline.IsZero() {
		c.changed.Wait()
		return true
	}
	left := time.Until(deadline)
	if left <= 0 {
		return false
	}
	t := time.AfterFunc(left, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
	c.changed.Wait()
	t.Stop()
	return true
}

// consumed gives the other end credit for n bytes, or saves it for later.
func (c *Conn) consumed(n int) {
	c.mu.Lock()
	credit := c.received.Consume(n)
	over := c.over != nil
	c.mu.Unlock()
	if credit > 0 && !over {
		c.sender.Credit(credit)
	}
}

// Write sends b. It waits while the window is full.
func (c *Conn) Write(b []byte) (n int, err error) {
	for n < len(b) {
		k, err := c.acquire(len(b) - n)
		if err != nil {
			return n, err
		}
		if err := c.send(b[n : n+k]); err != nil {
			_ = c.Close() // otherwise the stream would have a gap
			return n, err
		}
		n += k
	}
	return n, nil
}

// send sends b, and waits while the sender is not ready.
func (c *Conn) send(b []byte) error {
	wait, err := c.sender.Data(b)
	if wait == nil || err != nil {
		return err
	}
	c.mu.Lock()
	deadline := c.writeBy
	c.mu.Unlock()
	var late <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		late = t.C
	}
	for wait != nil && err == nil {
		select {
		case <-wait:
			wait, err = c.sender.Data(b)
		case <-c.ended:
			err = errEnded
		case <-late:
			err = os.ErrDeadlineExceeded
		}
	}
	return err
}

// acquire waits until the window has room, and reserves up to most bytes.
func (c *Conn) acquire(most int) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed, c.outEnded:
			return 0, net.ErrClosed
		case c.over != nil:
			return 0, errEnded
		case !c.writeBy.IsZero() && !time.Now().Before(c.writeBy):
			return 0, os.ErrDeadlineExceeded
		}
		if n = min(most, maxData, c.sent.Room()); n > 0 {
			c.sent.Add(n)
			return n, nil
		}
		c.wait(c.writeBy)
	}
}

// CloseWrite tells the other end that no more bytes follow.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	open := c.over == nil
	first := open && !c.outEnded
	c.outEnded = true
	c.changed.Broadcast()
	c.mu.Unlock()
	if first {
		c.sender.CloseWrite()
	}
	if !open {
		return net.ErrClosed
	}
	return nil
}

// Close ends the stream. The other end can still read the bytes written before.
func (c *Conn) Close() error {
	c.close(nil)
	return nil
}

// close ends the stream from this end.
func (c *Conn) close(why *Refusal) {
	c.mu.Lock()
	c.closed = true
	c.in, c.at = nil, 0
	c.mu.Unlock()
	if c.end(net.ErrClosed, nil) {
		c.sender.Close(why)
	}
}

// end records that the stream has ended. It returns false if it had ended before.
func (c *Conn) end(err error, why *Refusal) bool {
	c.mu.Lock()
	first := c.over == nil
	var f func()
	if first {
		c.over, c.refusal = err, why
		f, c.onOver = c.onOver, nil
		close(c.ended)
	}
	c.changed.Broadcast()
	c.mu.Unlock()
	if f != nil {
		f()
	}
	return first
}

// AfterEnd sets f to be called when the stream has ended. If it has ended, AfterEnd calls
// f at once. A second call replaces f.
func (c *Conn) AfterEnd(f func()) {
	c.mu.Lock()
	over := c.over != nil
	if !over {
		c.onOver = f
	}
	c.mu.Unlock()
	if over {
		f()
	}
}

// Ended returns a channel that is closed when the stream has ended.
func (c *Conn) Ended() <-chan struct{} { return c.ended }

// OnData handles received bytes. It does not keep b. If it returns an error, the stream
// has ended.
func (c *Conn) OnData(b []byte) error {
	c.mu.Lock()
	open := c.over == nil
	fits := !open || !c.inEnded && c.received.Add(len(b))
	if open && fits {
		if c.at > 0 && len(c.in)+len(b) > cap(c.in) {
			c.in, c.at = c.in[:copy(c.in, c.in[c.at:])], 0
		}
		c.in = append(c.in, b...)
		c.changed.Broadcast()
	}
	c.mu.Unlock()
	if !fits {
		_ = c.Close()
		return errOverrun
	}
	return nil
}

// OnCredit handles credit for n bytes that the other end has consumed. If it returns an
// error, the stream has ended.
func (c *Conn) OnCredit(n uint64) error {
	c.mu.Lock()
	ok := c.sent.Release(n)
	c.changed.Broadcast()
	c.mu.Unlock()
	if !ok {
		_ = c.Close()
		return errCredit
	}
	return nil
}

// OnCloseWrite is called when the other end sends no more bytes.
func (c *Conn) OnCloseWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inEnded = true
	c.changed.Broadcast()
}

// OnClose is called when the other end has ended the stream. why is not nil if the other
// end has refused it.
func (c *Conn) OnClose(why *Refusal) { c.end(errEnded, why) }

// OnLost is called when the link between the nodes has ended. It sends nothing.
func (c *Conn) OnLost(err error) { c.end(err, nil) }

// LocalAddr returns the address of this node.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the client.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets the deadlines of reads and writes.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(&t, &t) }

// SetReadDeadline sets the deadline of reads and of Await.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(&t, nil) }

// SetWriteDeadline sets the deadline of writes.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(nil, &t) }

func (c *Conn) setDeadlines(read, write *time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if read != nil {
		c.readBy = *read
	}
	if write != nil {
		c.writeBy = *write
	}
	c.changed.Broadcast()
	return nil
}
