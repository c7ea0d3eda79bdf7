// Package packet implements the four-byte header of a packet. Package codec reads and writes whole packets; package
// message implements the body of a data packet.
package packet

// Type is the first byte of a packet.
type Type byte

// The packet types of the protocol. Every other value is malformed.
const (
	Handshake Type = 0x01 // client to server, then server to client; the body is JSON
	Ack       Type = 0x02 // client to server; no body
	Heartbeat Type = 0x03 // both ways; a body is ignored and never sent
	Data      Type = 0x04 // one message
	Kick      Type = 0x05 // server to client, then the server closes; the body is JSON
)

const (
	// HeadLength is the size of the header in bytes.
	HeadLength = 4
	// MaxLength is the largest body, in bytes, that a header can announce.
	MaxLength = 1<<24 - 1
)

// Valid reports whether t is part of the protocol.
func (t Type) Valid() bool { return t >= Handshake && t <= Kick }

// String returns the name of the type for logs.
func (t Type) String() string {
	switch t {
	case Handshake:
		return "handshake"
	case Ack:
		return "ack"
	case Heartbeat:
		return "heartbeat"
	case Data:
		return "data"
	case Kick:
		return "kick"
	}
	return "unknown"
}

// PutHeader writes the header of a packet with a body of n bytes to b, which must have room for HeadLength bytes. The
// caller ensures that n is at most MaxLength.
//
//	0        1                          4
//	+--------+--------+--------+--------+----------------+
//	| type   | body length, big endian  | body           |
//	+--------+--------+--------+--------+----------------+
func PutHeader(b []byte, t Type, n int) {
	_ = b[3]
	b[0], b[1], b[2], b[3] = byte(t), byte(n>>16), byte(n>>8), byte(n)
}

// Header decodes the first HeadLength bytes of b: the type, which may be invalid, and the length of the body.
func Header(b []byte) (Type, int) {
	_ = b[3]
	return Type(b[0]), int(b[1])<<16 | int(b[2])<<8 | int(b[3])
}
