package agent

import (
	"context"
	"net"
	"net/http"
	"time"
)

// page is a connection of the server's own HTTP listener that is no WebSocket, or not
// yet. It is closed when its time is over, because the HTTP server itself waits without a
// limit: for a body that was announced, and for an answer to be read. Only a page of the
// program has no limit.
type page struct {
	hub   *Hub
	conn  net.Conn
	timer *time.Timer // calls expire

	// The hub's mu guards what follows.
	since   time.Duration // when it was accepted, on the wheel's clock; 0 once a request was answered
	until   time.Duration // when it is closed, on the wheel's clock; 0 for never
	counted bool          // it has a place among the connections
	extra   bool          // that place is beyond the limits
	program bool          // the request that is served is for a page of the program
}

// answerTime is how long an answer may take, and how long an unread body.
const answerTime = closeTimeout

type pageKey struct{}

// pageOf returns the connection that a request came on; nil if that is not of the
// server's own listener.
func pageOf(r *http.Request) *page {
	p, _ := r.Context().Value(pageKey{}).(*page)
	return p
}

// ConnContext takes a connection into the hub's care; it is for the http.Server that has
// ConnState. The deadline of the handshake starts now.
func (h *Hub) ConnContext(ctx context.Context, conn net.Conn) context.Context {
	h.wheel.watch()
	p := &page{hub: h, conn: conn, since: max(h.wheel.passed(), 1)}
	p.timer = time.AfterFunc(h.HandshakeTimeout, p.expire)
	h.mu.Lock()
	p.within(h.HandshakeTimeout)
	h.pages[conn] = p
	h.mu.Unlock()
	return context.WithValue(ctx, pageKey{}, p)
}

// within has the connection closed when d is over, or never where d is 0. The caller
// holds the hub's mu.
func (p *page) within(d time.Duration) {
	if d == 0 {
		p.until = 0
		p.timer.Stop()
		return
	}
	p.until = p.hub.wheel.passed() + d
	p.timer.Reset(d)
}

// expire closes a connection whose time is over. Its place is free when the client sees
// that.
func (p *page) expire() {
	p.hub.mu.Lock()
	left := p.hub.wheel.left(p.until)
	over := p.until != 0 && left == 0
	switch {
	case over:
		p.vacate()
	case p.until != 0: // the process did not run meanwhile
		p.timer.Reset(left)
	}
	p.hub.mu.Unlock()
	if over {
		closeNow(p.conn)
	}
}

// vacate gives up the connection's place. The caller holds the hub's mu.
func (p *page) vacate() {
	if p.counted {
		p.counted = false
		p.hub.occupy(p.hub.countedAs(p.conn.RemoteAddr()), -1)
	}
	if p.extra {
		p.extra = false
		p.hub.extra--
	}
}

// ConnState gives each connection its place, so that the limits hold for those too that
// never become a WebSocket, and its time. It is for the http.Server that has ConnContext,
// with a listener of Pages.
func (h *Hub) ConnState(conn net.Conn, state http.ConnState) {
	remote, full := h.countedAs(conn.RemoteAddr()), noLimit
	h.mu.Lock()
	draining := h.draining && state == http.StateNew
	p := h.pages[conn]
	p.program = false
	switch state {
	case http.StateNew:
		if full, p.extra = h.admit(remote); full == noLimit {
			p.counted = true
			h.occupy(remote, 1)
			if p.extra {
				h.extra++
			}
		}
	case http.StateActive: // the head of a request has come
		p.within(answerTime)
	case http.StateIdle: // until the next one the HTTP server has a time of its own
		p.since = 0
		p.within(0)
	case http.StateHijacked, http.StateClosed:
		delete(h.pages, conn)
		p.within(0)
		p.vacate()
		if state == http.StateHijacked {
			conn.(*webConn).socket.release() // its deadlines do without the clock, which may stop
		}
		h.wheel.unwatch()
	}
	h.mu.Unlock()
	if draining {
		closeNow(conn)
	} else if full != noLimit {
		h.refuse(full, conn.RemoteAddr())
		c := conn.(*webConn)
		answer := noRoomPage
		if h.TLS != nil {
			answer = nil // before TLS no answer can be sent
		}
		c.full = h.mayDismiss(c.Conn, answer)
	}
}

// ServePage serves a page of the program, which takes the time it likes.
func (h *Hub) ServePage(handler http.Handler, w http.ResponseWriter, r *http.Request) {
	p := pageOf(r)
	h.mu.Lock()
	p.program = true
	p.within(0)
	h.mu.Unlock()
	handler.ServeHTTP(w, r)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pages[p.conn] == nil {
		return // the program has taken the connection over
	}
	// What is left of the request's body is read before the answer goes out.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(answerTime))
	p.within(2 * answerTime)
}

// left returns what a client that asks for an upgrade has for its handshake.
func (p *page) left() time.Duration {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.since == 0 {
		return p.hub.HandshakeTimeout
	}
	return max(p.hub.HandshakeTimeout+p.since-p.hub.wheel.passed(), time.Millisecond)
}

// overFull reports whether a client would pass a limit of connections, and counts it as
// refused then. peer is the address that made the connection, remote that of the client
// behind it; the place that it has as a page does not count, if it is one.
func (h *Hub) overFull(p *page, peer, remote net.Addr) bool {
	h.mu.Lock()
	counted := p != nil && p.counted
	if counted {
		h.occupy(h.countedAs(peer), -1)
	}
	if p != nil && p.extra {
		h.extra--
	}
	full, _ := h.admit(remote)
	if p != nil && p.extra {
		h.extra++
	}
	if counted {
		h.occupy(h.countedAs(peer), 1)
	}
	h.mu.Unlock()
	if full != noLimit {
		h.refuse(full, remote)
	}
	return full != noLimit
}

// countedAs is the address for which a connection that may become a WebSocket counts:
// none if it is that of a proxy.
func (h *Hub) countedAs(peer net.Addr) net.Addr {
	if h.trusts(peer) {
		return nil
	}
	return peer
}
