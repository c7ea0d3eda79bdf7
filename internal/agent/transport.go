package agent

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
)

// mistaken notes that a client speaks another transport than the server. It is logged at
// a bounded rate.
func (h *Hub) mistaken(remote net.Addr, what string) {
	if n := h.countRefusal(refusedTransport); n > 0 {
		h.Log.Warn("nano: a client with the wrong transport", "found", what, "total", n, "last", remote)
	}
}

// methods are those that an HTTP request may begin with.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodConnect, http.MethodOptions, http.MethodTrace, "PRI", // of HTTP/2
}

// wrongTransport recognizes what b, the first bytes of a TCP client, begins if it is no
// packet. It tells an HTTP client what is wrong.
func (c *Conn) wrongTransport(b []byte) {
	switch {
	case bytes.HasPrefix(b, []byte{0x16, 0x03}): // a record of a TLS handshake, and the major version
		c.hub.mistaken(c.remote, "a TLS client on a port without TLS")
	case isRequest(b):
		c.hub.mistaken(c.remote, "an HTTP or WebSocket client on a port for TCP clients")
		const text = "this port is for TCP clients of nano, and takes neither HTTP requests nor WebSocket clients\n"
		_ = c.queue(func(b []byte) ([]byte, error) {
			return fmt.Appendf(b, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"+
				"Content-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text), nil
		})
	}
}

// isRequest reports whether b begins an HTTP request.
func isRequest(b []byte) bool {
	for _, m := range methods {
		if bytes.HasPrefix(b, []byte(m+" ")) {
			return true
		}
	}
	return false
}
