package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/serialize"
)

const (
	// linger is the time that a closing connection has to send queued data and to wait
	// for the server to close its side.
	linger = 2 * time.Second
	// closeWait is the time that an ending connection has to send its last bytes.
	closeWait = time.Second
	// lingerBytes is how many bytes the server may send while the connection closes.
	lingerBytes = 16 << 20
)

// transport is an open connection that has not carried packets yet.
type transport struct {
	conn  io.ReadWriteCloser // Close ends a Read or Write that is under way
	frame bool               // packets are in WebSocket frames
	read  []byte             // bytes that were read with the upgrade response
}

// connection is one connection to the server: its reader, its writer and its heartbeats.
// A client has one after the other.
type connection struct {
	client *Client
	conn   io.ReadWriteCloser
	socket *webSocket // nil if packets are not in WebSocket frames
	out    *outbox
	born   time.Time
	asked  bool          // the handshake includes a resume request
	ready  chan struct{} // closed by the reader when the handshake is complete
	broken chan struct{} // closed when err is set
	wg     sync.WaitGroup

	session atomic.Pointer[session] // set when the handshake is complete
	leaving atomic.Bool             // nothing more is sent except a farewell
	flushed chan struct{}           // closed by the writer when it has sent all data before an end

	heard   atomic.Int64 // when bytes last arrived, in nanoseconds after born
	seen    atomic.Int64 // the same in Unix nanoseconds of the wall clock; only with resume
	wrote   atomic.Int64 // when a write last began or ended, in nanoseconds after born
	writing atomic.Bool  // the writer has taken bytes that it has not written yet

	// The reader sets these fields before it closes ready. They do not change afterwards.
	shaken     bool
	dict       *message.Dictionary
	serializer serialize.Serializer // nil if the client does not know the server's serializer
	speaks     string               // the server's name of its serializer
	interval   time.Duration        // between heartbeats; 0 if there are none
	maxPacket  int                  // the largest packet body that the server accepts; 0 if unknown

	unread []byte // bytes read with the upgrade response; owned by the reader

	mu    sync.Mutex // guards the fields below
	err   error      // why the connection ended
	ended bool       // fail was called
}

func newConnection(c *Client, t transport) *connection {
	conn := &connection{
		client: c,
		conn:   t.conn,
		unread: t.read,
		out:    newOutbox(c.opts.sendBuffer),
		born:   time.Now(),
		ready:  make(chan struct{}),
		broken: make(chan struct{}),

		asked:   c.resumes(),
		flushed: make(chan struct{}),
	}
	if t.frame {
		conn.socket = &webSocket{}
	}
	return conn
}

// start starts the reader and the writer, and sends the handshake.
func (c *connection) start(hello []byte) {
	if err := c.control(packet.Handshake, hello); err != nil {
		c.fail(fmt.Errorf("client: handshake: %w", err))
		return
	}
	c.wg.Go(func() {
		err := c.receive()
		if c.breaksSession(err) {
			c.leave(err)
		}
		c.fail(err)
	})
	c.wg.Go(c.write)
}

// age returns the time since the connection was made.
func (c *connection) age() time.Duration { return time.Since(c.born) }

// close sends the queued messages and ends the connection in order. It returns when the
// reader and the writer have ended. The client's context has ended before, so that the
// reader discards what still comes.
func (c *connection) close() error {
	s := c.session.Load()
	s.end(ErrClosed)
	if s.resumes {
		_ = c.control(packet.Kick, nil) // so that the server does not keep the session
	}
	c.out.finish()
	late := time.NewTimer(linger)
	defer late.Stop()
	select {
	case <-c.broken: // the server closed its side as well
	case <-late.C:
	}
	c.fail(ErrClosed)
	c.wg.Wait()
	if c.writing.Load() || !c.out.empty() { // the last write has failed, or there was none
		return errUnsent
	}
	return nil
}

// breaksSession ends the session if err prevents the client, but not the server, from
// resuming it. It reports whether it ended a session.
func (c *connection) breaksSession(err error) bool {
	if !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrResumeOverflow) {
		return false
	}
	s := c.client.resumable()
	if s == nil {
		return false
	}
	s.end(disconnected(err))
	return true
}

// leave tells the server that the client will not reconnect because of err. It waits
// until that was sent, for at most closeWait.
func (c *connection) leave(err error) {
	c.blame(err)
	c.leaving.Store(true)
	_ = c.control(packet.Kick, nil)
	c.out.finish()
	c.awaitFlush()
}

// awaitFlush waits until the writer has sent all data before an end, for at most
// closeWait.
func (c *connection) awaitFlush() {
	late := time.NewTimer(closeWait)
	defer late.Stop()
	select {
	case <-c.flushed:
	case <-c.broken:
	case <-late.C:
	}
}

// closeWrite tells the server that no more data follows. The server answers by closing its
// side, so that no reset destroys data sent before. Closing a socket with unread bytes
// resets it. So if the connection cannot be closed for writing alone, the reader first
// reads the server's remaining data.
func (c *connection) closeWrite() {
	half, synchronous := halfCloser(c.conn)
	if half != nil && half.CloseWrite() == nil {
		return
	}
	if !synchronous {
		rest := time.Duration(c.wrote.Load()) + linger - c.age()
		late := time.NewTimer(rest)
		defer late.Stop()
		select {
		case <-late.C:
		case <-c.broken:
		}
	}
	c.fail(ErrClosed)
}

// halfCloser returns the CloseWrite method of conn, or of a connection that conn wraps
// and exposes with a NetConn method. synchronous reports whether it found a net.Pipe, on
// which all written data was read.
func halfCloser(conn io.Closer) (half interface{ CloseWrite() error }, synchronous bool) {
	for {
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			return half, false
		}
		if wrapper, ok := conn.(interface{ NetConn() net.Conn }); ok {
			conn = wrapper.NetConn()
			continue
		}
		c, ok := conn.(net.Conn)
		return nil, ok && c.LocalAddr().Network() == "pipe"
	}
}

// fail ends the connection. Only the first call has an effect. Unanswered calls fail
// unless the session can be resumed.
func (c *connection) fail(err error) {
	c.blame(err)
	c.mu.Lock()
	again := c.ended
	c.ended = true
	err = c.err
	c.mu.Unlock()
	if again {
		return
	}
	if s := c.session.Load(); s != nil {
		s.detach(c, err)
	}
	close(c.broken)
	abort(c.conn)
}

// blame sets the reason why the connection ends. Only the first call has an effect.
func (c *connection) blame(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// abort closes a connection without the closing alert of TLS, which may block.
func abort(conn io.Closer) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close() // the error no longer matters
}

// reason returns why the connection ended, or nil.
func (c *connection) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// lost returns the error of a connection that can no longer be read or written.
func lost(err error) error {
	if errors.Is(err, ErrProtocol) || errors.Is(err, ErrWrongTransport) {
		return err
	}
	return fmt.Errorf("client: connection lost: %w", err)
}
