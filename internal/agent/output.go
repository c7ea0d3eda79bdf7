package agent

import (
	"net"
	"sync"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/payload"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/session"
)

// output is what goes to one client: bytes that wait, and the one writer that takes them away. Whoever sends appends
// to buf and has the flusher note the agent; whoever flushes swaps buf out and writes it. Nothing is written, and
// nothing of the program runs, under mu.
type output struct {
	mu       sync.Mutex
	buf      *buffer // waiting, nil when empty; mu guards it and what follows
	inflight int     // bytes that the writer has taken
	messages int32   // responses and pushes in buf, to be counted when they are written
	listed   bool    // the flusher knows
	writing  bool    // there is a writer
	ending   bool    // when all is written, the connection ends; nothing more may be queued
	dead     bool    // nothing can be written any more
	ended    bool    // the farewell was written
	handed   bool    // the reader has ended, and left the end of the connection to the writer of the farewell
	until    int64   // when the farewell has to be written, in Unix nanoseconds; 0 where there is none
}

// buffer is bytes on their way out, kept in a pool while nobody has any. A shared one is that of many agents, never
// appended to and never kept.
type buffer struct {
	b      []byte
	shared bool
}

const (
	minBuffer = 512
	maxBuffer = 64 << 10 // larger ones are not kept
)

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, minBuffer)} }}

func (b *buffer) free() {
	if !b.shared && cap(b.b) <= maxBuffer {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

// send encodes v and queues the message m with it as its payload.
func (a *Agent) send(m *message.Message, v any) error {
	p, err := payload.EncodeTemporary(a.hub.Serializer, v)
	if err != nil {
		return err
	}
	defer p.Free()
	m.Data = p.Data
	return a.sendData(m)
}

// sendData queues a message, after the outbound hooks.
func (a *Agent) sendData(m *message.Message) error {
	if a.hub.Outbound == nil {
		return a.queue(m)
	}
	hooked := &pipeline.Message{Type: m.Type, ID: m.ID, Route: m.Route, Data: append([]byte{}, m.Data...), Err: m.Err}
	if err := a.hub.Dispatcher.Hooks(a.hub.Outbound, a.session, hooked); err != nil {
		return err
	}
	hooked.Type, hooked.ID, hooked.Err = m.Type, m.ID, m.Err
	return a.queue(hooked)
}

// queue appends a message to what waits.
func (a *Agent) queue(m *message.Message) error {
	o := &a.out
	start, err := o.open(a)
	if err != nil {
		return err
	}
	b, err := codec.AppendMessage(o.buf.b, m, a.hub.Dictionary)
	if err != nil {
		o.buf.b = o.buf.b[:start]
		o.mu.Unlock()
		return err
	}
	o.buf.b = b
	return o.commit(a, start, true)
}

// respond is queue for an answer that no hook is to see: data as it is, in response to mid.
func (a *Agent) respond(mid uint64, data []byte) error {
	o := &a.out
	start, err := o.open(a)
	if err != nil {
		return err
	}
	b, err := codec.AppendResponse(o.buf.b, mid, data)
	if err != nil {
		o.buf.b = o.buf.b[:start]
		o.mu.Unlock()
		return err
	}
	o.buf.b = b
	return o.commit(a, start, true)
}

// queueShared queues a whole packet with a message that goes to other agents as well. Where nothing else waits, as is
// mostly so, it is not copied: that spares many agents a buffer each, and the processor's cache those buffers.
func (a *Agent) queueShared(frame *buffer) error {
	o := &a.out
	o.mu.Lock()
	if o.buf == nil && !a.ws && !o.ending && !o.dead && len(frame.b)+o.inflight <= a.hub.MaxQueued {
		o.buf = frame
		o.queued(a, true)
		return nil
	}
	start, err := o.begin(a)
	if err != nil {
		return err
	}
	o.buf.b = append(o.buf.b, frame.b...)
	return o.commit(a, start, true)
}

// queueFrame appends a whole packet that was encoded before.
func (a *Agent) queueFrame(frame []byte, isMessage bool) error {
	o := &a.out
	start, err := o.open(a)
	if err != nil {
		return err
	}
	o.buf.b = append(o.buf.b, frame...)
	return o.commit(a, start, isMessage)
}

// open locks o, makes room for a packet and returns where what is appended begins: commit or an Unlock must follow.
// On an error o is not locked.
func (o *output) open(a *Agent) (start int, err error) {
	o.mu.Lock()
	return o.begin(a)
}

// begin is the rest of open.
func (o *output) begin(a *Agent) (start int, err error) {
	if o.ending || o.dead {
		o.mu.Unlock()
		return 0, session.ErrBrokenPipe
	}
	if o.buf == nil || o.buf.shared {
		o.own()
	}
	start = len(o.buf.b)
	if a.ws {
		o.buf.b = append(o.buf.b, frameBinary, 0)
	}
	return start, nil
}

// commit makes what was appended since open part of the queue, if it fits, and unlocks o.
func (o *output) commit(a *Agent, start int, isMessage bool) error {
	if a.ws {
		o.buf.b = completeFrame(o.buf.b, start)
	}
	if len(o.buf.b)+o.inflight > a.hub.MaxQueued {
		return o.overflow(a, start)
	}
	o.queued(a, isMessage)
	return nil
}

// own makes o.buf, which is nil or shared, one that can be appended to. The caller holds mu.
func (o *output) own() {
	b := buffers.Get().(*buffer)
	if o.buf != nil {
		b.b = append(b.b, o.buf.b...)
	}
	o.buf = b
}

// queued has what was queued written, and unlocks o.
func (o *output) queued(a *Agent, isMessage bool) {
	if isMessage {
		o.messages++
	}
	note := o.note()
	o.mu.Unlock()
	if note {
		a.hub.flusher.add(a)
	}
}

// note reports whether the flusher is to be told of what waits: it does not know yet, and there is no writer who would see
// it. The caller holds mu.
func (o *output) note() bool {
	note := !o.listed && !o.writing
	o.listed = o.listed || note
	return note
}

// overflow takes back what does not fit and unlocks o. A client for which other things wait is too slow; a message
// that could never fit is the program's fault.
func (o *output) overflow(a *Agent, start int) error {
	size := len(o.buf.b) - start
	o.buf.b = o.buf.b[:start]
	slow := size <= a.hub.MaxQueued
	o.mu.Unlock()
	a.hub.refuse(refusedSend, a.remote)
	if !slow || a.hub.RefuseAtFull {
		return session.ErrBufferExceed
	}
	_ = a.shut(session.ErrSlowClient, farewell{})
	return session.ErrSlowClient
}

// raw queues bytes that need no frame of ours: what the WebSocket library writes.
func (o *output) raw(a *Agent, b []byte) error {
	o.mu.Lock()
	if o.ending || o.dead {
		o.mu.Unlock()
		return net.ErrClosed
	}
	if o.buf == nil || o.buf.shared {
		o.own()
	}
	start := len(o.buf.b)
	o.buf.b = append(o.buf.b, b...)
	if len(o.buf.b)+o.inflight > a.hub.MaxQueued {
		return o.overflow(a, start)
	}
	o.queued(a, false)
	return nil
}

// close ends the connection: at once, or when the farewell was written.
func (o *output) close(a *Agent, f farewell) {
	if !f.flush {
		o.kill()
		closeNow(a.conn)
		return
	}
	o.mu.Lock()
	if o.dead {
		o.mu.Unlock()
		return
	}
	if o.buf == nil || o.buf.shared {
		o.own()
	}
	b := o.buf.b
	if f.kick != nil {
		start := len(b)
		if a.ws {
			b = append(b, frameBinary, 0)
		}
		b, _ = codec.Append(b, packet.Kick, f.kick) // a reason of 16 MiB is not sent
		if a.ws {
			b = completeFrame(b, start)
		}
	}
	if a.ws {
		b = appendClose(b, f.code)
	}
	o.buf.b = b
	o.ending = true
	until := time.Now().Add(closeTimeout)
	o.until = until.UnixNano()
	note := o.note()
	o.mu.Unlock()
	_ = a.conn.SetWriteDeadline(until)
	if note {
		a.hub.flusher.add(a)
	}
}

// closeNow closes a connection without waiting. TLS would first write that it ends, and wait for a client that does not
// read for five seconds: all other clients would wait with the goroutine that looks after their deadlines.
func closeNow(conn net.Conn) {
	if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = c.NetConn()
	}
	_ = conn.Close()
}

// kill drops what waits, and has nothing more written.
func (o *output) kill() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop()
}

// drop is kill; the caller holds mu.
func (o *output) drop() {
	o.dead = true
	if o.buf != nil && !o.writing {
		o.buf.free()
	}
	o.buf = nil
}

// flush writes what waits, on the caller's goroutine and without blocking where the connection allows it; the rest
// is written by a goroutine of the connection's own.
func (a *Agent) flush(w *rawWriter) {
	o := &a.out
	o.mu.Lock()
	o.listed = false
	if o.writing || o.dead {
		o.mu.Unlock()
		return
	}
	buf := o.take(&w.sent)
	if a.raw == nil {
		a.spawnWriter(buf, 0)
		o.mu.Unlock()
		return
	}
	o.mu.Unlock()
	for {
		n, err := w.write(a.raw, buf.b)
		if err != nil {
			a.writeFailed(buf)
			return
		}
		if n < len(buf.b) {
			o.mu.Lock()
			alive := !o.dead
			if alive {
				a.spawnWriter(buf, n)
			}
			o.mu.Unlock()
			if !alive {
				a.writeFailed(buf)
			}
			return
		}
		if buf = o.wrote(a, buf, &w.sent); buf == nil {
			return
		}
	}
}

// sent counts what a writer has taken; adding it up once for many clients is cheaper than once each.
type sent struct{ messages, bytes int64 }

func (s *sent) report(h *Hub) {
	h.Counts.MessagesOut.Add(s.messages)
	h.Counts.BytesOut.Add(s.bytes)
	*s = sent{}
}

// take makes the caller the writer of what waits. The caller holds mu.
func (o *output) take(s *sent) *buffer {
	buf := o.buf
	o.buf, o.writing = nil, true
	if buf == nil {
		buf = buffers.Get().(*buffer)
	}
	s.messages += int64(o.messages)
	s.bytes += int64(len(buf.b))
	o.inflight, o.messages = len(buf.b), 0
	return buf
}

// wrote tells that buf was written, and returns what came meanwhile; nil when the caller is no writer any more.
func (o *output) wrote(a *Agent, buf *buffer, s *sent) *buffer {
	buf.free()
	o.mu.Lock()
	if o.buf != nil && len(o.buf.b) > 0 && !o.dead {
		buf = o.take(s)
		o.mu.Unlock()
		return buf
	}
	o.writing, o.inflight = false, 0
	end := o.ending && !o.ended
	o.ended = o.ended || end
	last := o.handed
	if o.handed = false; last {
		o.drop()
	}
	o.mu.Unlock()
	switch {
	case last:
		a.over()
	case end:
		a.farewellSent()
	}
	return nil
}

// farewellSent closes the sending side; the client is given a while to close its own, since closing a socket with
// unread input would destroy what is still on its way to the client.
func (a *Agent) farewellSent() {
	half, ok := a.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		_ = a.conn.Close()
		return
	}
	_ = a.conn.SetReadDeadline(time.Now().Add(linger))
}

// readerGone is called when nothing is read any more. It reports whether the connection is over with that; otherwise it
// is when the farewell was written.
func (o *output) readerGone() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ending && !o.ended && !o.dead {
		o.handed = true
		return false
	}
	o.drop() // no writer starts any more
	return true
}

// writeFailed ends a connection that cannot be written to.
func (a *Agent) writeFailed(buf *buffer) {
	o := &a.out
	o.mu.Lock()
	o.drop()
	o.writing, o.inflight = false, 0
	last := o.handed
	o.handed = false
	o.mu.Unlock()
	buf.free()
	_ = a.conn.Close()
	_ = a.shut(session.ErrClientClosed, farewell{})
	if last {
		a.over()
	}
}

// spawnWriter has a goroutine of the connection's own write buf from at on, and what comes meanwhile. The caller holds
// the output's mu, and it is not dead: the connection is not over, so nobody has waited for its writers yet.
func (a *Agent) spawnWriter(buf *buffer, at int) {
	a.hub.wg.Add(1)
	go func() {
		defer a.hub.wg.Done()
		a.writeBlocking(buf, at)
	}()
}

// chunk is how much a blocking write takes at a time: its deadline is for so much.
const chunk = 64 << 10

func (a *Agent) writeBlocking(buf *buffer, at int) {
	var s sent
	defer s.report(a.hub)
	for buf != nil {
		for at < len(buf.b) {
			a.writeDeadline(time.Now().Add(a.hub.stall))
			n, err := a.conn.Write(buf.b[at:min(at+chunk, len(buf.b))])
			at += n
			if err != nil {
				a.stalled(buf, err)
				return
			}
		}
		if a.raw != nil {
			a.writeDeadline(time.Time{}) // it would fail a later write that has not blocked at all
		}
		buf, at = a.out.wrote(a, buf, &s), 0
	}
}

// writeDeadline sets when writes are to fail; the deadline of the farewell, once there is one, stays.
func (a *Agent) writeDeadline(t time.Time) {
	_ = a.conn.SetWriteDeadline(t)
	o := &a.out
	o.mu.Lock()
	until := o.until
	o.mu.Unlock()
	if until != 0 {
		_ = a.conn.SetWriteDeadline(time.Unix(0, until))
	}
}

// stalled ends a connection whose blocking write failed.
func (a *Agent) stalled(buf *buffer, err error) {
	if t, ok := err.(net.Error); ok && t.Timeout() {
		_ = a.shut(session.ErrSlowClient, farewell{})
	}
	a.writeFailed(buf)
}
