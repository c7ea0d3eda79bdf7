package load

import (
	"encoding/binary"
	"time"
)

// When a client acknowledges what it has received.
const (
	ackPackets = 64                     // after so many packets
	ackBytes   = 16 << 10               // or so many bytes
	ackDelay   = 500 * time.Millisecond // or so long after the first of them
)

// resumption is what a client counts whose session can be resumed.
type resumption struct {
	received, acked uint64
	bytes           int           // of packets that are not acknowledged
	since           time.Duration // when the first of those came
}

// count counts a data packet of size bytes.
func (s *resumption) count(size int, now time.Duration) {
	if s.received == s.acked {
		s.since = now
	}
	s.received++
	s.bytes += size
}

// due reports whether enough has come to acknowledge it.
func (s *resumption) due(now time.Duration) bool {
	return s.received-s.acked >= ackPackets || s.bytes >= ackBytes || s.late(now)
}

// late reports whether a packet has waited for long.
func (s *resumption) late(now time.Duration) bool {
	return s.received != s.acked && now-s.since >= ackDelay
}

// acknowledge appends an acknowledgement to what is to be sent; the caller flushes.
func (r *run) acknowledge(c *client) {
	var body [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(body[:], c.resume.received)
	c.out = append(c.out, r.frame(packet(packetHeartbeat, body[:n]))...)
	c.resume.acked, c.resume.bytes = c.resume.received, 0
}
