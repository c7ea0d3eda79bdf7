package agent

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/packet"
)

// mistaken counts a client that uses another transport than the server. It logs at a
// bounded rate.
func (h *Hub) mistaken(remote net.Addr, what string) {
	if n := h.countRefusal(refusedTransport); n > 0 {
		h.Log.Warn("nano: a client with the wrong transport", "found", what, "total", n, "remote", remote)
	}
}

// methods are the prefixes of an HTTP request.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodConnect, http.MethodOptions, http.MethodTrace, "PRI", // PRI starts HTTP/2
}

// These texts say why a client has to use another scheme.
const (
	wantsTCP       = "this port is for TCP clients of nano: dial it with tcp:// or tls://, it takes neither HTTP requests nor WebSocket clients"
	wantsWebSocket = "this port is for WebSocket clients: dial it with ws:// or wss://"
	wantsTLS       = "this port is for clients that use TLS: dial it with tls://, wss:// or https://"
)

// badRequest is the answer to an HTTP client with the wrong transport.
func badRequest(text string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s\n", len(text)+1, text)
}

// badHandshake is the answer to a TCP client with the wrong transport.
func (h *Hub) badHandshake(transport, text string) []byte {
	sys := refusalSys{h.hello.heartbeat, transport}
	body, _ := json.Marshal(refusalBody{codeRefused, text, sys}) // strings and numbers always encode
	packet, _ := codec.Append(nil, packet.Handshake, body)
	return packet
}

// wrongTransport detects another transport from b, the first bytes of a TCP client. It
// answers an HTTP client with an explanation.
func (c *Conn) wrongTransport(b []byte) {
	switch {
	case isTLS(b):
		c.hub.mistaken(c.remote, "a TLS client on a port without TLS")
	case isRequest(b):
		c.hub.mistaken(c.remote, "an HTTP or WebSocket client on a port for TCP clients")
		_ = c.queue(func(b []byte) ([]byte, error) { return append(b, badRequest(wantsTCP)...), nil })
	}
}

// mistakenOnWeb detects a client with another transport on a port for WebSocket clients,
// from its first bytes b. It answers such a client, and reports whether it is one.
func (h *Hub) mistakenOnWeb(conn net.Conn, b []byte) bool {
	switch {
	case isPacket(b):
		h.mistaken(conn.RemoteAddr(), "a TCP client on a port for WebSocket clients")
		h.answer(conn, h.badHandshake("websocket", wantsWebSocket))
	case isTLS(b):
		h.mistaken(conn.RemoteAddr(), "a TLS client on a port without TLS")
	default:
		return false
	}
	return true
}

// mistakenWithoutTLS answers a client that does not use TLS on a port with TLS.
func (h *Hub) mistakenWithoutTLS(socket net.Conn, remote net.Addr, e tls.RecordHeaderError) {
	switch b := e.RecordHeader[:]; {
	case e.Conn == nil: // it has used TLS before
	case isPacket(b):
		h.mistaken(remote, "a TCP client without TLS on a port with TLS")
		h.answer(socket, h.badHandshake("tls", wantsTLS))
	case isRequest(b):
		h.mistaken(remote, "an HTTP or WebSocket client without TLS on a port with TLS")
		h.answer(socket, badRequest(wantsTLS))
	}
}

// isTLS reports whether b begins a record of a TLS handshake. b may be incomplete.
func isTLS(b []byte) bool { return len(b) > 0 && begins(b, "\x16\x03") }

// isPacket reports whether b begins with a packet of a client.
func isPacket(b []byte) bool { return len(b) > 0 && packet.Type(b[0]).Valid() }

// isRequest reports whether b begins an HTTP request. b may be incomplete.
func isRequest(b []byte) bool {
	for _, m := range methods {
		if begins(b, m+" ") {
			return true
		}
	}
	return false
}
