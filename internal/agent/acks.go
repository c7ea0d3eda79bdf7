package agent

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/lonng/nano/internal/packet"
)

// These constants say when the server acknowledges received packets.
const (
	ackPackets = 64                     // after this many packets
	ackBytes   = 16 << 10               // or this many bytes
	ackDelay   = 400 * time.Millisecond // or this long after the first unacknowledged packet, and at most two ticks of the wheel more
)

// accepted counts data packets that were put into the mailbox. Their size is in bytes.
func (c *Conn) accepted(r *resumption, packets, size int) {
	r.received.Add(uint64(packets))
	n := int(r.unacked.Add(uint32(packets)))
	if n == packets {
		c.in.unacked = 0
		c.hub.wheel.hasten(c, ackDelay)
	}
	c.in.unacked += size
	if n >= ackPackets || c.in.unacked >= ackBytes {
		c.acknowledge(r)
	}
}

var errAcknowledged = errors.New("agent: the client knows the number of its accepted packets")

// acknowledge sends the client the number of its accepted data packets, unless the client
// knows it or has another connection.
func (c *Conn) acknowledge(r *resumption) {
	if r.unacked.Load() == 0 {
		return
	}
	var n uint32
	err := c.queue(func(b []byte) ([]byte, error) {
		if n = r.unacked.Swap(0); n == 0 {
			return nil, errAcknowledged
		}
		var body [binary.MaxVarintLen64]byte
		return c.appendPacket(b, packet.Heartbeat, body[:binary.PutUvarint(body[:], r.received.Load())])
	})
	if err != nil && n > 0 {
		r.unacked.Add(n)
		c.hub.wheel.hasten(c, ackDelay) // the queue may have room then
	}
}

// acknowledged handles a heartbeat of a client with resume.
func (c *Conn) acknowledged(body []byte) error {
	if len(body) == 0 {
		return c.accountControl(0)
	}
	n, err := parseAck(body)
	if err != nil {
		return err
	}
	a := c.in.resuming
	if a == nil {
		a = c.agent.Load()
	}
	o := &a.out
	o.mu.Lock()
	r := o.resume
	tooFar := r == nil || n > o.sent()
	news := !tooFar && o.conn == c && o.acknowledge(a.hub, n)
	closed := o.closed
	o.mu.Unlock()
	switch {
	case closed:
		return nil
	case tooFar:
		return errHeartbeatBody
	case news:
		c.hub.Counts.Control.Add(1) // acknowledgments do not count toward the client's rate limits
		return nil
	}
	return c.accountControl(len(body))
}

// acknowledge frees the packets up to number n, which the client has received and which is
// at most the number of the latest. It reports whether n is higher than before. The caller
// holds mu.
func (o *outbox) acknowledge(h *Hub, n uint64) bool {
	s, t := o.activity(), o.recent
	switch {
	case t != nil && t.acknowledge(n):
		t.charge(h)
	case s != nil && s.history.acknowledge(n):
		s.charge(h, false)
	default:
		return false
	}
	return true
}
