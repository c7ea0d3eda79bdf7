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

// acks holds the acknowledgment state of a connection with resume. A parked connection
// has none: it has acknowledged every packet.
type acks struct {
	conn  *Conn
	sent  atomic.Uint64 // the last acknowledgment that was sent
	armed atomic.Bool   // timer is running

	// The following fields belong to the reading goroutine.
	timer   *time.Timer // nil until first used
	unacked int         // bytes of packets accepted since the last acknowledgment
}

// accepted counts data packets that were put into the mailbox. Their size is in bytes.
func (c *Conn) accepted(r *resumption, packets, size int) {
	n := r.received.Add(uint64(packets))
	k := c.in.acks
	if k == nil {
		k = &acks{conn: c}
		k.sent.Store(n - uint64(packets)) // the client knows that number
		c.in.acks = k
	}
	told := k.sent.Load()
	if told+uint64(packets) == n {
		k.unacked = 0
	}
	k.unacked += size
	if n-told >= ackPackets || k.unacked >= ackBytes {
		k.send()
		return
	}
	if k.armed.CompareAndSwap(false, true) {
		if k.timer == nil {
			k.timer = time.AfterFunc(ackDelay, k.sendLate)
		} else {
			k.timer.Reset(ackDelay)
		}
	}
}

// sendLate runs ackDelay after the first unacknowledged packet.
func (k *acks) sendLate() {
	k.armed.Store(false)
	k.send()
}

// send sends the client the number of its accepted data packets, unless the client knows
// it.
func (k *acks) send() {
	n := k.conn.agent.Load().out.resume.received.Load()
	for {
		last := k.sent.Load()
		if n <= last {
			return
		}
		if k.sent.CompareAndSwap(last, n) {
			break
		}
	}
	var body [binary.MaxVarintLen64]byte
	_ = k.conn.sendPacket(packet.Heartbeat, body[:binary.PutUvarint(body[:], n)])
}

// stop stops the timer. The reading goroutine calls it.
func (k *acks) stop() {
	if k != nil && k.timer != nil {
		k.timer.Stop()
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
	tooFar := r == nil || n > r.sent()
	news := !tooFar && o.conn == c && r.active != nil && r.active.history.acknowledge(n)
	if news {
		r.active.charge(a.hub, false)
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
