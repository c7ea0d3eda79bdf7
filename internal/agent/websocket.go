package agent

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/lonng/nano/session"
)

// wsReadBuffer is the library's own buffer. It is small: wsConn reads a lot at once, from a shared buffer.
const wsReadBuffer = 128

var wsWriteBuffers sync.Pool

// ServeWebSocket upgrades a request and serves the client until it is gone, on a goroutine of its own.
func (h *Hub) ServeWebSocket(w http.ResponseWriter, r *http.Request) {
	left := h.HandshakeTimeout
	ours := pageOf(r)
	if ours != nil {
		left = ours.left()
	}
	peer := peerOf(r)
	remote := h.forwardedFor(peer, r)
	if h.overFull(ours, peer, remote) {
		http.Error(w, "too many connections", http.StatusServiceUnavailable)
		return
	}
	foreign := false
	up := websocket.Upgrader{
		HandshakeTimeout: left,
		ReadBufferSize:   wsReadBuffer,
		WriteBufferSize:  wsReadBuffer,
		WriteBufferPool:  &wsWriteBuffers,
		CheckOrigin: func(r *http.Request) bool {
			foreign = !h.CheckOrigin(r)
			return !foreign
		},
	}
	hijack := &hijacker{ResponseWriter: w, hub: h, remote: remote}
	ws, err := up.Upgrade(hijack, r, nil)
	if err != nil {
		// The library has answered. A connection it had taken over already is closed by it.
		switch {
		case hijack.conn != nil:
			hijack.conn.abandon()
		case foreign:
			h.refuse(refusedOrigin, remote)
		case !hijack.tried && r.Header.Get("Upgrade") != "":
			h.Counts.HandshakesRefused.Add(1)
			h.Log.Debug("nano: upgrade refused", "remote", remote, "error", err)
		}
		return
	}
	conn := hijack.conn // the rest of hijack is not to be kept
	ping := ws.PingHandler()
	ws.SetPingHandler(func(data string) error {
		conn.came(len(data))
		if err := conn.in.control(len(data)); err != nil {
			return err
		}
		return ping(data)
	})
	ws.SetPongHandler(func(data string) error {
		conn.came(len(data))
		return conn.in.control(len(data))
	})
	conn.upgraded.Store(true)
	go conn.a.serveWebSocket(ws, conn, left)
}

// hijacker hands the library a connection whose writes go through the agent.
type hijacker struct {
	http.ResponseWriter
	hub    *Hub
	remote net.Addr
	tried  bool // the request was one for an upgrade
	conn   *wsConn
}

var errNotTaken = errors.New("the server takes no more connections")

// peerOf returns the address a request came from; nil where it bears none.
func peerOf(r *http.Request) net.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(ap)
}

// Hijack takes the connection over from the HTTP server.
func (j *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	j.tried = true
	conn, brw, err := http.NewResponseController(j.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if j.remote == nil {
		j.remote = conn.RemoteAddr()
	}
	a, _ := j.hub.newAgent(conn, j.remote, true)
	if a == nil {
		_ = conn.Close()
		return nil, nil, errNotTaken
	}
	j.conn = &wsConn{Conn: conn, a: a, in: newInput(a)}
	j.conn.in.socket = j.conn
	return j.conn, brw, nil
}

// wsConn is a connection as the WebSocket library sees it. The pongs that the library writes after the upgrade are queued
// with everything else, so that the connection has one writer; its close frames are not sent, since we send our own
// when all has gone that is to go before it.
type wsConn struct {
	net.Conn
	a        *Agent
	in       *input
	upgraded atomic.Bool

	// Of the reader.
	left []byte // bytes that were read from the connection and not taken by the library
	bare int    // bytes that were read and belong to no frame that came to anything
}

// The head of a client's frame with a payload of shortPayload bytes at most, and what a longer one takes more: RFC 6455
// section 5.2. Control frames are no longer than short ones.
const (
	frameHead    = 2 + 4
	longHead     = 2
	shortPayload = 125
)

// Read gives the library bytes. Before it waits for more, those before are accounted, and what was decoded from them is
// delivered.
func (c *wsConn) Read(b []byte) (int, error) {
	if len(c.left) == 0 {
		if err := c.continuations(); err != nil {
			return 0, err // whoever reads delivers what was decoded
		}
		c.in.deliver()
		if !c.in.lent {
			c.in.settle()
		}
		if c.a.raw == nil {
			n, err := c.Conn.Read(b)
			c.bare += n
			return n, err
		}
		more, err := c.in.readRaw()
		if err != nil {
			return 0, err
		}
		c.left = more
		c.bare += len(more)
	}
	n := copy(b, c.left)
	c.left = c.left[n:]
	return n, nil
}

// continuations accounts empty continuation frames, which the library passes over without a word: bytes that have come to
// nothing, and are more than a control frame that is not whole, can be nothing else.
func (c *wsConn) continuations() error {
	if c.a.flags.has(flagClosed) {
		return nil
	}
	for ; c.bare > frameHead+shortPayload; c.bare -= frameHead {
		if err := c.in.control(0); err != nil {
			return err
		}
	}
	return nil
}

// came notes what a frame, or a part of one, has come to.
func (c *wsConn) came(payload int) {
	size := frameHead + payload
	if payload > shortPayload {
		size += longHead
	}
	c.bare = max(c.bare-size, 0)
}

// Write queues the pongs that the library writes. One that cannot be is no fault of the connection: the queue is full, or
// the farewell is in it, and then the client is heard until it has seen that. Where nothing can be written any more, reading
// tells.
func (c *wsConn) Write(b []byte) (int, error) {
	if !c.upgraded.Load() {
		return c.Conn.Write(b)
	}
	if b[0] != frameClose {
		_ = c.a.out.raw(c.a, b)
	}
	return len(b), nil
}

// SetWriteDeadline does nothing after the upgrade: the agent's writer sets its own.
func (c *wsConn) SetWriteDeadline(t time.Time) error {
	if !c.upgraded.Load() {
		return c.Conn.SetWriteDeadline(t)
	}
	return nil
}

// abandon ends an agent whose upgrade failed after its connection was taken over.
func (c *wsConn) abandon() {
	c.a.finishReading(io.EOF)
}

// serveWebSocket reads frames until the connection ends.
func (a *Agent) serveWebSocket(ws *websocket.Conn, c *wsConn, left time.Duration) {
	a.hub.wheel.add(a, left)
	err := errGoexit
	defer func() { c.in.stop(err) }()
	err = c.in.frames(ws)
	c.in.deliver()
	c.in.settle()
	if c.in.fault != nil {
		c.discard()
	}
	a.finishReading(err)
}

// discard reads on after a fault: a socket that is closed with unread input destroys what is on its way to the client.
func (c *wsConn) discard() {
	var b [512]byte
	for err := error(nil); err == nil; {
		if c.a.raw == nil {
			_, err = c.Conn.Read(b[:])
		} else {
			_, err = c.in.readRaw()
		}
	}
}

// frames reads the frames of a WebSocket connection, up to a fault or its end. Their payloads are a stream of packets: a
// frame may hold several, and a packet may span frames.
func (in *input) frames(ws *websocket.Conn) error {
	a := in.a
	for {
		kind, r, err := ws.NextReader()
		if err == nil && kind != websocket.BinaryMessage {
			err = errText
		}
		if err != nil {
			return in.frameError(err)
		}
		for empty := true; ; empty = false {
			in.lent = true
			n, err := r.Read(in.space())
			in.lent = false
			if n == 0 && err == io.EOF && empty && !a.flags.has(flagClosed) {
				if err := in.control(0); err != nil {
					return in.frameError(err)
				}
			}
			if a.flags.has(flagClosed) {
				n = 0
			}
			if n > 0 {
				in.socket.came(n)
				if err := in.take(n); err != nil {
					in.refuse(err)
					return err
				}
			}
			if err == io.EOF {
				in.socket.came(0) // a last frame may be empty, or all of them
				break
			}
			if err != nil {
				return in.frameError(err)
			}
		}
	}
}

var errText = &protocolError{reason: session.ErrProtocol, code: closeUnsupported, err: errors.New("a text frame: want binary ones")}

// frameError tells faults of the client's frames, which it refuses, from the end of its connection.
func (in *input) frameError(err error) error {
	var closing *websocket.CloseError
	var network net.Error
	var ours *protocolError
	switch {
	case errors.As(err, &ours):
		err = ours
	case errors.As(err, &closing) && closing.Code == websocket.CloseAbnormalClosure:
		return io.EOF // as the library calls it
	case errors.As(err, &closing):
		err = &protocolError{reason: session.ErrClientClosed, code: uint16(closing.Code), err: err}
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.As(err, &network):
		return err
	default:
		err = &protocolError{reason: session.ErrProtocol, code: closeProtocolError, err: err}
	}
	in.refuse(err)
	return err
}
