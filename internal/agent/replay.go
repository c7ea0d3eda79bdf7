package agent

import (
	"sync"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

// history holds the unacknowledged data packets of a session, in order. Packets are
// numbered from 1 in the order in which they are added. The mu of the agent's outbox
// guards it.
//
// Broadcast packets are not copied: all receivers refer to the same bytes.
type history struct {
	segments []segment // starting at head
	head     int
	chunk    *[chunkSize]byte // destination of the next copied packets, or nil
	used     int              // used bytes of chunk
	tail     bool             // the last segment ends where the used part of chunk ends
	last     uint64           // number of the latest packet
	sent     uint64           // number of the latest packet that was given to a connection
	first    uint64           // number of the oldest kept packet; last+1 if none is kept
	acked    uint64           // number of the latest packet that the client acknowledged
	bytes    int              // size of the kept packets
}

// segment is a contiguous range of whole packets in memory that is no longer written.
type segment struct {
	b      []byte
	n      int32            // number of packets
	copied bool             // the bytes are in a chunk
	shared *buffer          // the buffer with the bytes, if it is shared
	last   *[chunkSize]byte // that chunk, if no later segment uses it; nil for the current chunk
}

// chunks are pooled, because the histories of busy sessions would load the garbage
// collector.
var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

const (
	chunkSize = 2 << 10 // small packets are copied into chunks of this size
	// idleSegments is the number of segments for which an empty history keeps memory.
	idleSegments = 128
)

// span is a range of a buffer that holds a replaceable packet.
type span struct{ from, to int }

// keep appends the n packets of buf. Packets in fleeting are kept without their payload.
// The caller may reuse the buffer unless it is shared.
func (h *history) keep(buf *buffer, n int, fleeting []span) {
	h.last += uint64(n)
	if buf.shared {
		h.add(segment{b: buf.b, n: int32(n), shared: buf})
		return
	}
	at := 0
	for _, s := range fleeting {
		h.copy(buf.b[at:s.from])
		h.copy(emptied(buf.b[s.from:s.to]))
		at = s.to
	}
	if at == 0 {
		h.copyPackets(buf.b, n)
		return
	}
	h.copy(buf.b[at:])
}

// emptied returns a data packet without the payload of its message.
func emptied(b []byte) []byte {
	body := b[packet.HeadLength:]
	var m message.Header
	if m.Parse(body) != nil {
		return b // it is the server's own packet, so it parses
	}
	n := len(body) - len(m.Body)
	short := make([]byte, packet.HeadLength, packet.HeadLength+n)
	packet.PutHeader(short, packet.Data, n)
	return append(short, body[:n]...)
}

// copy appends a copy of whole packets.
func (h *history) copy(b []byte) {
	n := 0
	for rest := b; len(rest) >= packet.HeadLength; n++ {
		rest = rest[packetSize(rest):]
	}
	h.copyPackets(b, n)
}

// packetSize returns the size of the packet at the beginning of b, header included.
func packetSize(b []byte) int {
	_, n := packet.Header(b)
	return packet.HeadLength + n
}

// copyPackets appends a copy of n packets. Small ones share a chunk.
func (h *history) copyPackets(b []byte, n int) {
	if n == 0 {
		return
	}
	if len(b) > chunkSize {
		h.add(segment{b: append([]byte(nil), b...), n: int32(n)})
		return
	}
	if h.chunk == nil || chunkSize-h.used < len(b) {
		h.retire()
		h.chunk = chunks.Get().(*[chunkSize]byte)
	}
	at := h.used
	h.used += copy(h.chunk[at:], b)
	if h.tail {
		s := &h.segments[len(h.segments)-1]
		s.b = s.b[:len(s.b)+len(b)]
		s.n += int32(n)
		h.bytes += len(b)
		return
	}
	h.add(segment{b: h.chunk[at:h.used], n: int32(n), copied: true})
	h.tail = true
}

// retire stops using the chunk. Its memory is free when its last segment is removed.
func (h *history) retire() {
	chunk := h.chunk
	h.chunk, h.used, h.tail = nil, 0, false
	if chunk == nil {
		return
	}
	for i := len(h.segments) - 1; i >= h.head; i-- {
		if s := &h.segments[i]; s.copied {
			s.last = chunk
			return
		}
	}
	chunks.Put(chunk)
}

// add appends a segment.
func (h *history) add(s segment) {
	if len(h.segments) == cap(h.segments) && h.head > len(h.segments)/2 {
		n := copy(h.segments, h.segments[h.head:])
		clear(h.segments[n:])
		h.segments, h.head = h.segments[:n], 0
	}
	h.segments = append(h.segments, s)
	h.bytes += len(s.b)
	h.tail = false
}

// empty reports whether no packet is kept.
func (h *history) empty() bool { return h.first > h.last }

// acknowledge removes the packets up to number n, which the client has received. It
// reports whether n is higher than before.
func (h *history) acknowledge(n uint64) bool {
	if n <= h.acked {
		return false
	}
	h.acked = n
	h.forget(n)
	return true
}

// forget removes the packets up to number n.
func (h *history) forget(n uint64) {
	for h.first <= n && !h.empty() {
		s := &h.segments[h.head]
		if left := n - h.first + 1; uint64(s.n) <= left {
			h.first += uint64(s.n)
			h.bytes -= len(s.b)
			if s.last != nil {
				chunks.Put(s.last)
			}
			*s = segment{}
			h.head++
			continue
		}
		size := packetSize(s.b)
		s.b = s.b[size:]
		s.n--
		h.bytes -= size
		h.first++
	}
	if h.empty() {
		h.reset()
	}
}

// reset frees the memory of the history, whose segments are all cleared.
func (h *history) reset() {
	h.retire()
	if h.segments, h.head = h.segments[:0], 0; cap(h.segments) > idleSegments {
		h.segments = nil
	}
}

// trim removes the oldest packets until the rest fits into most bytes. It stops before a
// packet that was not sent yet, and keeps at least one packet. It reports whether the
// rest fits.
func (h *history) trim(most int) bool {
	for h.bytes > most && h.first < h.last {
		if h.first > h.sent {
			return false
		}
		h.forget(h.first)
	}
	return true
}

// shrink frees memory that an empty history holds for later packets.
func (h *history) shrink() {
	if h.empty() {
		h.segments, h.head = nil, 0
	}
}

// appendTo appends all kept packets to dst, and marks them as sent. If framed is true,
// each packet gets its own frame. It returns the number of packets.
func (h *history) appendTo(dst []byte, framed bool) (_ []byte, n int) {
	for _, s := range h.segments[h.head:] {
		if framed {
			dst = frame(dst, s.b)
		} else {
			dst = append(dst, s.b...)
		}
	}
	h.sent = h.last
	return dst, int(h.last + 1 - h.first)
}

// recent returns the packets if there are few, all are in shared buffers, and none is
// missing. Otherwise it returns nil. The history is not used any more then.
func (h *history) recent() *recent {
	list := h.segments[h.head:]
	if len(list) > recentBuffers/2 || h.sent < h.last || h.first != h.acked+1 {
		return nil
	}
	for i := range list {
		if list[i].shared == nil {
			return nil
		}
	}
	t := recents.Get().(*recent)
	t.acked, t.packets = h.acked, int(h.last-h.acked)
	for i := range list {
		b := list[i].shared
		t.buffers[i] = b
		t.bytes += len(b.b)
	}
	t.to = int32(len(list))
	t.skip = list[0].shared.packets - int(list[0].n)
	clear(list)
	h.reset()
	return t
}
