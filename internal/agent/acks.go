package agent

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/packet"
)

// These constants say when the server acknowledges received packets.
const (
	ackPackets = 64                     // after this many packets
	ackBytes   = 16 << 10               // or this many bytes
	ackDelay   = 500 * time.Millisecond // or this long after the first unacknowledged packet
)

// acks holds the acknowledgment state of a connection with resume.
type acks struct {
	sent  atomic.Uint64 // the last acknowledgment that was sent
	armed atomic.Bool   // timer is running

	// The following fields belong to the reading goroutine.
	timer   *time.Timer // nil until first used
	unacked int         // bytes of packets accepted since the last acknowledgment
	given   token       // token in the answer to the handshake
}

// accepted counts data packets that were put into the mailbox. Their size is in bytes.
func (c *Conn) accepted(r *resumption, packets, size int) {
	n, told := r.received.Add(uint64(packets)), c.acks.sent.Load()
	if told+uint64(packets) == n {
		c.acks.unacked = 0
	}
	c.acks.unacked += size
	if n-told >= ackPackets || c.acks.unacked >= ackBytes {
		c.acknowledge()
		return
	}
	if c.acks.armed.CompareAndSwap(false, true) {
		if c.acks.timer == nil {
			c.acks.timer = time.AfterFunc(ackDelay, c.acknowledgeLate)
		} else {
			c.acks.timer.Reset(ackDelay)
		}
	}
}

// acknowledgeLate runs ackDelay after the first unacknowledged packet.
func (c *Conn) acknowledgeLate() {
	c.acks.armed.Store(false)
	c.acknowledge()
}

// acknowledge sends the client the number of its accepted data packets, unless the client
// knows it.
func (c *Conn) acknowledge() {
	r := c.agent.Load().out.resume
	n := r.received.Load()
	for {
		last := c.acks.sent.Load()
		if n <= last {
			return
		}
		if c.acks.sent.CompareAndSwap(last, n) {
			break
		}
	}
	var body [binary.MaxVarintLen64]byte
	_ = c.sendPacket(packet.Heartbeat, body[:binary.PutUvarint(body[:], n)])
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
	a := c.resuming
	if a == nil {
		a = c.agent.Load()
	}
	o := &a.out
	o.mu.Lock()
	r := o.resume
	tooFar := r == nil || n > r.history.sent
	news := !tooFar && o.conn == c && r.history.acknowledge(n)
	if news {
		r.charge(a.hub, false)
	}
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
