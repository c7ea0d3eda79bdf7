package link

import (
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec for everything but batches
	"google.golang.org/grpc/mem"
)

// A batch is sent as a clusterpb.Envelope whose data are its frames. This codec does not copy a batch, as the general codec
// would: the queue leaves room for the field's head in front of the frames.
const (
	// headSize is the size of the field's head: the tag, and a length that is padded to five bytes.
	headSize = 6
	dataTag  = 1<<3 | 2
)

// Codec returns the codec of a node. Its encoding is that of protobuf.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2("proto")} }

type codec struct{ encoding.CodecV2 }

// outbound is a batch to send: headSize bytes of room, then the frames. gRPC takes over the buffer.
type outbound struct{ buf *[]byte }

// inbound is a received batch. Its frames are valid until it is freed.
type inbound struct {
	frames []byte
	buf    mem.Buffer
}

func (in *inbound) free() {
	if in.buf != nil {
		in.buf.Free()
	}
	*in = inbound{}
}

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	out, ok := v.(*outbound)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	b := *out.buf
	putHead(b, len(b)-headSize)
	return mem.BufferSlice{mem.NewBuffer(out.buf, pool{})}, nil
}

var errEnvelope = errors.New("link: malformed envelope, want one with data")

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*inbound)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	in.free()
	if data.Len() == 0 {
		return nil
	}
	buf := data.MaterializeToBuffer(pool{})
	b := buf.ReadOnlyData()
	if b[0] != dataTag {
		buf.Free()
		return errEnvelope
	}
	size, frames, ok := uvarint(b[1:])
	if !ok || size != uint64(len(frames)) {
		buf.Free()
		return fmt.Errorf("%w: %d bytes announced, %d received", errEnvelope, size, len(frames))
	}
	in.buf, in.frames = buf, frames
	return nil
}

// putHead writes the head of a field of size bytes.
func putHead(b []byte, size int) {
	b[0] = dataTag
	for i := 1; i < headSize-1; i++ {
		b[i] = byte(size) | 0x80
		size >>= 7
	}
	b[headSize-1] = byte(size)
}

// The sizes of pooled buffers. Most batches of a link with little traffic fit the small one.
const (
	smallBatch = 4 << 10
	largeBatch = 64 << 10
)

var (
	smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallBatch); return &b }}
	largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeBatch); return &b }}
)

// pool provides the buffers of batches. Buffers over largeBatch are not reused.
type pool struct{}

func (pool) Get(size int) *[]byte {
	var b *[]byte
	switch {
	case size <= smallBatch:
		b = smallBuffers.Get().(*[]byte)
	case size <= largeBatch:
		b = largeBuffers.Get().(*[]byte)
	default:
		large := make([]byte, size)
		return &large
	}
	*b = (*b)[:size]
	return b
}

func (pool) Put(b *[]byte) {
	switch cap(*b) {
	case smallBatch:
		smallBuffers.Put(b)
	case largeBatch:
		largeBuffers.Put(b)
	}
}
