// Package payload encodes the values that programs send. A []byte is sent unchanged, and
// the serializer encodes every other value. It does not depend on messages or packets.
package payload

import (
	"sync"

	"github.com/lonng/nano/serialize"
)

// Encode returns the payload of v. A []byte is returned as it is; other bytes belong to
// the caller.
func Encode(s serialize.Marshaler, v any) ([]byte, error) {
	if data, ok := v.([]byte); ok {
		return data, nil
	}
	return s.Marshal(v)
}

// Temporary is a payload that is copied soon, and may lie in a buffer of a pool.
type Temporary struct {
	Data []byte // valid until Free
	buf  *buffer
}

// buffer is memory that payloads are encoded into.
type buffer struct{ b []byte }

const (
	minBuffer = 512
	maxBuffer = 64 << 10 // bytes; larger buffers are not kept
)

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, minBuffer)} }}

// EncodeTemporary is [Encode] with a pooled buffer if s is a [serialize.AppendMarshaler].
// The caller calls Free when it has copied the payload. After an error there is nothing
// to free.
func EncodeTemporary(s serialize.Marshaler, v any) (Temporary, error) {
	am, ok := s.(serialize.AppendMarshaler)
	if data, isBytes := v.([]byte); isBytes || !ok {
		if !isBytes {
			var err error
			if data, err = s.Marshal(v); err != nil {
				return Temporary{}, err
			}
		}
		return Temporary{Data: data}, nil
	}
	buf := buffers.Get().(*buffer)
	data, err := am.MarshalAppend(buf.b[:0], v)
	if err != nil {
		buffers.Put(buf)
		return Temporary{}, err
	}
	buf.b = data
	return Temporary{Data: data, buf: buf}, nil
}

// Free gives the buffer of the payload back. Data is not valid afterwards.
func (t *Temporary) Free() {
	if t.buf != nil && cap(t.buf.b) <= maxBuffer {
		buffers.Put(t.buf)
	}
	t.buf, t.Data = nil, nil
}
