package agent

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/lonng/nano/session"
)

// started is when the deadline of a connection's handshake began to run. It travels in the context of the
// connection's requests.
type started struct {
	at   time.Time
	used atomic.Bool // by a first request: a later one of the same connection has a deadline of its own
}

type startedKey struct{}

// ConnContext notes when a connection was accepted; it is for http.Server.
func ConnContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, startedKey{}, &started{at: time.Now()})
}

// NoUpgrade notes that a connection's first request is for a page: what may follow has a deadline of its own.
func NoUpgrade(r *http.Request) {
	if s, ok := r.Context().Value(startedKey{}).(*started); ok {
		s.used.Store(true)
	}
}

// wsReadBuffer is the library's own buffer. It is small: wsConn reads a lot at once, from a shared buffer.
const wsReadBuffer = 128

var wsWriteBuffers sync.Pool

// ServeWebSocket upgrades a request and serves the client until it is gone, on a goroutine of its own.
func (h *Host) ServeWebSocket(w http.ResponseWriter, r *http.Request) {
	left := h.HandshakeTimeout
	s, ours := r.Context().Value(startedKey{}).(*started)
	if ours && !s.used.Swap(true) {
		left = max(left-time.Since(s.at), time.Millisecond)
	}
	peer := peerOf(r)
	remote := h.forwardedFor(peer, r)
	if h.overFull(peer, remote, ours) {
		http.Error(w, "too many connections", http.StatusServiceUnavailable)
		return
	}
	up := websocket.Upgrader{
		ReadBufferSize:  wsReadBuffer,
		WriteBufferSize: wsReadBuffer,
		WriteBufferPool: &wsWriteBuffers,
		CheckOrigin:     h.CheckOrigin,
	}
	hijack := &hijacker{ResponseWriter: w, host: h, remote: remote}
	ws, err := up.Upgrade(hijack, r, nil)
	if err != nil {
		// The library has answered. A connection it had taken over already is closed by it.
		if hijack.conn != nil {
			hijack.conn.abandon()
		}
		return
	}
	conn := hijack.conn // the rest of hijack is not to be kept
	ping := ws.PingHandler()
	ws.SetPingHandler(func(data string) error {
		if err := conn.in.control(); err != nil {
			return err
		}
		return ping(data)
	})
	ws.SetPongHandler(func(string) error { return conn.in.control() })
	conn.upgraded.Store(true)
	go conn.a.serveWebSocket(ws, conn, left)
}

// hijacker hands the library a connection whose writes go through the agent.
type hijacker struct {
	http.ResponseWriter
	host   *Host
	remote net.Addr
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

// overFull reports whether a client would pass a limit of connections, and counts it as refused then. peer is who made
// the connection, remote who is behind it; ours tells that Page has counted it.
func (h *Host) overFull(peer, remote net.Addr, ours bool) bool {
	h.mu.Lock()
	if ours {
		h.occupy(h.countedAs(peer), -1)
	}
	limit := h.full(remote)
	if ours {
		h.occupy(h.countedAs(peer), 1)
	}
	h.mu.Unlock()
	if limit != "" {
		h.refuse(slices.Index(refusedNames[:], limit), remote)
	}
	return limit != ""
}

// countedAs is the address for which a connection that may become a WebSocket counts: none where it is that of a proxy.
func (h *Host) countedAs(peer net.Addr) net.Addr {
	if h.trusts(peer) {
		return nil
	}
	return peer
}

// Page counts the connections that may become WebSockets, so that the limits hold for those too that never do. Those
// that have asked for nothing yet are closed when the host drains: the HTTP server would wait for them. It is the ConnState
// of an http.Server.
func (h *Host) Page(conn net.Conn, state http.ConnState) {
	h.mu.Lock()
	draining := h.draining && state == http.StateNew
	if state == http.StateNew {
		h.mute[conn] = struct{}{}
	} else {
		delete(h.mute, conn)
	}
	h.mu.Unlock()
	if draining {
		_ = conn.Close()
	}
	if h.Limits.MaxConnections <= 0 && h.Limits.MaxPerAddress <= 0 {
		return
	}
	remote := h.countedAs(conn.RemoteAddr())
	limit := ""
	h.mu.Lock()
	switch _, counted := h.pages[conn]; {
	case state == http.StateNew:
		if limit = h.full(remote); limit == "" {
			h.pages[conn] = struct{}{}
			h.occupy(remote, 1)
		}
	case counted && (state == http.StateHijacked || state == http.StateClosed):
		delete(h.pages, conn)
		h.occupy(remote, -1)
	}
	h.mu.Unlock()
	if limit != "" {
		h.refuse(slices.Index(refusedNames[:], limit), conn.RemoteAddr())
		turnAway(conn, noRoomPage)
	}
}

// Hijack takes the connection over from the HTTP server.
func (j *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	inner, ok := j.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, errors.New("the connection cannot be upgraded")
	}
	conn, brw, err := inner.Hijack()
	if err != nil {
		return nil, nil, err
	}
	if j.remote == nil {
		j.remote = conn.RemoteAddr()
	}
	a, _ := j.host.newAgent(conn, j.remote, true)
	if a == nil {
		_ = conn.Close()
		return nil, nil, errNotTaken
	}
	j.conn = &wsConn{Conn: conn, a: a, in: newInput(a)}
	j.conn.in.socket = j.conn
	return j.conn, brw, nil
}

// wsConn is a connection as the WebSocket library sees it. What the library writes after the upgrade (pongs, close
// frames) is queued with everything else, so that the connection has one writer.
type wsConn struct {
	net.Conn
	a        *Agent
	in       *input
	upgraded atomic.Bool

	// Of the reader: bytes that were read from the connection and not taken by the library.
	left []byte
}

// Read gives the library bytes. Before it waits for more, what was decoded from those before is delivered.
func (c *wsConn) Read(b []byte) (int, error) {
	if len(c.left) == 0 {
		c.in.deliver()
		if !c.in.lent {
			c.in.settle()
		}
		if c.a.raw == nil {
			return c.Conn.Read(b)
		}
		more, err := c.in.readRaw()
		if err != nil {
			return 0, err
		}
		c.left = more
	}
	n := copy(b, c.left)
	c.left = c.left[n:]
	return n, nil
}

// Write queues what the library writes.
func (c *wsConn) Write(b []byte) (int, error) {
	if !c.upgraded.Load() {
		return c.Conn.Write(b)
	}
	if err := c.a.out.raw(c.a, b); err != nil {
		return 0, err
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
	a.host.wheel.add(a, left)
	err := errGoexit
	defer func() { c.in.stop(err) }()
	err = c.in.frames(ws)
	c.in.deliver()
	c.in.settle()
	a.finishReading(err)
}

// frames reads the frames of a WebSocket connection. Their payloads are a stream of packets: a frame may hold
// several, and a packet may span frames.
func (in *input) frames(ws *websocket.Conn) error {
	a := in.a
	for {
		kind, r, err := ws.NextReader()
		if err == nil && kind != websocket.BinaryMessage && !a.flags.has(flagClosed) {
			a.refuse(&protocolError{reason: session.ErrProtocol, code: closeUnsupported, err: errText})
			continue
		}
		if err != nil {
			return in.frameError(err)
		}
		for empty := true; ; empty = false {
			in.lent = true
			n, err := r.Read(in.space())
			in.lent = false
			if n == 0 && err == io.EOF && empty && !a.flags.has(flagClosed) {
				if err := in.control(); err != nil {
					a.refuse(err)
				}
			}
			if a.flags.has(flagClosed) {
				n = 0
			}
			if n > 0 {
				if err := in.take(n); err != nil && !a.flags.has(flagClosed) {
					a.refuse(err)
				}
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return in.frameError(err)
			}
		}
	}
}

var errText = errors.New("a text frame: want binary ones")

// frameError tells faults of the client's frames from the end of its connection.
func (in *input) frameError(err error) error {
	var closing *websocket.CloseError
	var network net.Error
	var ours *protocolError
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &closing):
		// The library has queued the answer to the client's close frame.
		return &protocolError{reason: session.ErrClientClosed, code: closeSent, err: err}
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.As(err, &network):
		return err
	}
	return &protocolError{reason: session.ErrProtocol, code: closeSent, err: err}
}
