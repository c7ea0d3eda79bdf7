package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// Kind says what a frame is for. The kinds below FirstKind are the link's own and never reach a Handler; what the
// others mean is for those who send them to say.
type Kind uint8

const (
	kindPing  Kind = iota // ID: the sender's clock
	kindPong              // ID: that of the ping
	kindHello             // Data: a clusterpb.Hello that replaces the one before
	kindBye               // nothing: the peer leaves
	kindPart              // Data: the next bytes of a frame; ID: how many of its bytes are still to come

	// FirstKind is the first kind that is free to use.
	FirstKind Kind = 16
)

// Limits of a frame, in bytes.
const (
	// MaxFrame bounds a whole frame: 16 MiB of payload and what goes with it.
	MaxFrame = 16<<20 + 64<<10
	// internSize bounds the routes that a reader keeps.
	internSize  = 128
	internCount = 4096
)

var (
	// ErrFrame tells of bytes that are no frame. The link that they came over is closed.
	ErrFrame = errors.New("link: malformed frame")
	// ErrFrameTooLarge tells of a frame over MaxFrame bytes.
	ErrFrameTooLarge = errors.New("link: frame too large")
)

// Frame is one message between nodes. Fields that are zero take no bytes on the wire, but for Kind.
//
//	+--------+------+-------+---------+--------+----------------+---------------+-----------+
//	| length | kind | flags | Session | ID     | length | Route | length | Meta | Data      |
//	+--------+------+-------+---------+--------+----------------+---------------+-----------+
//	 varint   1 byte 1 byte  varint    varint   varint           varint          to the end
//
// length counts what follows it. The low four bits of flags say which of Session, ID, Route and Meta are there;
// the high four are Flags. Varints are those of encoding/binary.
type Frame struct {
	Kind    Kind
	Flags   uint8 // 0 to 15
	Session int64
	ID      uint64
	Route   string
	Meta    []byte
	Data    []byte
}

const (
	hasSession = 1 << iota
	hasID
	hasRoute
	hasMeta
	flagShift = iota
)

// Size returns how many bytes the frame takes on the wire.
func (f *Frame) Size() int {
	n := f.body()
	return uvarintLen(uint64(n)) + n
}

// body returns the size of what follows the length.
func (f *Frame) body() int {
	n := 2 + len(f.Data)
	if f.Session != 0 {
		n += uvarintLen(uint64(f.Session))
	}
	if f.ID != 0 {
		n += uvarintLen(f.ID)
	}
	if f.Route != "" {
		n += uvarintLen(uint64(len(f.Route))) + len(f.Route)
	}
	if len(f.Meta) > 0 {
		n += uvarintLen(uint64(len(f.Meta))) + len(f.Meta)
	}
	return n
}

// Append appends the frame to dst.
func (f *Frame) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(f.body()))
	flags := f.Flags << flagShift
	at := len(dst) + 1
	dst = append(dst, byte(f.Kind), 0)
	if f.Session != 0 {
		flags |= hasSession
		dst = binary.AppendUvarint(dst, uint64(f.Session))
	}
	if f.ID != 0 {
		flags |= hasID
		dst = binary.AppendUvarint(dst, f.ID)
	}
	if f.Route != "" {
		flags |= hasRoute
		dst = binary.AppendUvarint(dst, uint64(len(f.Route)))
		dst = append(dst, f.Route...)
	}
	if len(f.Meta) > 0 {
		flags |= hasMeta
		dst = binary.AppendUvarint(dst, uint64(len(f.Meta)))
		dst = append(dst, f.Meta...)
	}
	dst[at] = flags
	return append(dst, f.Data...)
}

// Decoder reads frames. It keeps the routes that it has seen, up to a bound, so that they are allocated once. It is
// for one goroutine.
type Decoder struct {
	routes map[string]string
}

// Next splits the first frame off b. The frame's Meta and Data alias b. It returns what is left of b, and ErrFrame if
// b does not begin with a whole frame.
func (d *Decoder) Next(b []byte, f *Frame) (rest []byte, err error) {
	size, b, ok := uvarint(b)
	if !ok || size > uint64(len(b)) || size < 2 {
		return nil, fmt.Errorf("%w: %d bytes are left of one", ErrFrame, len(b))
	}
	b, rest = b[:size:size], b[size:]
	flags := b[1]
	*f = Frame{Kind: Kind(b[0]), Flags: flags >> flagShift}
	b = b[2:]
	if flags&hasSession != 0 {
		var v uint64
		if v, b, ok = uvarint(b); !ok {
			return nil, fmt.Errorf("%w: no session id", ErrFrame)
		}
		f.Session = int64(v)
	}
	if flags&hasID != 0 {
		if f.ID, b, ok = uvarint(b); !ok {
			return nil, fmt.Errorf("%w: no id", ErrFrame)
		}
	}
	if flags&hasRoute != 0 {
		var route []byte
		if route, b, ok = field(b); !ok {
			return nil, fmt.Errorf("%w: no route", ErrFrame)
		}
		f.Route = d.route(route)
	}
	if flags&hasMeta != 0 {
		if f.Meta, b, ok = field(b); !ok {
			return nil, fmt.Errorf("%w: no meta data", ErrFrame)
		}
	}
	f.Data = b
	return rest, nil
}

func (d *Decoder) route(b []byte) string {
	if s, ok := d.routes[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(s) > 0 && len(s) <= internSize && len(d.routes) < internCount {
		if d.routes == nil {
			d.routes = make(map[string]string)
		}
		d.routes[s] = s
	}
	return s
}

// uvarint splits a varint off b.
func uvarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, b, false
	}
	return v, b[n:], true
}

// field splits a length and as many bytes off b.
func field(b []byte) (v, rest []byte, ok bool) {
	n, b, ok := uvarint(b)
	if !ok || n > uint64(len(b)) {
		return nil, b, false
	}
	return b[:n:n], b[n:], true
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }
