package load

import (
	"encoding/binary"
	"time"
)

// These constants say when a client acknowledges received packets.
const (
	ackPackets = 64                     // after this many packets
	ackBytes   = 16 << 10               // after this many bytes
	ackDelay   = 500 * time.Millisecond // or this long after the first unacknowledged packet
)

// resumption holds the counters of a client with a resumable session.
type resumption struct {
	received, acked uint64
	bytes           int           // bytes of unacknowledged packets
	since           time.Duration // arrival time of the first of them
}

// count counts a data packet of size bytes.
func (s *resumption) count(size int, now time.Duration) {
	if s.received == s.acked {
		s.since = now
	}
	s.received++
	s.bytes += size
}

// due reports whether the client has received enough to acknowledge it.
func (s *resumption) due(now time.Duration) bool {
	return s.received-s.acked >= ackPackets || s.bytes >= ackBytes || s.late(now)
}

// late reports whether a packet has been unacknowledged for ackDelay.
func (s *resumption) late(now time.Duration) bool {
	return s.received != s.acked && now-s.since >= ackDelay
}

// acknowledge appends an acknowledgment to the output. The caller flushes.
func (r *run) acknowledge(c *client) {
	var body [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(body[:], c.resume.received)
	c.out = append(c.out, r.frame(packet(packetHeartbeat, body[:n]))...)
	c.resume.acked, c.resume.bytes = c.resume.received, 0
}
