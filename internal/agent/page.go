package agent

import (
	"context"
	"net"
	"net/http"
	"time"
)

// page is a connection of the server's own HTTP listener that was not upgraded to
// WebSocket. It has a time limit, because the HTTP server waits without a limit for a
// request body and for the client to read an answer. Only a page of the program has no
// limit.
type page struct {
	hub   *Hub
	conn  net.Conn
	timer *time.Timer // calls expire

	// The hub's mu guards the following fields.
	since   time.Duration // when it was accepted, on the wheel's clock; 0 after the first answered request
	until   time.Duration // when it is closed, on the wheel's clock; 0 for never
	counted bool          // it counts as a connection
	extra   bool          // it counts as a connection beyond the limits
	program bool          // the current request is for a page of the program
}

// answerTime is the time limit for sending an answer, and for reading a request body.
const answerTime = closeTimeout

type pageKey struct{}

// pageOf returns the page of a request. It is nil if the request came over another
// listener than the server's own.
func pageOf(r *http.Request) *page {
	p, _ := r.Context().Value(pageKey{}).(*page)
	return p
}

// ConnContext registers a connection with the hub. It is for the http.Server that has
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

// within closes the connection after d, or never if d is 0. The caller holds the hub's
// mu.
func (p *page) within(d time.Duration) {
	if d == 0 {
		p.until = 0
		p.timer.Stop()
		return
	}
	p.until = p.hub.wheel.passed() + d
	p.timer.Reset(d)
}

// expire closes a connection whose time limit has passed. The connection counts toward
// the limits until then.
func (p *page) expire() {
	p.hub.mu.Lock()
	left := p.hub.wheel.left(p.until)
	over := p.until != 0 && left == 0
	switch {
	case over:
		p.vacate()
	case p.until != 0: // the process was stopped meanwhile
		p.timer.Reset(left)
	}
	p.hub.mu.Unlock()
	if over {
		closeNow(p.conn)
	}
}

// vacate stops counting the connection toward the limits. The caller holds the hub's mu.
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

// ConnState counts each connection toward the limits, including those that never become a
// WebSocket, and sets its time limit. It is for the http.Server that has ConnContext,
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
	case http.StateActive: // the head of a request was received
		p.within(answerTime)
	case http.StateIdle: // the HTTP server has its own limit until the next request
		p.since = 0
		p.within(0)
	case http.StateHijacked, http.StateClosed:
		delete(h.pages, conn)
		p.within(0)
		p.vacate()
		if state == http.StateHijacked {
			conn.(*webConn).socket.release() // its deadlines do not need the clock, which may stop
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

// ServePage serves a page of the program, without a time limit.
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
		return // the program has taken over the connection
	}
	// The rest of the request body is read before the answer is sent.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(answerTime))
	p.within(2 * answerTime)
}

// left returns the time that remains for the handshake after an upgrade request.
func (p *page) left() time.Duration {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.since == 0 {
		return p.hub.HandshakeTimeout
	}
	return max(p.hub.HandshakeTimeout+p.since-p.hub.wheel.passed(), time.Millisecond)
}

// overFull reports whether a client would exceed a connection limit, and counts that as a
// refusal. peer is the address of the connection, and remote is the address of the client
// behind it. The page's own place is not counted.
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

// countedAs returns the address under which a connection counts before it becomes a
// WebSocket. It is nil for the address of a proxy.
func (h *Hub) countedAs(peer net.Addr) net.Addr {
	if h.trusts(peer) {
		return nil
	}
	return peer
}
