// Package message implements the body of a data packet: the message header, the route dictionary, and the error of an
// error response. It does not interpret payloads, and does not frame packets.
package message

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Type is the type of a message: request, notify, response or push.
type Type byte

// The message types of the protocol. Every other value is malformed.
const (
	Request  Type = 0x00
	Notify   Type = 0x01
	Response Type = 0x02
	Push     Type = 0x03
)

// String returns the name of the type for logs.
func (t Type) String() string {
	switch t {
	case Request:
		return "request"
	case Notify:
		return "notify"
	case Response:
		return "response"
	case Push:
		return "push"
	}
	return "unknown"
}

func (t Type) routed() bool     { return t != Response }
func (t Type) identified() bool { return t == Request || t == Response }

// The bits of the flag byte.
const (
	flagCompressed = 0x01 // the route is a two-byte code
	flagTypeMask   = 0x07 // mask of the type, after the byte is shifted right by one
	flagError      = 0x20 // the response is an error
	flagsKnown     = flagCompressed | flagTypeMask<<1
)

// MaxRouteLength is the maximum length of a route in bytes. The length has to fit in one byte.
const MaxRouteLength = 255

var (
	// ErrMalformed is returned for a header that exceeds its packet, for an unknown type, and for an id that is 0 or
	// exceeds 64 bits.
	ErrMalformed = errors.New("message: malformed header")
	// ErrRouteTooLong is returned for a route longer than MaxRouteLength bytes that is not in the dictionary.
	ErrRouteTooLong = errors.New("message: route is longer than 255 bytes")
	// ErrIDMissing is returned when encoding a request or response without an id.
	ErrIDMissing = errors.New("message: a request or response needs an id above 0")
	// ErrTypeUnknown is returned when encoding a message whose type is not part of the protocol.
	ErrTypeUnknown = errors.New("message: unknown type")
)

// Message is one message. Pipeline hooks receive it and may change it.
type Message struct {
	Type  Type   // request, notify, response or push
	ID    uint64 // pairs a response with its request; 0 in a notify and a push
	Route string // "Service.Method"; in a response, the route of its request if known
	Data  []byte // the payload as it goes over the wire
	Err   bool   // an error response; see Error
}

// Encode returns the body of a data packet with the message. The route is not compressed.
func (m *Message) Encode() ([]byte, error) {
	b, err := AppendHeader(make([]byte, 0, 12+len(m.Route)+len(m.Data)), m, nil)
	if err != nil {
		return nil, err
	}
	return append(b, m.Data...), nil
}

// String describes the message for logs. It includes the size of the payload, not its content.
func (m *Message) String() string {
	return fmt.Sprintf("%v id=%d route=%q bytes=%d", m.Type, m.ID, m.Route, len(m.Data))
}

// AppendHeader appends the header of m, which is everything before the payload, to dst. It compresses a route that is in
// dict; dict may be nil. On an error it returns dst unchanged.
//
//	+------+----------------+----------------------------+---------+
//	| flag | id, base-128   | route: 2-byte code, or     | payload |
//	|      | (request and   | 1-byte length and text     |         |
//	|      |  response)     | (not in a response)        |         |
//	+------+----------------+----------------------------+---------+
//	flag: bits 1 to 3 type, bit 0 route compressed, bit 5 error response
func AppendHeader(dst []byte, m *Message, dict *Dictionary) ([]byte, error) {
	if m.Type > Push {
		return dst, fmt.Errorf("%w %d", ErrTypeUnknown, m.Type)
	}
	if m.Type.identified() && m.ID == 0 {
		return dst, ErrIDMissing
	}
	flag := byte(m.Type) << 1
	if m.Err && m.Type == Response {
		flag |= flagError
	}
	if !m.Type.routed() {
		return binary.AppendUvarint(append(dst, flag), m.ID), nil
	}
	code, compressed := dict.Code(m.Route)
	if compressed {
		flag |= flagCompressed
	} else if len(m.Route) > MaxRouteLength {
		return dst, fmt.Errorf("%w: %d bytes", ErrRouteTooLong, len(m.Route))
	}
	dst = append(dst, flag)
	if m.Type.identified() {
		dst = binary.AppendUvarint(dst, m.ID)
	}
	if compressed {
		return binary.BigEndian.AppendUint16(dst, code), nil
	}
	return append(append(dst, byte(len(m.Route))), m.Route...), nil
}

// MaxResponseHeader is the maximum length of a response header in bytes: the flag and the id.
const MaxResponseHeader = 1 + binary.MaxVarintLen64

// PutResponse writes the header of a successful response to b and returns its length. b must have room for
// MaxResponseHeader bytes.
func PutResponse(b []byte, id uint64) (int, error) {
	if id == 0 {
		return 0, ErrIDMissing
	}
	b[0] = byte(Response) << 1
	return 1 + binary.PutUvarint(b[1:], id), nil
}

// Header is a decoded message. Route and Body alias the bytes that it was parsed from.
type Header struct {
	Type       Type
	ID         uint64
	Err        bool   // an error response
	Strange    bool   // unknown flag bits are set
	Compressed bool   // the route is Code
	Code       uint16 // a code of the dictionary
	Route      []byte // the text of the route, if it is not compressed
	Body       []byte // the payload
}

// Parse decodes the message in b. The error is ErrMalformed. If the id of a request was read before the error, the
// returned Header holds it, and the request can still be answered.
func Parse(b []byte) (h Header, err error) {
	err = h.Parse(b)
	return h, err
}

// Parse is the function Parse, writing to h. It avoids a copy of the Header, which costs as much as the decoding.
func (h *Header) Parse(b []byte) error {
	*h = Header{}
	if len(b) == 0 {
		return fmt.Errorf("%w: it is empty", ErrMalformed)
	}
	flag := b[0]
	b = b[1:]
	h.Type = Type(flag >> 1 & flagTypeMask)
	if h.Type > Push {
		return fmt.Errorf("%w: type %d", ErrMalformed, h.Type)
	}
	h.Err = h.Type == Response && flag&flagError != 0
	h.Compressed = flag&flagCompressed != 0
	strange := flag &^ flagsKnown
	if h.Type == Response {
		strange &^= flagError
	}
	h.Strange = strange != 0
	if h.Type.identified() {
		id, n := binary.Uvarint(b)
		if n <= 0 {
			return fmt.Errorf("%w: the id does not fit", ErrMalformed)
		}
		if id == 0 {
			return fmt.Errorf("%w: id 0", ErrMalformed)
		}
		h.ID, b = id, b[n:]
	}
	switch {
	case !h.Type.routed():
		if h.Compressed {
			return fmt.Errorf("%w: a response with a route", ErrMalformed)
		}
	case h.Compressed:
		if len(b) < 2 {
			return fmt.Errorf("%w: the route code does not fit", ErrMalformed)
		}
		h.Code, b = binary.BigEndian.Uint16(b), b[2:]
	default:
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return fmt.Errorf("%w: the route does not fit", ErrMalformed)
		}
		n := 1 + int(b[0])
		h.Route, b = b[1:n:n], b[n:]
	}
	h.Body = b
	return nil
}

// Decode decodes the message in b into a Message that does not alias b. It looks up a compressed route in dict, which
// may be nil, and returns ErrCodeUnknown if the code is not there.
func Decode(b []byte, dict *Dictionary) (*Message, error) {
	h, err := Parse(b)
	if err != nil {
		return nil, err
	}
	m := &Message{Type: h.Type, ID: h.ID, Err: h.Err, Data: append([]byte(nil), h.Body...)}
	if !h.Compressed {
		m.Route = string(h.Route)
		return m, nil
	}
	route, ok := dict.Route(h.Code)
	if !ok {
		return nil, fmt.Errorf("%w: %d", ErrCodeUnknown, h.Code)
	}
	m.Route = route
	return m, nil
}
