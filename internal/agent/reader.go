package agent

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/lonng/nano/internal/rawio"
	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// readSize is the maximum size of one read in bytes. Connections share the buffers: a
// connection holds one only while it has undecoded bytes.
const readSize = 16 << 10

// smallRead is the maximum size of one read from a connection that is not a bare socket.
// Such a connection holds its buffer while it waits.
const smallRead = 2 << 10

// maxEmptyReads is the maximum number of consecutive reads without bytes or an error.
const maxEmptyReads = 100

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// reader holds the reading state of a connection. The reading goroutine owns it.
//
// Fields that are used together are adjacent. With many connections, each access to a
// cache line reads from memory.
type reader struct {
	// The following fields are for reads from a bare socket.
	ready func(fd uintptr) bool
	conn  *Conn
	buf   *[readSize]byte
	n     int32 // bytes in buf; negative if the read failed with fault

	remainder []byte // the start of an incomplete packet

	decode decoder
	frames wsframe.Decoder // used if packets come in frames

	dropped int // bytes discarded after the farewell was sent

	_     uint64           // gives reader another size class than Conn, so that freed readers leave no holes between connections
	small *[smallRead]byte // read buffer of a connection that is not a bare socket
	fault error            // error in the client's bytes, after which input is ignored; or the error of a read from a bare socket

	unacked  int      // bytes of accepted packets that were not acknowledged
	resuming *Agent   // the agent that gets this connection at the ack, or nil for its own agent
	opening  *opening // nil unless the client may still resume a session of another node, or has done so
}

var readers = sync.Pool{New: func() any {
	r := &reader{}
	r.ready = func(fd uintptr) bool { return r.conn.readReady(fd) }
	return r
}}

func newReader(c *Conn) *reader {
	r := readers.Get().(*reader)
	r.conn = c
	return r
}

// freeReader returns the reader of c to the pool when no goroutine reads from c.
func (c *Conn) freeReader() {
	r := c.in
	c.in = nil
	*r = reader{ready: r.ready}
	readers.Put(r)
}

// atRest reports whether c can be parked: its session is open, and the next byte begins a
// packet.
func (c *Conn) atRest() bool {
	r := c.in
	return len(r.remainder) == 0 && r.frames.Idle() && r.decode.state == betweenMessages && r.fault == nil && r.opening == nil &&
		!c.flags.has(flagFaulty|flagLingering|flagAway|flagCarried) && !c.agent.Load().flags.has(flagClosed)
}

// readPackets reads until the connection ends. It removes WebSocket frames, if any, and
// decodes packets. rest holds bytes that were already read.
func (c *Conn) readPackets(rest []byte) (err error) {
	err = errGoexit
	defer func() { c.stopReading(err) }()
	if len(rest) > 0 {
		c.consume(rest, 0)
	}
	for !c.away() {
		b, kept, err := c.next()
		if err != nil {
			return err
		}
		c.consume(b, kept)
		if c.flags.has(flagLingering) && !c.lingerOn(len(b)-kept) {
			return io.EOF
		}
	}
	return nil
}

// errGoexit closes a connection if a hook, the validator or the serializer ended its
// goroutine.
var errGoexit error = &protocolError{reason: session.ErrClosed, err: errors.New("its goroutine was ended with runtime.Goexit")}

// stopReading is called after the last read. err is errGoexit if the program ends the
// reader's goroutine with runtime.Goexit.
func (c *Conn) stopReading(err error) {
	c.releaseBuffer()
	if errors.Is(err, errGoexit) {
		a := c.agent.Load()
		c.hub.Log.Error("nano: a hook ended the goroutine of its connection with runtime.Goexit", "session", a.id, "uid", a.session.UID())
		c.finishReading(err)
	}
}

// consume processes the bytes of a read. The first kept bytes of b are the remainder of
// the previous read. consume must not be inlined into readPackets, whose frame is on the
// stack while the connection waits.
//
//go:noinline
func (c *Conn) consume(b []byte, kept int) {
	if c.discards() {
		c.in.remainder = nil
		return
	}
	if c.in.opening != nil {
		c.in.opening.record(b[kept:], c.hub.maxOpening())
	}
	var fault error
	if c.flags.has(flagFramed) {
		if b, fault = c.unframe(b, kept); c.agent.Load().flags.has(flagClosed) {
			b = nil
		}
	}
	rest, err := c.decodePackets(b)
	if c.in.opening != nil && c.away() {
		c.in.remainder = nil
		return // the other node reads all bytes
	}
	if err == nil {
		err = fault
	}
	if err != nil {
		c.refuse(err)
		return
	}
	c.deliver()
	c.saveRemainder(rest)
}

// discards reports whether input is ignored, while the client has time to receive the
// farewell. A WebSocket client's input is processed until its close frame.
func (c *Conn) discards() bool {
	return c.flags.has(flagFaulty|flagLeft) || !c.flags.has(flagFramed) && c.agent.Load().flags.has(flagClosed)
}

// refuse closes the session because of the client's input. Earlier messages run and are
// answered first.
//
//go:noinline
func (c *Conn) refuse(err error) {
	c.deliver()
	c.in.fault, c.in.remainder = err, nil
	c.flags.set(flagFaulty)
	if c.in.resuming != nil {
		c.leavePending(err)
	}
	if a := c.agent.Load(); !c.flags.has(flagLeft) && !a.flags.has(flagClosed) {
		if isLoss(err) && c.echoClose(a) && a.suspend(c, session.ErrClientClosed) {
			return
		}
		a.refuseLater(err)
	}
}

// next returns the remainder, which has kept bytes, and at least one further byte. The
// result is valid until the next read.
func (c *Conn) next() (b []byte, kept int, err error) {
	kept = len(c.in.remainder)
	switch {
	case kept >= readSize/2:
		b, err = c.readBehind()
	case c.raw == nil:
		b, err = c.readConn()
	default:
		b, err = c.readRaw()
	}
	return b, kept, err
}

// readRaw reads once from a bare socket, after a copy of the remainder.
func (c *Conn) readRaw() ([]byte, error) {
	c.in.n = 0
	if err := c.raw.Read(c.in.ready); err != nil {
		return nil, err
	}
	if c.in.n < 0 {
		return nil, c.in.fault
	}
	if int(c.in.n) == len(c.in.remainder) {
		return nil, io.EOF
	}
	return c.in.buf[:c.in.n], nil
}

// readReady reads into a pooled buffer, after a copy of the remainder. If there is
// nothing to read, it returns the buffer to the pool, so that an idle connection holds
// none.
func (c *Conn) readReady(fd uintptr) bool {
	if c.in.buf == nil {
		c.in.buf = readBuffers.Get().(*[readSize]byte)
	}
	k := copy(c.in.buf[:], c.in.remainder)
	n, again, err := rawio.Read(fd, c.in.buf[k:])
	if again {
		c.releaseBuffer()
		return false
	}
	c.in.n = int32(k + n)
	if err != nil {
		c.in.n, c.in.fault = -1, cmp.Or(c.in.fault, err)
	}
	return true
}

// readConn reads from a connection that is not a bare socket. Such a connection holds a
// small buffer while it waits.
func (c *Conn) readConn() ([]byte, error) {
	if c.in.small == nil {
		c.in.small = new([smallRead]byte)
	}
	b := c.in.small[:]
	if len(c.in.remainder) > smallRead/2 {
		return c.readBehind()
	}
	k := copy(b, c.in.remainder)
	n, err := c.readSome(b[k:])
	if err != nil {
		return nil, err
	}
	return b[:k+n], nil
}

// readSome reads at least one byte, or returns an error. If a read returns bytes and an
// error, the next read returns the error again.
func (c *Conn) readSome(b []byte) (n int, err error) {
	for range maxEmptyReads {
		if n, err = c.socket.Read(b); n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// readBehind reads after the remainder in the same buffer. The buffer grows with the
// received bytes, not with the announced size.
func (c *Conn) readBehind() ([]byte, error) {
	r := slices.Grow(c.in.remainder, 1)
	c.in.remainder = r
	n, err := c.readSome(r[len(r):cap(r)])
	if err != nil {
		return nil, err
	}
	return r[:len(r)+n], nil
}

// saveRemainder saves the bytes of an incomplete packet.
func (c *Conn) saveRemainder(rest []byte) {
	switch {
	case len(rest) == 0:
		c.in.remainder = nil
	case endsWith(c.in.remainder, rest):
		c.in.remainder = c.in.remainder[:cap(c.in.remainder)]
		c.in.remainder = c.in.remainder[:copy(c.in.remainder, rest)] // readBehind has read it
	default:
		c.in.remainder = append([]byte(nil), rest...)
	}
}

// endsWith reports whether b, which is not empty, ends at the end of the array of a.
func endsWith(a, b []byte) bool {
	return cap(a) > 0 && &a[:cap(a)][cap(a)-1] == &b[:cap(b)][cap(b)-1]
}

func (c *Conn) releaseBuffer() {
	if c.in.buf != nil {
		readBuffers.Put(c.in.buf)
		c.in.buf = nil
	}
}
