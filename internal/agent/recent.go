package agent

import "sync"

// recent holds the unacknowledged packets of a session without an activity. All of them are
// in shared buffers, so a pointer to each buffer is enough. The mu of the agent's outbox
// guards it.
//
// A broadcast writes to the memory of every member of a group, most of which is in no
// cache. recent is small, so that this takes little time.
type recent struct {
	from, to int32  // range of the used buffers
	skip     int    // packets of the first buffer that the client has acknowledged
	acked    uint64 // number of packets that the client has acknowledged
	packets  int    // packets that the client has not acknowledged
	bytes    int    // size of the used buffers
	charged  int    // bytes that count toward the hub's total
	busy     bool   // the client has acknowledged many packets at once since rest was called

	buffers [recentBuffers]*buffer
}

// recentBuffers makes the size of recent 1 KiB. A client acknowledges 64 packets at once,
// of which each may have come alone.
const recentBuffers = 121

var recents = sync.Pool{New: func() any { return &recent{} }}

// add appends a shared buffer. It returns false if that is more than most bytes, or if
// there is no space.
func (t *recent) add(b *buffer, most int) bool {
	if t.bytes+len(b.b) > most {
		return false
	}
	if t.to == recentBuffers {
		if t.from == 0 {
			return false
		}
		n := copy(t.buffers[:], t.buffers[t.from:t.to])
		clear(t.buffers[n:])
		t.from, t.to = 0, int32(n)
	}
	t.buffers[t.to] = b
	t.to++
	t.packets += b.packets
	t.bytes += len(b.b)
	return true
}

// sent returns the number of the latest packet.
func (t *recent) sent() uint64 { return t.acked + uint64(t.packets) }

// acknowledge removes the packets up to number n, which is at most sent. It reports whether
// n is higher than before.
func (t *recent) acknowledge(n uint64) bool {
	if n <= t.acked {
		return false
	}
	count := int(n - t.acked)
	t.acked = n
	t.packets -= count
	t.skip += count
	t.busy = count >= ackPackets/4
	for t.from < t.to {
		b := t.buffers[t.from]
		if b.packets > t.skip {
			break
		}
		t.buffers[t.from] = nil
		t.from++
		t.skip -= b.packets
		t.bytes -= len(b.b)
	}
	if t.from == t.to {
		t.from, t.to = 0, 0
	}
	return true
}

// charge updates the bytes that count toward the hub's total. Small changes do not count
// at once.
func (t *recent) charge(h *Hub) {
	const small = 4 << 10
	if d := t.bytes - t.charged; d < -small || d > small || t.bytes == 0 && d != 0 {
		t.charged = t.bytes
		h.hold(int64(d))
	}
}

// free returns t, whose packets and charge have another owner or none, to the pool.
func (t *recent) free() {
	*t = recent{}
	recents.Put(t)
}

// keepRecent keeps the queued packets, which a writer takes. It returns false if an
// activity has to keep them. The caller holds mu.
func (o *outbox) keepRecent(h *Hub) bool {
	if !o.buf.shared {
		return false
	}
	t := o.recent
	if t == nil {
		r := o.resume
		if r.active != nil {
			return false
		}
		t = recents.Get().(*recent)
		t.acked = r.acked
		o.recent = t
	}
	if !t.add(o.buf, h.Resume.Buffer) {
		return false
	}
	t.charge(h)
	return true
}

// activate returns the activity of a session with resume. If there is none, it gets the
// recent packets. The caller holds mu.
func (o *outbox) activate() *activity {
	r, t := o.resume, o.recent
	switch {
	case t != nil:
		r.acked, o.recent = t.acked, nil
		r.leaveRest()
		t.moveTo(r.active)
	case r.active == nil:
		r.leaveRest()
	}
	return r.active
}

// moveTo moves all packets to a new activity.
func (t *recent) moveTo(s *activity) {
	h := &s.history
	h.acked -= uint64(t.skip) // the number before the first buffer
	h.last, h.first = h.acked, h.acked+1
	for _, b := range t.buffers[t.from:t.to] {
		h.keep(b, b.packets, nil)
	}
	h.sent = h.last
	h.acknowledge(t.acked)
	s.charged = int64(t.charged)
	t.free()
}
