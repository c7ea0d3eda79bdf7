package testkit

import (
	"encoding/binary"
	"net/http"
	"strings"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

// RequestOfSize returns a request to Game.Echo whose packet has a body of n bytes.
func RequestOfSize(id uint64, n int) []byte {
	head := len(Request(id, "Game.Echo", "")) - packet.HeadLength
	return Request(id, "Game.Echo", strings.Repeat("x", n-head))
}

// DataPacket returns a data packet whose body is the parts, joined.
func DataPacket(parts ...string) []byte { return Pack(packet.Data, strings.Join(parts, "")) }

// RequestsWithoutBody returns HTTP requests that announce a body but do not send it. The
// values are the expected status codes.
func RequestsWithoutBody() map[string]int {
	const rest = "Host: localhost\r\nContent-Length: 1000\r\n"
	wrong := strings.Replace(UpgradeRequest("/"), "Version: 13", "Version: 12", 1)
	return map[string]int{
		"POST / HTTP/1.1\r\n" + rest + "\r\n":                                                                          http.StatusBadRequest,
		"GET / HTTP/1.1\r\n" + rest + "\r\n":                                                                           http.StatusBadRequest,
		"POST /nowhere HTTP/1.1\r\n" + rest + "\r\nhalf of":                                                            http.StatusNotFound,
		"GET /nowhere HTTP/1.1\r\n" + rest + "\r\n":                                                                    http.StatusNotFound,
		"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n":                               http.StatusNotFound,
		"POST /nowhere HTTP/1.1\r\n" + rest + "Expect: a miracle\r\n\r\n":                                              http.StatusExpectationFailed,
		"POST /nowhere HTTP/1.1\r\n" + rest + "Expect: 100-continue\r\n\r\n":                                           http.StatusNotFound,
		"POST /page HTTP/1.1\r\n" + rest + "\r\n":                                                                      http.StatusOK,
		strings.Replace(wrong, "\r\n", "\r\nContent-Length: 1000\r\n", 1):                                              http.StatusBadRequest,
		strings.Replace(UpgradeRequest("/"), "\r\n", "\r\nOrigin: http://evil.example\r\nContent-Length: 1000\r\n", 1): http.StatusForbidden,
	}
}

// UpgradeRequest returns an HTTP request that asks for a WebSocket at path.
func UpgradeRequest(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
}

// Frame returns a masked WebSocket frame as a client sends it (RFC 6455, section 5.2).
func Frame(first byte, payload []byte) []byte {
	var b []byte
	switch n := len(payload); {
	case n <= 125:
		b = append(b, first, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, first, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, first, 0x80|127), uint64(n))
	}
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

// Pack returns a packet.
func Pack(typ packet.Type, body string) []byte {
	b, err := codec.Append(nil, typ, []byte(body))
	if err != nil {
		panic(err)
	}
	return b
}

func data(m message.Message, body string) []byte {
	m.Data = []byte(body)
	b, err := codec.AppendMessage(nil, &m, nil)
	if err != nil {
		panic(err)
	}
	return b
}

// Request returns a data packet with a request.
func Request(id uint64, route, body string) []byte {
	return data(message.Message{Type: message.Request, ID: id, Route: route}, body)
}

// Notify returns a data packet with a notify.
func Notify(route, body string) []byte {
	return data(message.Message{Type: message.Notify, Route: route}, body)
}
