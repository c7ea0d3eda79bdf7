package agent

import (
	"io"
	"net"
	"time"
)

// maxDismissed is the maximum number of clients that are being dismissed at a time.
const maxDismissed = 64

// turnAway closes the connection of a client that is not served. It first gives the
// client time to read the answer. answer is nil if none can be sent.
func (h *Hub) turnAway(conn net.Conn, answer []byte) {
	if h.mayDismiss(conn, answer) {
		go h.dismiss(conn, answer)
	}
}

// answer is turnAway for the goroutine that reads from the connection.
func (h *Hub) answer(conn net.Conn, answer []byte) {
	if h.mayDismiss(conn, answer) {
		h.dismiss(conn, answer)
	}
}

// mayDismiss reports whether the caller has to call dismiss. It returns false and closes
// the connection at once if answer is nil, maxDismissed is reached, or the hub drains. In
// that case it writes what it can without waiting.
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

// dismiss sends the answer, and reads until the client closes its side or exceeds the
// limits of time and bytes: see linger.
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
