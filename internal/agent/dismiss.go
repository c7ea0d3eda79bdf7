package agent

import (
	"io"
	"net"
	"time"
)

// maxDismissed is how many clients are dismissed at the same time.
const maxDismissed = 64

// turnAway closes the connection of a client that is not served, when that had a while to
// read the answer; nil if none can be sent.
func (h *Hub) turnAway(conn net.Conn, answer []byte) {
	if h.mayDismiss(conn, answer) {
		go h.dismiss(conn, answer)
	}
}

// answer is turnAway on the goroutine that reads from the connection.
func (h *Hub) answer(conn net.Conn, answer []byte) {
	if h.mayDismiss(conn, answer) {
		h.dismiss(conn, answer)
	}
}

// mayDismiss reports whether the caller has to call dismiss. Without an answer, with too
// many clients that are dismissed, and once the hub drains, it closes the connection at
// once, and sends what can be sent without waiting.
func (h *Hub) mayDismiss(conn net.Conn, answer []byte) bool {
	h.mu.Lock()
	ok := answer != nil && !h.draining && len(h.dismissed) < maxDismissed
	if ok {
		h.dismissed[conn] = struct{}{}
		h.wg.Add(1)
	}
	h.mu.Unlock()
	if !ok {
		socket := conn
		if c, steady := conn.(*steadyConn); steady {
			socket = c.Conn
		}
		writeNow(socket, answer)
		closeNow(conn)
	}
	return ok
}

// dismiss sends the answer, and reads on until the client closes its side or has had the
// time and bytes to do so: see linger.
func (h *Hub) dismiss(conn net.Conn, answer []byte) {
	defer h.wg.Done()
	late := time.AfterFunc(linger, func() { closeNow(conn) })
	_, err := conn.Write(answer)
	half, pipe := halfCloser(conn)
	if err == nil && !pipe {
		if half != nil {
			_ = half.CloseWrite()
		}
		_, _ = io.CopyN(io.Discard, conn, lingerBytes)
	}
	late.Stop()
	closeNow(conn)
	h.mu.Lock()
	delete(h.dismissed, conn)
	h.mu.Unlock()
}
