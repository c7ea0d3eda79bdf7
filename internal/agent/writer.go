package agent

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// chunk is how many bytes a blocking write takes at a time: its deadline is for so many.
const chunk = 64 << 10

// sent counts what a writer has taken; adding it up once for many clients is cheaper than
// once each.
type sent struct{ messages, bytes int64 }

func (s *sent) report(h *Hub) {
	h.Counts.MessagesOut.Add(s.messages)
	h.Counts.BytesOut.Add(s.bytes)
	*s = sent{}
}

// flush writes what waits, on the caller's goroutine and without blocking if the
// connection allows it. The rest is written by a goroutine of the connection's own.
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

// wire returns what was taken as it goes to the socket.
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

// writeRest leaves the bytes of buf from at on, which the socket did not take at once, to
// a goroutine.
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
// what was queued meanwhile. The caller holds the mu of the agent's outbox, and the
// connection is not dead: it is not over, so the hub still waits for its writers.
func (c *Conn) spawnWriter(a *Agent, b batch, buf *buffer, at int) {
	c.hub.wg.Go(func() { c.writeBlocking(a, b, buf, at) })
}

func (c *Conn) writeBlocking(a *Agent, b batch, buf *buffer, at int) {
	var s sent
	defer s.report(c.hub)
	if buf == nil {
		buf = c.wire(b, &s)
	}
	again := false // a write that failed was tried again
	for {
		for at < len(buf.b) {
			until := time.Now().Add(c.hub.stall)
			c.setWriteDeadline(a, until)
			c.blocked.Store(c.hub.wheel.now())
			n, err := c.socket.Write(buf.b[at:min(at+chunk, len(buf.b))])
			c.blocked.Store(0)
			at += n
			if err != nil && !again && errors.Is(err, os.ErrDeadlineExceeded) && time.Since(until) > 2*maxTick {
				again = true // the process did not run when the time was over
				continue
			}
			if err != nil {
				c.stalled(a, buf, err)
				return
			}
		}
		if c.raw != nil {
			c.setWriteDeadline(a, time.Time{}) // it would fail a later write that has not blocked at all
		}
		buf.free()
		b, more := c.wrote(a, &s)
		if !more {
			return
		}
		buf, at = c.wire(b, &s), 0
	}
}

// wrote is called when a writer has written what it took. It takes what was queued
// meanwhile; if there is nothing, the caller is no writer any more.
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
	c.unpark()
	if !left {
		_ = a.shut(session.ErrClientClosed, farewell{})
	}
	if over {
		c.over()
	}
}

// setWriteDeadline sets when writes fail; the deadline of the farewell, once there is
// one, stays.
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
