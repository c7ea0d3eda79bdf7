package load

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// These are the packets and messages of the protocol.
const (
	head = 4 // bytes before a packet's body: the type and the length

	packetHandshake = 1
	packetAck       = 2
	packetHeartbeat = 3
	packetData      = 4
	packetKick      = 5

	typeRequest  = 0
	typeNotify   = 1
	typeResponse = 2
	typePush     = 3
)

// stampLength is the length of a number in a payload. A payload begins with two numbers:
// the client's, and the message's or the room's. They are letters, which every codec
// leaves unchanged.
const stampLength = 8

func stamp(b []byte, v uint32) {
	for i := range stampLength {
		b[i] = 'a' + byte(v>>(28-4*i))&15
	}
}

func stamped(b []byte) (v uint32) {
	for i := range stampLength {
		v = v<<4 | uint32(b[i]-'a')&15
	}
	return v
}

func packet(typ byte, body []byte) []byte {
	b := []byte{typ, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}
	return append(b, body...)
}

// wsFrame returns a masked binary frame of a client. The mask is 0, so the payload is
// unchanged. The server unmasks it all the same.
func wsFrame(p []byte) []byte {
	b := []byte{0x82, 0x80 | byte(len(p))}
	if len(p) > 125 {
		b = []byte{0x82, 0x80 | 126, byte(len(p) >> 8), byte(len(p))}
	}
	b = append(b, 0, 0, 0, 0)
	return append(b, p...)
}

// upgrade is the request that makes a connection a WebSocket, with the key of the example in RFC 6455.
const upgrade = "GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// firstID is added to the numbers of requests, so that every id takes four bytes.
const firstID = 1 << 21

// template is an encoded message without its numbers.
type template struct {
	frame   []byte
	id      int    // offset of the id in frame, or -1
	letters int    // offset of the payload's letters in frame
	payload []byte // the payload alone
	offset  int    // offset of the letters in payload
}

func newTemplate(typ byte, route string, codec Codec, size int, ws bool) template {
	var t template
	letters := strings.Repeat("x", size)
	switch codec {
	case JSON:
		const before = `{"content":"`
		t.payload, t.offset = []byte(before+letters+`"}`), len(before)
	case Protobuf:
		t.payload, t.offset = append([]byte{1<<3 | 2, byte(size)}, letters...), 2
	default:
		t.payload = []byte(letters)
	}
	body := []byte{typ << 1}
	t.id = -1
	if typ == typeRequest {
		body = append(body, 0, 0, 0, 0)
	}
	body = append(body, byte(len(route)))
	body = append(body, route...)
	body = append(body, t.payload...)
	t.frame = packet(packetData, body)
	before := 0
	if ws {
		framed := wsFrame(t.frame)
		before = len(framed) - len(t.frame)
		t.frame = framed
	}
	if typ == typeRequest {
		t.id = before + head + 1
	}
	t.letters = len(t.frame) - len(t.payload) + t.offset
	return t
}

// append appends a message with the client's number and its own.
func (t *template) append(b []byte, client, number uint32) []byte {
	start := len(b)
	b = append(b, t.frame...)
	if t.id >= 0 {
		id, v := b[start+t.id:], number+firstID
		id[0], id[1], id[2], id[3] = byte(v)|0x80, byte(v>>7)|0x80, byte(v>>14)|0x80, byte(v>>21)&0x7f
	}
	letters := b[start+t.letters:]
	stamp(letters, client)
	stamp(letters[stampLength:], number)
	return b
}

// check returns the numbers of a payload, and reports whether the rest is unchanged.
func (t *template) check(payload []byte) (client, number uint32, ok bool) {
	if len(payload) != len(t.payload) {
		return 0, 0, false
	}
	letters := payload[t.offset:]
	const both = 2 * stampLength
	return stamped(letters), stamped(letters[stampLength:]),
		bytes.Equal(payload[:t.offset], t.payload[:t.offset]) && bytes.Equal(letters[both:], t.payload[t.offset+both:])
}

// message is a message from the server, or one that it echoed.
type message struct {
	typ     byte
	failed  bool   // an error response
	id      uint64 // 0 if there is none
	payload []byte
}

// parse parses the body of a data packet.
func parse(b []byte) (m message, ok bool) {
	if len(b) == 0 {
		return m, false
	}
	flag := b[0]
	m.typ, m.failed = flag>>1&7, flag&0x20 != 0
	b = b[1:]
	if m.typ == typeRequest || m.typ == typeResponse {
		id, n := binary.Uvarint(b)
		if n <= 0 {
			return m, false
		}
		m.id, b = id, b[n:]
	}
	if m.typ != typeResponse { // a push, or an echoed request or notify
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return m, false
		}
		b = b[1+int(b[0]):]
	}
	m.payload = b
	return m, true
}

// unframe parses one server frame at the start of b. n is 0 if the frame is incomplete.
func unframe(b []byte) (opcode byte, payload []byte, n int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	header, size := 2, int(b[1]&0x7f)
	switch size {
	case 126:
		if header = 4; len(b) < header {
			return 0, nil, 0
		}
		size = int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if header = 10; len(b) < header {
			return 0, nil, 0
		}
		size = int(min(binary.BigEndian.Uint64(b[2:]), 1<<31))
	}
	if len(b) < header+size {
		return 0, nil, 0
	}
	return b[0] & 15, b[header : header+size], header + size
}
