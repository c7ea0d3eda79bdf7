package agent

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// chunk is the number of bytes in one blocking write. Each chunk gets its own deadline.
const chunk = 64 << 10

// sent counts the data that a writer has taken. The totals of many clients are added to
// the counters at once, which is cheaper.
type sent struct{ messages, bytes int64 }

func (s *sent) report(h *Hub) {
	h.Counts.MessagesOut.Add(s.messages)
	h.Counts.BytesOut.Add(s.bytes)
	*s = sent{}
}

// flush writes queued data on the caller's goroutine, without blocking if the connection
// allows it. A separate goroutine of the connection writes the rest.
func (a *Agent) flush(w *rawWriter) {
	o := &a.out
	o.mu.Lock()
	o.listed = false
	c := o.conn
	if o.writing || c == nil || c.dead {
		o.mu.Unlock()
		return
	}
	b := o.take(c, &w.sent)
	if c.raw == nil {
		c.spawnWriter(a, b, nil, 0)
	}
	o.mu.Unlock()
	if c.raw == nil {
		return
	}
	for more := true; more; {
		buf := c.wire(b, &w.sent)
		n, err := w.write(c.raw, buf.b)
		if err != nil {
			c.writeFailed(a, buf)
			return
		}
		if n < len(buf.b) {
			c.writeRest(a, buf, n)
			return
		}
		buf.free()
		b, more = c.wrote(a, &w.sent)
	}
}

// wire returns the taken data in the form that goes to the socket.
func (c *Conn) wire(b batch, s *sent) *buffer {
	buf := b.control
	switch {
	case c.flags.has(flagFramed):
		if buf == nil {
			buf = newBuffer()
		}
		if b.packets != nil {
			buf.b = frame(buf.b, b.packets.b)
			b.packets.free()
		}
		if b.last {
			buf.b = wsframe.AppendClose(buf.b, c.last.code, "")
		}
	case buf == nil && b.packets != nil:
		buf = b.packets
	case buf == nil:
		buf = newBuffer()
	case b.packets != nil:
		buf.b = append(buf.b, b.packets.b...)
		b.packets.free()
	}
	s.bytes += int64(len(buf.b))
	return buf
}

// writeRest starts a goroutine that writes the bytes of buf from at on, which the socket
// did not accept at once.
func (c *Conn) writeRest(a *Agent, buf *buffer, at int) {
	o := &a.out
	o.mu.Lock()
	alive := o.conn == c && !c.dead
	if alive {
		c.spawnWriter(a, batch{}, buf, at)
	}
	o.mu.Unlock()
	if !alive {
		c.writeFailed(a, buf)
	}
}

// spawnWriter starts a goroutine that writes buf from at on, or b if buf is nil, and then
// the data queued meanwhile. The caller holds the mu of the agent's outbox. The
// connection must not be dead, so that the hub still waits for its writers.
func (c *Conn) spawnWriter(a *Agent, b batch, buf *buffer, at int) {
	c.hub.wg.Go(func() { c.writeBlocking(a, b, buf, at) })
}

func (c *Conn) writeBlocking(a *Agent, b batch, buf *buffer, at int) {
	var s sent
	defer s.report(c.hub)
	if buf == nil {
		buf = c.wire(b, &s)
	}
	again := false // a failed write was retried
	for {
		for at < len(buf.b) {
			until := time.Now().Add(c.hub.stall)
			c.setWriteDeadline(a, until)
			c.blocked.Store(c.hub.wheel.now())
			n, err := c.socket.Write(buf.b[at:min(at+chunk, len(buf.b))])
			c.blocked.Store(0)
			at += n
			if err != nil && !again && errors.Is(err, os.ErrDeadlineExceeded) && time.Since(until) > 2*maxTick {
				again = true // the process was stopped when the deadline passed
				continue
			}
			if err != nil {
				c.stalled(a, buf, err)
				return
			}
		}
		if c.raw != nil {
			c.setWriteDeadline(a, time.Time{}) // otherwise it would fail a later write that has not blocked
		}
		buf.free()
		b, more := c.wrote(a, &s)
		if !more {
			return
		}
		buf, at = c.wire(b, &s), 0
	}
}

// wrote is called when a writer has written its batch. It takes the data queued
// meanwhile. If there is none, the caller is no longer the writer.
func (c *Conn) wrote(a *Agent, s *sent) (b batch, more bool) {
	o := &a.out
	o.mu.Lock()
	if o.conn != c { // the agent has another connection
		o.mu.Unlock()
		return b, false
	}
	o.taken = 0
	o.replayed()
	c.wakeReader()
	if o.pending(c) {
		b = o.take(c, s)
		o.mu.Unlock()
		return b, true
	}
	o.writing = false
	end := c.finished && !c.ended && !c.dead
	if end {
		c.ended = true
		c.setLate(linger)
	}
	over := c.handed
	if c.handed = false; over {
		o.drop()
		c.kill()
	}
	c.writerGone()
	o.mu.Unlock()
	switch {
	case over:
		c.over()
	case end:
		c.farewellSent()
	}
	return b, false
}

// writeFailed ends a connection that cannot be written to.
func (c *Conn) writeFailed(a *Agent, buf *buffer) {
	buf.free()
	if a.suspend(c, session.ErrClientClosed) {
		return
	}
	o := &a.out
	o.mu.Lock()
	left := o.conn != c
	if !left {
		o.drop()
		o.writing, o.taken = false, 0
		c.kill()
		c.writerGone()
	}
	over := c.handed
	c.handed = false
	o.mu.Unlock()
	_ = c.socket.Close()
	c.socketClosed()
	if !left {
		_ = a.shut(session.ErrClientClosed, farewell{})
	}
	if over {
		c.over()
	}
}

// setWriteDeadline sets the deadline of writes. It does not replace the deadline of the
// farewell.
func (c *Conn) setWriteDeadline(a *Agent, t time.Time) {
	_ = c.socket.SetWriteDeadline(t)
	o := &a.out
	o.mu.Lock()
	last := c.last
	o.mu.Unlock()
	if last != nil {
		_ = c.socket.SetWriteDeadline(last.until)
	}
}

// stalled ends a connection whose blocking write failed.
func (c *Conn) stalled(a *Agent, buf *buffer, err error) {
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() && !c.left() && !a.suspend(c, session.ErrClientClosed) {
		_ = a.shut(session.ErrSlowClient, farewell{})
	}
	c.writeFailed(a, buf)
}
