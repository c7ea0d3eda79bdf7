package agent

import (
	"errors"
	"net"
	"sync"

	"github.com/lonng/nano/session"
)

// outbox holds the packets that wait for one client, and says which connection takes them
// away.
//
// A sender appends a packet and adds the agent to the flusher's list. A writer takes all
// that waits, writes it, and looks again. There is one writer at a time. Neither a write
// nor code of the program runs under mu.
//
// The outbox has whole packets, without frames of a transport: see [outbox.take], the
// last place before the wire.
type outbox struct {
	mu       sync.Mutex
	conn     *Conn   // the connection that takes what waits, nil for none; mu guards it and what follows
	buf      *buffer // packets that wait, nil for none
	taken    int     // bytes that the writer has taken and not written
	messages int32   // responses and pushes in buf, which are counted when they are taken
	listed   bool    // the agent is in the flusher's list
	writing  bool    // conn has a writer
	closed   bool    // nothing more may be queued: when all is written, the connection ends
	remote   net.Addr
}

// buffer is bytes to be sent. It is kept in a pool while it is not used. A shared one is
// that of many agents: it is never appended to and never kept.
type buffer struct {
	b      []byte
	shared bool
}

const (
	minBuffer = 512
	maxBuffer = 64 << 10 // larger ones are not kept
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

// Why a packet is not queued.
var (
	errFull     = errors.New("agent: the packet does not fit behind what waits")
	errTooLarge = errors.New("agent: the packet does not fit an empty queue")
)

// queue appends the packet of one message, which encode appends to the bytes it is given.
func (a *Agent) queue(encode func([]byte) ([]byte, error)) error {
	o := &a.out
	o.mu.Lock()
	err := o.append(a.hub.MaxQueued, encode)
	flush := err == nil && o.list()
	o.mu.Unlock()
	return a.queued(flush, err)
}

// queueShared queues a whole packet with a message that goes to other agents as well. If
// nothing else waits, as is mostly the case, it is not copied: that spares many agents a
// buffer each.
func (a *Agent) queueShared(packet *buffer) error {
	o := &a.out
	o.mu.Lock()
	var err error
	if o.buf == nil && o.open() && len(packet.b)+o.waiting() <= a.hub.MaxQueued {
		o.buf = packet
		o.messages++
	} else {
		err = o.append(a.hub.MaxQueued, func(b []byte) ([]byte, error) { return append(b, packet.b...), nil })
	}
	flush := err == nil && o.list()
	o.mu.Unlock()
	return a.queued(flush, err)
}

// queued ends the queuing of a packet. A client for which other packets wait is too slow;
// a packet that could never fit is the program's fault.
func (a *Agent) queued(flush bool, err error) error {
	if flush {
		a.hub.flusher.add(a)
		return nil
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

// append appends a packet. On an error the outbox is as it was. The caller holds mu.
func (o *outbox) append(most int, encode func([]byte) ([]byte, error)) error {
	if !o.open() {
		return session.ErrBrokenPipe
	}
	o.own()
	start := len(o.buf.b)
	b, err := encode(o.buf.b)
	if err != nil {
		return err
	}
	if len(b)+o.waiting()-start > most {
		o.buf.b = b[:start]
		if len(b)-start > most {
			return errTooLarge
		}
		return errFull
	}
	o.buf.b = b
	o.messages++
	return nil
}

// open reports whether packets may be queued. The caller holds mu.
func (o *outbox) open() bool { return !o.closed && (o.conn == nil || !o.conn.dead) }

// waiting returns how many bytes are not written. The caller holds mu.
func (o *outbox) waiting() int {
	n := o.buf.len() + o.taken
	if o.conn != nil {
		n += o.conn.control.len()
	}
	return n
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

// list reports whether the caller has to add the agent to the flusher's list: it is not
// in it, and no writer looks again. The caller holds mu.
func (o *outbox) list() bool {
	if o.listed || o.writing || o.conn == nil {
		return false
	}
	o.listed = true
	return true
}

// drop discards what waits. The caller holds mu.
func (o *outbox) drop() {
	o.buf.free()
	o.buf, o.messages = nil, 0
}

// batch is what a writer has taken.
type batch struct {
	control *buffer // bytes of the connection itself, as they go to the socket; nil for none
	packets *buffer // nil for none
	last    bool    // nothing comes behind it
}

// take gives all that waits to the writer of c, which the caller becomes. It is the one
// place through which each packet passes on its way to the socket. The caller holds mu.
func (o *outbox) take(c *Conn, s *sent) batch {
	b := batch{control: c.control, packets: o.buf, last: o.closed}
	o.taken = b.control.len() + b.packets.len()
	s.messages += int64(o.messages)
	o.buf, c.control, o.messages, o.writing = nil, nil, 0, true
	if b.last {
		c.finished = true
	}
	return b
}

// pending reports whether a writer of c has something to take. The caller holds mu.
func (o *outbox) pending(c *Conn) bool {
	return !c.dead && (o.buf.len() > 0 || c.control.len() > 0 || o.closed && !c.finished)
}
