package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// Kind is the kind of a frame. Kinds below FirstKind belong to the link and never reach a Handler. The sender and the Handler
// define the others.
type Kind uint8

const (
	kindPing  Kind = iota // ID: the sender's clock
	kindPong              // ID: that of the ping
	kindHello             // Data: a clusterpb.Hello that replaces the one before
	kindBye               // empty: the peer leaves
	kindPart              // Data: the next bytes of a frame; ID: how many of its bytes are missing yet

	// FirstKind is the first kind for users of the link.
	FirstKind Kind = 16
)

// Limits of a frame, in bytes.
const (
	// MaxFrame bounds a whole frame: 16 MiB of payload and 64 KiB for the other fields.
	MaxFrame = 16<<20 + 64<<10
	// internSize and internCount bound the routes that a Decoder keeps.
	internSize  = 128
	internCount = 4096
)

var (
	// ErrFrame is the reason of a link that has ended because of malformed bytes.
	ErrFrame = errors.New("link: malformed frame")
	// ErrFrameTooLarge is returned for a frame over MaxFrame bytes.
	ErrFrameTooLarge = errors.New("link: frame too large")
)

// Frame is one message between nodes. Except Kind, fields that are zero take no bytes on the wire.
//
//	+--------+------+-------+---------+--------+----------------+---------------+-----------+
//	| length | kind | flags | Session | ID     | length | Route | length | Meta | Data      |
//	+--------+------+-------+---------+--------+----------------+---------------+-----------+
//	 varint   1 byte 1 byte  varint    varint   varint           varint          to the end
//
// length counts the bytes behind it. The low four bits of flags show which of Session, ID, Route and Meta are present; the
// high four bits are Flags. Varints are those of encoding/binary.
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

// Size returns the size of the encoded frame in bytes.
func (f *Frame) Size() int { return sizeOf(f.body()) }

// sizeOf returns the size of an encoded frame whose body has the given size.
func sizeOf(body int) int { return uvarintLen(uint64(body)) + body }

// body returns the size of the encoded frame without its length field.
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
func (f *Frame) Append(dst []byte) []byte { return f.append(dst, f.body()) }

// append is Append for a frame whose body has the given size.
func (f *Frame) append(dst []byte, body int) []byte {
	dst = binary.AppendUvarint(dst, uint64(body))
	flags := f.Flags << flagShift
	at := len(dst) + 1
	dst = append(dst, byte(f.Kind), 0)
	if f.Session != 0 {
		flags |= hasSession
		dst = appendSession(dst, uint64(f.Session))
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

// Decoder decodes frames. It keeps a bounded number of routes, so that each is allocated once. It must not be used
// concurrently.
type Decoder struct {
	routes map[string]string
	last   string // the last route: consecutive frames often have the same

	session int64                       // the last session; likewise
	encoded [binary.MaxVarintLen64]byte // its encoding
	size    int                         // of the encoding; 0 before the first session
}

// Next decodes the first frame of b, and returns the rest of b. The frame's Meta and Data alias b. The error is ErrFrame if b
// does not begin with a whole frame; then f is not valid.
//
// f may hold an earlier frame. Its pointers are stored only if they change, because such a store is expensive while the
// garbage collector marks.
func (d *Decoder) Next(b []byte, f *Frame) (rest []byte, err error) {
	size, b, ok := uvarint(b)
	if !ok || size > uint64(len(b)) || size < 2 {
		return nil, fmt.Errorf("%w: %d bytes of an incomplete frame", ErrFrame, len(b))
	}
	b, rest = b[:size:size], b[size:]
	flags := b[1]
	f.Kind, f.Flags, f.Session, f.ID = Kind(b[0]), flags>>flagShift, 0, 0
	b = b[2:]
	if flags&hasSession != 0 {
		if f.Session, b, ok = d.sessionID(b); !ok {
			return nil, fmt.Errorf("%w: no session id", ErrFrame)
		}
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
		if r := d.route(route); f.Route != r {
			f.Route = r
		}
	} else if f.Route != "" {
		f.Route = ""
	}
	if flags&hasMeta != 0 {
		if f.Meta, b, ok = field(b); !ok {
			return nil, fmt.Errorf("%w: no meta data", ErrFrame)
		}
	} else if f.Meta != nil {
		f.Meta = nil
	}
	f.Data = b
	return rest, nil
}

// sessionID decodes a session id at the start of b, and returns the rest of b. Ids of most sessions take nine bytes, which is
// longer to decode than to compare.
func (d *Decoder) sessionID(b []byte) (id int64, rest []byte, ok bool) {
	if n := d.size; n > 0 && len(b) >= n && string(b[:n]) == string(d.encoded[:n]) {
		return d.session, b[n:], true
	}
	v, rest, ok := uvarint(b)
	if !ok {
		return 0, b, false
	}
	d.session, d.size = int64(v), copy(d.encoded[:], b[:len(b)-len(rest)])
	return int64(v), rest, true
}

func (d *Decoder) route(b []byte) string {
	if string(b) == d.last {
		return d.last
	}
	if s, ok := d.routes[string(b)]; ok {
		d.last = s
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

// appendSession appends the varint of a session id. The ids of a cluster take nine bytes, whose bits are moved in parallel.
func appendSession(dst []byte, id uint64) []byte {
	if id>>56 == 0 || id>>63 != 0 {
		return binary.AppendUvarint(dst, id)
	}
	v := id&0x0fffffff | id&0x00fffffff0000000<<4
	v = v&0x00003fff00003fff | v&0x0fffc0000fffc000<<2
	v = v&0x007f007f007f007f | v&0x3f803f803f803f80<<1
	dst = binary.LittleEndian.AppendUint64(dst, v|0x8080808080808080)
	return append(dst, byte(id>>56))
}

// uvarint decodes a varint at the start of b, and returns the rest of b.
func uvarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, b, false
	}
	return v, b[n:], true
}

// field decodes a length and as many bytes at the start of b, and returns the rest of b.
func field(b []byte) (v, rest []byte, ok bool) {
	n, b, ok := uvarint(b)
	if !ok || n > uint64(len(b)) {
		return nil, b, false
	}
	return b[:n:n], b[n:], true
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }
