// Package codec decodes and encodes packets. It is stateless: the caller keeps the bytes
// of an incomplete packet. Package message decodes the body of a data packet.
package codec

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

// DefaultLimit is the default limit of an incoming packet's body, in bytes.
const DefaultLimit = 64 << 10

var (
	// ErrPacketType is returned for a packet whose type is not part of the protocol.
	ErrPacketType = errors.New("codec: unknown packet type")
	// ErrPacketTooLarge is returned for a body longer than the limit, or longer than a header can announce.
	ErrPacketTooLarge = errors.New("codec: packet too large")
)

// Next decodes the first packet in b. The body aliases b; n is the packet's size in
// bytes, header included. If b holds no complete packet, n is 0 and need is the minimum
// number of bytes that b must hold. Next refuses an unknown type and a body longer than
// limit bytes as soon as it has the header.
func Next(b []byte, limit int) (t packet.Type, body []byte, n, need int, err error) {
	if len(b) < packet.HeadLength {
		if len(b) > 0 && !packet.Type(b[0]).Valid() {
			return 0, nil, 0, 0, fmt.Errorf("%w 0x%02x", ErrPacketType, b[0])
		}
		return 0, nil, 0, packet.HeadLength, nil
	}
	t, size := packet.Header(b)
	if !t.Valid() {
		return 0, nil, 0, 0, fmt.Errorf("%w 0x%02x", ErrPacketType, b[0])
	}
	if size > limit {
		return 0, nil, 0, 0, fmt.Errorf("%w: %d bytes announced, %d allowed", ErrPacketTooLarge, size, limit)
	}
	n = packet.HeadLength + size
	if len(b) < n {
		return 0, nil, 0, n, nil
	}
	return t, b[packet.HeadLength:n:n], n, 0, nil
}

// Append appends a complete packet to dst. If the body is longer than packet.MaxLength,
// it returns dst unchanged and ErrPacketTooLarge.
func Append(dst []byte, t packet.Type, body []byte) ([]byte, error) {
	if len(body) > packet.MaxLength {
		return dst, fmt.Errorf("%w: %d bytes, %d fit", ErrPacketTooLarge, len(body), packet.MaxLength)
	}
	var head [packet.HeadLength]byte
	packet.PutHeader(head[:], t, len(body))
	return append(append(dst, head[:]...), body...), nil
}

// AppendMessage appends a data packet with the message m to dst. It compresses a route
// that is in dict; dict may be nil. On an error it returns dst unchanged.
func AppendMessage(dst []byte, m *message.Message, dict *message.Dictionary) ([]byte, error) {
	start := len(dst)
	out := append(dst, 0, 0, 0, 0)
	out, err := message.AppendHeader(out, m, dict)
	if err != nil {
		return dst, err
	}
	n := len(out) - start - packet.HeadLength + len(m.Data)
	if n > packet.MaxLength {
		return dst, fmt.Errorf("%w: %d bytes, %d fit", ErrPacketTooLarge, n, packet.MaxLength)
	}
	packet.PutHeader(out[start:], packet.Data, n)
	return append(out, m.Data...), nil
}

// AppendResponse appends a data packet with a successful response to the request id. It
// is AppendMessage for the most frequent message of a server, without the cost of
// building a Message.
func AppendResponse(dst []byte, id uint64, data []byte) ([]byte, error) {
	at := len(dst)
	out := slices.Grow(dst, packet.HeadLength+message.MaxResponseHeader+len(data)) // then written in place
	out = out[:at+packet.HeadLength+message.MaxResponseHeader]
	k, err := message.PutResponse(out[at+packet.HeadLength:], id)
	if err != nil {
		return dst, err
	}
	n := k + len(data)
	if n > packet.MaxLength {
		return dst, fmt.Errorf("%w: %d bytes, %d fit", ErrPacketTooLarge, n, packet.MaxLength)
	}
	packet.PutHeader(out[at:], packet.Data, n)
	return append(out[:at+packet.HeadLength+k], data...), nil
}
