package agent

import (
	"cmp"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/rawio"
	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// Conn is one connection of a client. It reads packets, performs the handshake, monitors
// the client's liveness and writes the agent's queued output.
//
// The transport is a net.Conn, with or without frames around the packets. Two functions
// handle the frames: unframe for input and frame for output.
//
// A Conn is created with its own agent. After the handshake was answered, that agent may
// pass the connection to another agent: see [Agent.adopt].
type Conn struct {
	hub   *Hub
	agent atomic.Pointer[Agent] // the agent of this connection; only the reader changes it
	raw   syscall.RawConn       // nil if reads and writes go through socket
	state atomic.Int32
	flags flags
	seen  atomic.Int64 // when the last packet arrived, on the wheel's clock

	// The following fields belong to the reading goroutine.
	in    *reader // nil while the connection is parked
	meter *meter  // remaining rates of the session; nil for no limit

	blocked atomic.Int64 // start of the current write on the wheel's clock; 0 if no write runs on a separate goroutine

	socket net.Conn
	remote net.Addr // the client's address, from a trusted proxy if there is one
	timer  node

	// The mu of the agent's outbox guards the following fields.
	control  *buffer       // queued bytes of the connection itself: heartbeats, pongs, handshake answers
	last     *parted       // nil until the farewell is queued
	dead     bool          // nothing more can be written
	finished bool          // a writer has taken the last bytes
	ended    bool          // the last bytes were written
	handed   bool          // the reader has ended, and the last writer ends the connection
	unread   bool          // the reader has ended
	drained  chan struct{} // closed when the reader has to check the outbox again; nil if it does not wait
	// done is closed when the reader of a replaced connection has ended, or when a
	// connection to be replaced has no writer. It is nil if no goroutine waits.
	done chan struct{}
}

// These are the states of a connection. They do not change when the session closes.
const (
	stateNew    int32 = iota // nothing was received
	stateShaken              // the handshake was answered, and the ack is missing
	stateReady               // messages are allowed
)

// These are the flags of a connection.
const (
	flagFaulty       uint32 = 1 << iota // the client violated the protocol; further input is ignored
	flagLeft                            // its agent has another connection; further input is ignored
	flagPaused                          // the server has stopped reading from the client for now
	flagActive                          // the reader has just started, or has decoded a message since it started
	flagBusy                            // a message was decoded since settleAt looked last
	flagParked                          // the poller watches the socket, and no goroutine reads
	flagSocketClosed                    // a goroutine other than the reader has closed the socket
	flagBeating                         // timer.at is the time of the next heartbeat
	flagHeardClose                      // the client's close frame was received
	flagLingering                       // the farewell was sent, and the client has time to close its side
	flagResume                          // the client has asked for resume
	flagExtra                           // the connection was accepted beyond the limits
	flagFramed                          // packets come in WebSocket frames
	flagAway                            // the client uses a session of another node
	flagCarried                         // the client is connected to another node
)

// newConn creates a connection with its own agent, and registers both. It returns nil if
// the hub drains or a limit is exceeded, and then also the limit. The caller must make
// sure that serve runs.
func (h *Hub) newConn(socket net.Conn, remote net.Addr, framed bool) (c *Conn, full limit) {
	a, c := h.makeConn(socket, remote, framed)
	if h.Carrier != nil {
		c.in.opening = &opening{}
	}
	h.mu.Lock()
	full, extra := h.admit(remote)
	if h.draining {
		h.mu.Unlock()
		return nil, noLimit
	}
	if full != noLimit {
		h.mu.Unlock()
		h.refuse(full, remote)
		return nil, full
	}
	h.occupy(remote, 1)
	if extra {
		h.extra++
		c.flags.set(flagExtra)
	}
	h.agents[a.id] = a
	h.wg.Add(2) // the connection and the session
	h.mu.Unlock()
	h.Counts.Accepted.Add(1)
	h.Counts.Open.Add(1)
	return c, noLimit
}

// makeConn creates a connection and its agent.
func (h *Hub) makeConn(socket net.Conn, remote net.Addr, framed bool) (*Agent, *Conn) {
	a := newAgent(h)
	c := &Conn{hub: h, socket: socket, remote: remote, raw: rawio.Of(socket)}
	c.agent.Store(a)
	c.in = newReader(c)
	if framed {
		c.flags.set(flagFramed)
	}
	a.out.conn = c
	return a, c
}

// serve reads until the connection ends. It owns the connection. rest holds bytes that
// were already read, and left is the time that remains for the handshake.
func (c *Conn) serve(rest []byte, left time.Duration) {
	c.hub.wheel.add(c, left)
	c.read(rest)
}

// read reads until the connection ends or is parked.
func (c *Conn) read(rest []byte) {
	err := c.readPackets(rest)
	if c.away() {
		go c.carry()
		return
	}
	if c.settled(err) {
		if !c.park() {
			go c.read(nil)
		}
		return
	}
	c.finishReading(cmp.Or(c.in.fault, err))
	c.freeReader()
}

// finishReading ends a connection when reading has ended.
func (c *Conn) finishReading(err error) {
	a := c.agent.Load()
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		c.hub.mistakenWithoutTLS(plain.Conn, c.remote, plain)
	}
	if !c.flags.has(flagLeft) && !a.flags.has(flagClosed) && (!isLoss(err) || !a.suspend(c, session.ErrClientClosed)) {
		a.refuse(err)
	}
	if r := c.in.resuming; r != nil {
		r.abandon(c)
	}
	if c.left() {
		a.readerEnded(c)
	}
	o := &a.out
	o.mu.Lock()
	c.unread = true
	over := true
	switch {
	case o.conn == c && o.closed && !c.ended && !c.dead:
		c.handed, over = true, false // the writer of the last bytes ends the connection
	case o.conn == c:
		o.drop()
		c.kill() // no further writer starts
	}
	if c.left() && c.done != nil {
		close(c.done)
	}
	o.mu.Unlock()
	if over {
		c.over()
	}
}

// over ends a connection that has no reader and no writer.
func (c *Conn) over() {
	o := &c.agent.Load().out
	o.mu.Lock()
	if c.last != nil {
		c.last.late.Stop()
	}
	o.mu.Unlock()
	_ = c.socket.Close()
	c.decideExtra()
	if !c.flags.has(flagCarried) {
		c.hub.Counts.Open.Add(-1)
	}
	c.forgetUpgrade()
	c.hub.connGone(c)
	c.hub.wg.Done()
}

// kill prevents further writes. The caller holds the mu of the agent's outbox.
func (c *Conn) kill() {
	c.dead = true
	c.control.free()
	c.control = nil
	c.wakeReader()
}

// wakeReader makes a waiting reader check the outbox again. The caller holds the mu of
// the agent's outbox.
func (c *Conn) wakeReader() {
	if c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
}

// sendPacket queues a packet of the connection itself. It is sent before queued messages.
// An answer of the handshake always fits: a connection has one.
func (c *Conn) sendPacket(t packet.Type, body []byte) error {
	most := c.hub.MaxQueued
	if t == packet.Handshake {
		most = math.MaxInt
	}
	return c.queueUpTo(most, func(b []byte) ([]byte, error) { return c.appendPacket(b, t, body) })
}

// appendPacket appends a packet of the connection itself, in a frame if it needs one.
func (c *Conn) appendPacket(b []byte, t packet.Type, body []byte) ([]byte, error) {
	if c.flags.has(flagFramed) {
		b = wsframe.AppendHeader(b, wsframe.Binary, packet.HeadLength+len(body))
	}
	return codec.Append(b, t, body)
}

// queue appends bytes to the queued bytes of the connection itself.
func (c *Conn) queue(encode func([]byte) ([]byte, error)) error {
	return c.queueUpTo(c.hub.MaxQueued, encode)
}

// queueUpTo is queue if at most most bytes wait then.
func (c *Conn) queueUpTo(most int, encode func([]byte) ([]byte, error)) error {
	a := c.agent.Load()
	o := &a.out
	o.mu.Lock()
	err := o.appendControl(c, most, encode)
	flush := err == nil && o.list()
	o.mu.Unlock()
	return a.queued(flush, err)
}

// appendControl appends to the queued bytes of c itself. On an error they are unchanged.
// The caller holds mu.
func (o *outbox) appendControl(c *Conn, most int, encode func([]byte) ([]byte, error)) error {
	if !o.open() || o.conn != c {
		return session.ErrBrokenPipe
	}
	if c.control == nil {
		c.control = newBuffer()
	}
	start := len(c.control.b)
	b, err := encode(c.control.b)
	if err != nil {
		return err
	}
	if len(b)-start+o.waiting() > most {
		c.control.b = b[:start]
		if len(b)-start > most {
			return errTooLarge
		}
		return errFull
	}
	c.control.b = b
	return nil
}

// closeNow closes a connection without waiting. A normal close of TLS would write an
// alert and wait up to five seconds for a client that does not read. During that time the
// goroutine of the deadlines would serve no other client.
func closeNow(conn net.Conn) {
	if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = c.NetConn()
	}
	_ = conn.Close()
}
