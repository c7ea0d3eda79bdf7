package agent

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/gorilla/websocket"
)

// wsBuffer is the size of the WebSocket library's buffers in bytes. They are small,
// because the library is only used for the upgrade.
const wsBuffer = 128

var wsWriteBuffers sync.Pool

// ServeWebSocket upgrades a request, and serves the client on a new goroutine until it
// has left.
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
	if r.Header.Get("Upgrade") == "" {
		h.mistaken(remote, "an HTTP request without an upgrade, want a WebSocket client")
		http.Error(w, "this is the path of WebSocket clients: the request asks for no upgrade", http.StatusBadRequest)
		return
	}
	foreign := false
	up := websocket.Upgrader{
		HandshakeTimeout: left,
		ReadBufferSize:   wsBuffer,
		WriteBufferSize:  wsBuffer,
		WriteBufferPool:  &wsWriteBuffers,
		Subprotocols:     h.Subprotocols,
		CheckOrigin: func(r *http.Request) bool {
			foreign = !h.CheckOrigin(r)
			return !foreign
		},
	}
	hijack := &hijacker{ResponseWriter: w, hub: h, remote: remote, request: r}
	_, err := up.Upgrade(hijack, r, nil)
	if err != nil {
		// The library has answered the request. If it had already taken over the
		// connection, it has closed it.
		switch {
		case hijack.conn != nil:
			hijack.conn.finishReading(io.EOF)
		case foreign:
			h.refuse(refusedOrigin, remote)
		case hijack.err != nil:
			h.Counts.HandshakesRefused.Add(1)
			h.Log.Error("nano: upgrade failed: the http.ResponseWriter of a middleware needs Hijack or Unwrap", "remote", remote, "error", hijack.err)
		case !hijack.tried:
			h.Counts.HandshakesRefused.Add(1)
			h.Log.Debug("nano: upgrade refused", "remote", remote, "error", err)
		}
		return
	}
	go hijack.conn.serve(nil, left)
}

// hijacker registers the connection that the WebSocket library takes over.
type hijacker struct {
	http.ResponseWriter
	hub     *Hub
	remote  net.Addr
	request *http.Request
	tried   bool // the request was an upgrade request
	conn    *Conn
	err     error // why the connection cannot be taken over
}

var errNotTaken = errors.New("the server takes no more connections")

// peerOf returns the address that a request came from, or nil if it is unknown.
func peerOf(r *http.Request) net.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(ap)
}

// Hijack takes over the connection from the HTTP server.
func (j *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	j.tried = true
	conn, brw, err := http.NewResponseController(j.ResponseWriter).Hijack()
	if err != nil {
		j.err = err
		return nil, nil, err
	}
	if j.remote == nil {
		j.remote = conn.RemoteAddr()
	}
	if c, ok := conn.(*webConn); ok {
		conn = c.released()
	}
	if j.conn, _ = j.hub.newConn(conn, j.remote, true); j.conn == nil {
		_ = conn.Close()
		return nil, nil, errNotTaken
	}
	j.hub.keepUpgrade(j.conn.agent.Load(), j.request)
	return conn, brw, nil
}
