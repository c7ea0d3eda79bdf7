package agent

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"

	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/session"
)

// outbox holds the queued packets for one client, and the connection that sends them.
//
// A sender appends a packet and adds the agent to the flusher's list. A writer takes all
// queued packets, writes them, and checks again. There is one writer at a time. Writes
// and code of the program do not run under mu.
//
// The outbox holds whole packets without transport frames. Every packet passes through
// [outbox.take] before it is written.
type outbox struct {
	mu       sync.Mutex
	conn     *Conn    // the connection that sends queued packets, or nil; mu guards it and the following fields
	buf      *buffer  // queued packets, or nil
	taken    int      // bytes that the writer has taken and not written
	messages int32    // responses and pushes in buf, counted when a writer takes them
	listed   bool     // the agent is in the flusher's list
	writing  bool     // conn has a writer
	closed   bool     // nothing more may be queued, and the connection ends after the last write
	parting  *parting // nil if the farewell is not postponed

	resume *resumption // nil unless the client has asked for resume; set before the ack
	recent *recent     // packets that the client has not acknowledged; nil if there are none, or if resume has an activity
}

// buffer holds bytes to send. Unused buffers return to a pool. A shared buffer belongs to
// many agents: its bytes never change, and it is never returned.
type buffer struct {
	b       []byte
	shared  bool
	packets int // packets of a shared buffer

	// The following fields are those of a shared buffer; see join.
	claimed atomic.Bool // a goroutine joins, or has joined, the buffer with a packet
	joined  atomic.Pointer[joined]
}

const (
	minBuffer = 512
	maxBuffer = 64 << 10 // larger buffers are not reused
)

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, minBuffer)} }}

func newBuffer() *buffer { return buffers.Get().(*buffer) }

func (b *buffer) free() {
	if b != nil && !b.shared && cap(b.b) <= maxBuffer {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

func (b *buffer) len() int {
	if b == nil {
		return 0
	}
	return len(b.b)
}

// These errors say why a packet is not queued.
var (
	errFull     = errors.New("agent: the packet does not fit behind what waits")
	errTooLarge = errors.New("agent: the packet does not fit an empty queue")
	errParked   = errors.New("agent: the suspended session keeps too much")
)

// queue appends the packet of one message. encode appends the packet to its argument.
func (a *Agent) queue(encode func([]byte) ([]byte, error)) error {
	o := &a.out
	o.mu.Lock()
	err := o.append(a.hub.MaxQueued, a.hub.MaxQueued, encode)
	if err == nil {
		err = o.parkIfSuspended(a.hub)
	}
	flush := err == nil && o.list()
	o.mu.Unlock()
	return a.queued(flush, err)
}

// parkIfSuspended moves queued packets to the history if there is no connection. The
// error is errParked if they do not fit. The caller holds mu.
func (o *outbox) parkIfSuspended(h *Hub) error {
	if o.conn == nil && o.suspended() && !o.park(h) {
		return errParked
	}
	return nil
}

// queueAnswer is queue for an answer, which always fits behind other packets, because an
// accepted request must be answered. The total size of answers is bounded because the
// reader stops at MaxQueued bytes. A reply larger than MaxQueued is refused, and the
// request is answered with an error.
func (a *Agent) queueAnswer(isError bool, encode func([]byte) ([]byte, error)) error {
	o := &a.out
	most := a.hub.MaxQueued
	if isError {
		most = packet.MaxLength + packet.HeadLength
	}
	o.mu.Lock()
	err := o.append(most, math.MaxInt, encode)
	if err == nil {
		err = o.parkIfSuspended(a.hub)
	}
	flush := err == nil && o.list()
	a.markFull()
	o.mu.Unlock()
	if err != nil && errors.Is(err, errTooLarge) {
		a.hub.refuse(refusedSend, a.RemoteAddr())
		return session.ErrBufferExceed
	}
	return a.queued(flush, err)
}

// markFull stops reading if the queued answers exceed the bound. The caller holds the mu of
// the outbox.
func (a *Agent) markFull() {
	if a.out.buf.len() > a.hub.MaxQueued && !a.flags.has(flagFull) {
		a.flags.set(flagFull)
	}
}

// queueShared queues a whole packet that other agents also send. If nothing but such
// packets is queued, the packet is not copied. That saves one buffer per agent. join is
// false if too few agents send the packet.
func (a *Agent) queueShared(shared *buffer, join bool) error {
	o := &a.out
	o.mu.Lock()
	var err error
	if both := o.sharedWith(shared, join); both != nil && o.open() && len(shared.b)+o.waiting() <= a.hub.MaxQueued {
		o.buf = both
		o.messages++
	} else {
		err = o.append(a.hub.MaxQueued, a.hub.MaxQueued, func(b []byte) ([]byte, error) { return append(b, shared.b...), nil })
	}
	if err == nil {
		err = o.parkIfSuspended(a.hub)
	}
	flush := err == nil && o.list()
	o.mu.Unlock()
	return a.queued(flush, err)
}

// sharedWith returns a shared buffer with the queued packets and those of next. It returns
// nil if there is none. The caller holds mu.
func (o *outbox) sharedWith(next *buffer, join bool) *buffer {
	switch {
	case o.buf == nil:
		return next
	case join && o.buf.shared:
		return o.buf.join(next)
	}
	return nil
}

// queued completes the queuing of a packet. If other packets are queued, an error means
// that the client is too slow. A packet that can never fit is an error of the program.
func (a *Agent) queued(flush bool, err error) error {
	if flush {
		a.hub.flusher.add(a)
		return nil
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, errParked) {
		a.overflow()
		return session.ErrSlowClient
	}
	if !errors.Is(err, errFull) && !errors.Is(err, errTooLarge) {
		return err
	}
	a.hub.refuse(refusedSend, a.RemoteAddr())
	if errors.Is(err, errTooLarge) || a.hub.RefuseAtFull {
		return session.ErrBufferExceed
	}
	_ = a.shut(session.ErrSlowClient, farewell{})
	return session.ErrSlowClient
}

// append appends a packet of up to most bytes to a queue of up to total bytes. On an
// error the outbox is unchanged. The caller holds mu.
func (o *outbox) append(most, total int, encode func([]byte) ([]byte, error)) error {
	if !o.open() {
		return session.ErrBrokenPipe
	}
	o.own()
	start := len(o.buf.b)
	b, err := encode(o.buf.b)
	if err != nil {
		return err
	}
	switch size := len(b) - start; {
	case size > most:
		o.buf.b = b[:start]
		return errTooLarge
	case !o.fits(start, len(b), total):
		o.buf.b = b[:start]
		return errFull
	}
	o.buf.b = b
	o.messages++
	return nil
}

// fits reports whether the packet from start to end of the buffer fits. The length of the
// buffer does not include the packet yet. The caller holds mu.
func (o *outbox) fits(start, end, most int) bool { return end-start+o.waiting() <= most }

// open reports whether packets may be queued. The caller holds mu.
func (o *outbox) open() bool { return !o.closed && (o.conn == nil || !o.conn.dead) }

// ending reports whether the farewell was sent or postponed. The caller holds mu.
func (o *outbox) ending() bool { return o.closed || o.parting != nil }

// waiting returns the number of unwritten bytes. The caller holds mu.
func (o *outbox) waiting() int {
	n := o.buf.len() + o.taken - o.replay()
	if o.conn != nil {
		n += o.conn.control.len()
	}
	return n
}

// replay returns the bytes of the replay that are queued or being written; they count toward no bound.
// The caller holds mu.
func (o *outbox) replay() int {
	s := o.activity()
	if s == nil {
		return 0
	}
	return s.replay
}

// replayed notes that nothing of the replay waits. The caller holds mu.
func (o *outbox) replayed() {
	if s := o.activity(); s != nil {
		s.replay = 0
	}
}

// own makes o.buf a buffer that can be appended to. The caller holds mu.
func (o *outbox) own() {
	if o.buf != nil && !o.buf.shared {
		return
	}
	b := newBuffer()
	if o.buf != nil {
		b.b = append(b.b, o.buf.b...)
	}
	o.buf = b
}

// list reports whether the caller must add the agent to the flusher's list. It must if
// the agent is not listed and no writer will check again. The caller holds mu.
func (o *outbox) list() bool {
	if o.listed || o.writing || o.conn == nil {
		return false
	}
	o.listed = true
	return true
}

// drop discards the queued packets. The caller holds mu.
func (o *outbox) drop() {
	o.buf.free()
	o.buf, o.messages = nil, 0
	if s := o.activity(); s != nil {
		s.fleeting = s.fleeting[:0]
	}
}

// batch is the data that a writer has taken.
type batch struct {
	control *buffer // bytes of the connection itself, with their frames, or nil
	packets *buffer // nil for none
	last    bool    // this is the last batch
}

// take gives all queued data to the writer of c, which is the caller. All packets pass
// through take on their way to the socket. The caller holds mu.
func (o *outbox) take(c *Conn, s *sent) batch {
	b := batch{control: c.control, packets: o.buf, last: o.closed}
	if o.taken > 0 {
		o.replayed() // the replay was written
	}
	o.taken = b.control.len() + b.packets.len()
	s.messages += int64(o.messages)
	if o.resume != nil && o.buf != nil && !o.closed && !o.keepRecent(c.hub) {
		s := o.activate()
		s.history.keep(o.buf, int(o.messages), s.fleeting)
		s.history.sent = s.history.last
		s.history.trim(c.hub.Resume.Buffer)
		s.charge(c.hub, false)
		s.fleeting = s.fleeting[:0]
	}
	o.buf, c.control, o.messages, o.writing = nil, nil, 0, true
	if b.last {
		c.finished = true
	}
	return b
}

// pending reports whether there is data for a writer of c. The caller holds mu.
func (o *outbox) pending(c *Conn) bool {
	return !c.dead && (o.buf.len() > 0 || c.control.len() > 0 || o.closed && !c.finished)
}
