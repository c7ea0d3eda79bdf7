// Package codec turns bytes into packets and packets into bytes. It keeps no state: who reads a stream keeps the
// bytes of a packet that is not whole yet. What a data packet carries is read by package message.
package codec

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

// DefaultLimit is the largest packet body, in bytes, that is accepted where nothing else was asked for.
const DefaultLimit = 64 << 10

var (
	// ErrPacketType tells of a packet whose type is not one of the protocol.
	ErrPacketType = errors.New("codec: unknown packet type")
	// ErrPacketTooLarge tells of a body longer than the limit, or longer than a header can announce.
	ErrPacketTooLarge = errors.New("codec: packet too large")
)

// Next splits the first packet off b. The body aliases b, and n is the number of bytes that the packet takes with
// its header. Where b holds no whole packet yet, n is 0 and need says how many bytes it must hold at the least.
// A type that is not of the protocol, or a body longer than limit bytes, is refused as soon as the header is there.
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

// Append appends a whole packet to dst. A body over packet.MaxLength is ErrPacketTooLarge, and dst comes back as
// it was.
func Append(dst []byte, t packet.Type, body []byte) ([]byte, error) {
	if len(body) > packet.MaxLength {
		return dst, fmt.Errorf("%w: %d bytes, %d fit", ErrPacketTooLarge, len(body), packet.MaxLength)
	}
	var head [packet.HeadLength]byte
	packet.PutHeader(head[:], t, len(body))
	return append(append(dst, head[:]...), body...), nil
}

// AppendMessage appends the data packet that carries m to dst. A route that dict knows is compressed; dict may be
// nil. On an error dst comes back as it was.
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

// AppendResponse is AppendMessage of a response to the request id that carries data and tells of no error: what most of
// what a server sends is, without a Message made for it.
func AppendResponse(dst []byte, id uint64, data []byte) ([]byte, error) {
	at := len(dst)
	out := slices.Grow(dst, packet.HeadLength+message.MaxResponseHeader+len(data)) // and written to in place
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
