package agent

import (
	"cmp"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// Conn is one connection of a client: it reads packets, shakes hands, watches that the
// client is alive, and writes what its agent has queued.
//
// A transport is a net.Conn, with or without frames around the packets. What is specific
// to a transport is in two functions: unframe on the way in and frame on the way out.
//
// A Conn is made with an agent of its own. That agent may hand it to another one once the
// handshake was answered: see [Agent.adopt].
type Conn struct {
	hub   *Hub
	agent atomic.Pointer[Agent] // whose connection this is; only the reader changes it
	raw   syscall.RawConn       // nil if reads and writes go through socket
	state atomic.Int32
	flags flags
	seen  atomic.Int64 // when the last packet came, on the wheel's clock

	// Of the goroutine that reads.
	in       *reader // nil while the connection is parked
	meter    *meter  // what the session has left of its rates; nil for no limit
	acks     *acks   // nil unless the client has asked for resume
	resuming *Agent  // whose connection this is when the ack has come; nil for its own agent's

	blocked atomic.Int64 // when the write that runs has begun, on the wheel's clock; 0 if none runs on a goroutine of its own

	socket net.Conn
	remote net.Addr // the client's, as a trusted proxy gives it
	timer  node

	// The mu of the agent's outbox guards what follows.
	control  *buffer       // bytes of the connection itself that wait: heartbeats, pongs, answers to handshakes
	last     *parted       // nil until the farewell is queued
	dead     bool          // nothing can be written any more
	finished bool          // a writer has taken the last bytes
	ended    bool          // they were written
	handed   bool          // the reader has ended, and left the end of the connection to the writer of the last bytes
	unread   bool          // the reader has ended
	drained  chan struct{} // closed when the reader is to look at the outbox again; nil if it does not wait
	// done is closed when the reader of a connection that its agent has left has ended,
	// or when one that is to leave its agent has no writer. It is nil if nobody waits.
	done chan struct{}
}

// The states of a connection. A connection of a session that is closed keeps the state it
// had.
const (
	stateNew    int32 = iota // nothing came yet
	stateShaken              // the handshake was answered; the ack is to come
	stateReady               // messages may pass
)

// The flags of a connection.
const (
	flagFaulty     uint32 = 1 << iota // the client broke the protocol; what follows does not count
	flagLeft                          // its agent has another connection: what comes does not count
	flagPaused                        // the server reads nothing from the client at present
	flagActive                        // the reader has decoded something since it has started, or has just started
	flagParked                        // the poller watches the socket, and no goroutine reads
	flagBeating                       // timer.at is that of the next heartbeat
	flagHeardClose                    // the client's close frame has come
	flagLingering                     // the farewell was sent, and the client may close its side
	flagResume                        // its client has asked for resume
	flagExtra                         // it was let in beyond the limits
	flagFramed                        // packets come in WebSocket frames
	flagAway                          // its client goes on with a session of another node
	flagCarried                       // its client is connected to another node
)

// newConn makes a connection with an agent of its own, and registers both. It returns nil
// once the hub drains, or when a limit is passed, which it returns. The caller must see
// that serve runs.
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
	h.wg.Add(2) // the connection, and the session
	h.mu.Unlock()
	h.Counts.Accepted.Add(1)
	h.Counts.Open.Add(1)
	return c, noLimit
}

// makeConn makes a connection and its agent.
func (h *Hub) makeConn(socket net.Conn, remote net.Addr, framed bool) (*Agent, *Conn) {
	a := newAgent(h)
	c := &Conn{hub: h, socket: socket, remote: remote, raw: rawConn(socket)}
	c.agent.Store(a)
	c.in = newReader(c)
	if framed {
		c.flags.set(flagFramed)
	}
	a.out.conn, a.out.remote = c, remote
	return a, c
}

// serve reads until the connection ends, which it owns. rest was read from it before;
// left is what the client has for its handshake.
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

// finishReading ends a connection from which nothing more will be read.
func (c *Conn) finishReading(err error) {
	a := c.agent.Load()
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		c.hub.mistakenWithoutTLS(plain.Conn, c.remote, plain)
	}
	if !c.flags.has(flagLeft) && !a.flags.has(flagClosed) && (!isLoss(err) || !a.suspend(c, session.ErrClientClosed)) {
		a.refuse(err)
	}
	if r := c.resuming; r != nil {
		r.abandon(c)
	}
	if c.acks != nil && c.acks.timer != nil {
		c.acks.timer.Stop()
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
		c.kill() // no writer starts any more
	}
	if c.left() && c.done != nil {
		close(c.done)
	}
	o.mu.Unlock()
	if over {
		c.over()
	}
}

// over ends a connection that is neither read nor written any more.
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
	if c.flags.has(flagFramed) {
		c.hub.upgrades.Delete(c.agent.Load())
	}
	c.hub.connGone(c)
	c.hub.wg.Done()
}

// kill sees that nothing more is written. The caller holds the mu of the agent's outbox.
func (c *Conn) kill() {
	c.dead = true
	c.control.free()
	c.control = nil
	c.wakeReader()
}

// wakeReader has the reader look at the outbox again, if it waits for that. The caller
// holds the mu of the agent's outbox.
func (c *Conn) wakeReader() {
	if c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
}

// sendPacket queues a packet of the connection itself. It goes before the messages that
// wait.
func (c *Conn) sendPacket(t packet.Type, body []byte) error {
	return c.queue(func(b []byte) ([]byte, error) {
		if c.flags.has(flagFramed) {
			b = wsframe.AppendHeader(b, wsframe.Binary, packet.HeadLength+len(body))
		}
		return codec.Append(b, t, body)
	})
}

// queue appends bytes to those of the connection itself.
func (c *Conn) queue(encode func([]byte) ([]byte, error)) error {
	a := c.agent.Load()
	o := &a.out
	o.mu.Lock()
	err := o.appendControl(c, a.hub.MaxQueued, encode)
	flush := err == nil && o.list()
	o.mu.Unlock()
	return a.queued(flush, err)
}

// appendControl appends to the bytes of c itself. On an error they are as they were. The
// caller holds mu.
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

// closeNow closes a connection without waiting. TLS would first write that it ends, and
// wait for a client that does not read for five seconds: all other clients would wait
// with the goroutine that looks after their deadlines.
func closeNow(conn net.Conn) {
	if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = c.NetConn()
	}
	_ = conn.Close()
}
