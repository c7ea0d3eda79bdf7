package agent

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// readSize is what one read takes at most. The buffers are shared: a connection holds one
// only while it has bytes in it that were not decoded.
const readSize = 16 << 10

// smallRead is what one read takes at most of a connection that is not a bare socket,
// which holds its buffer while it waits.
const smallRead = 2 << 10

// maxEmptyReads is how many reads in a row may return neither bytes nor an error.
const maxEmptyReads = 100

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// reader is what a connection needs while a goroutine reads from it. It belongs to that
// goroutine.
//
// The fields that are used together stand together: with many connections each cache line
// is read from memory.
type reader struct {
	// Of a read from a bare socket.
	ready func(fd uintptr) bool // calls readReady of conn
	conn  *Conn
	buf   *[readSize]byte
	n     int32 // bytes in buf; negative if the read failed with fault
	turns int32 // how often pause may yet let others run

	remainder []byte // the beginning of a packet that is not whole

	decode decoder
	frames wsframe.Decoder // used if packets come in frames

	dropped int // bytes that were discarded since the farewell was sent

	_     [2]uint64        // to be of another size class than Conn: freed readers leave no holes between connections
	small *[smallRead]byte // what a connection that is no bare socket reads into
	fault error            // of the client's bytes, after which nothing counts; or of a read from a bare socket

	opening *opening // nil unless the client may yet go on with a session of another node, or has done so
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

// freeReader takes the reader from a connection that no goroutine reads any more.
func (c *Conn) freeReader() {
	r := c.in
	c.in = nil
	*r = reader{ready: r.ready}
	readers.Put(r)
}

// atRest reports whether nothing but the bytes of the next packet matters to an open
// session.
func (c *Conn) atRest() bool {
	r := c.in
	return len(r.remainder) == 0 && r.frames.Idle() && r.decode.state == betweenMessages && r.fault == nil && r.opening == nil &&
		!c.flags.has(flagFaulty|flagLingering|flagAway|flagCarried) && !c.agent.Load().flags.has(flagClosed)
}

// readPackets reads until the connection ends: bytes of the socket, without their frames
// if there are any, are decoded as packets. rest was read from it before.
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

// errGoexit is why a connection ends whose goroutine the program has ended: a hook, the
// validator or the serializer.
var errGoexit error = &protocolError{reason: session.ErrClosed, err: errors.New("its goroutine was ended with runtime.Goexit")}

// stopReading is called when no more is read; err is errGoexit if the goroutine of the
// reader ends with that.
func (c *Conn) stopReading(err error) {
	c.releaseBuffer()
	if errors.Is(err, errGoexit) {
		c.hub.Log.Error("nano: a hook ended the goroutine of its connection with runtime.Goexit", "session", c.agent.Load().id)
		c.finishReading(err)
	}
}

// consume takes in what was read: b, whose first bytes are the remainder of the read
// before, kept bytes. It is not for readPackets to inline: that is on the stack while the
// connection waits.
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
		return // the other node reads all of it
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

// discards reports whether what was read does not count: the client is given a while to
// see the farewell. A WebSocket client is heard until its close frame.
func (c *Conn) discards() bool {
	return c.flags.has(flagFaulty|flagLeft) || !c.flags.has(flagFramed) && c.agent.Load().flags.has(flagClosed)
}

// refuse closes the session for what the client sent. Messages that came before that run,
// and are answered.
//
//go:noinline
func (c *Conn) refuse(err error) {
	c.deliver()
	c.in.fault, c.in.remainder = err, nil
	c.flags.set(flagFaulty)
	if c.resuming != nil {
		c.leavePending(err)
	}
	if a := c.agent.Load(); !c.flags.has(flagLeft) && !a.flags.has(flagClosed) {
		if isLoss(err) && c.echoClose(a) && a.suspend(c, session.ErrClientClosed) {
			return
		}
		a.refuseLater(err)
	}
}

// next returns the remainder, which has kept bytes, and at least one byte more. What it
// returns holds until the next read.
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

// readRaw reads once from a bare socket, behind a copy of the remainder.
func (c *Conn) readRaw() ([]byte, error) {
	if c.in.turns > 0 {
		c.pause()
	}
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

// readReady reads into a buffer of the pool, behind a copy of the remainder. When there
// is nothing to read it gives the buffer back, so that a connection that waits holds
// none.
func (c *Conn) readReady(fd uintptr) bool {
	if c.in.buf == nil {
		c.in.buf = readBuffers.Get().(*[readSize]byte)
	}
	k := copy(c.in.buf[:], c.in.remainder)
	n, again, err := rawRead(fd, c.in.buf[k:])
	if again {
		c.in.turns = maxPauses
		c.releaseBuffer()
		return false
	}
	c.in.n = int32(k + n)
	if err != nil {
		c.in.n, c.in.fault = -1, cmp.Or(c.in.fault, err)
	}
	return true
}

// readConn is read for connections that are not bare sockets. They hold a buffer while
// they wait, a small one.
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

// readSome reads at least one byte, or returns an error. An error that comes with bytes
// comes again with the next read.
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

// readBehind reads behind the remainder itself, which grows as bytes come, not as a
// header announces.
func (c *Conn) readBehind() ([]byte, error) {
	r := slices.Grow(c.in.remainder, 1)
	c.in.remainder = r
	n, err := c.readSome(r[len(r):cap(r)])
	if err != nil {
		return nil, err
	}
	return r[:len(r)+n], nil
}

// saveRemainder saves the bytes of a packet that is not whole.
func (c *Conn) saveRemainder(rest []byte) {
	switch {
	case len(rest) == 0:
		c.in.remainder = nil
	case endsWith(c.in.remainder, rest):
		c.in.remainder = c.in.remainder[:cap(c.in.remainder)]
		c.in.remainder = c.in.remainder[:copy(c.in.remainder, rest)] // read by readBehind
	default:
		c.in.remainder = append([]byte(nil), rest...)
	}
}

// endsWith reports whether b, which is not empty, reaches to the end of the array of a.
func endsWith(a, b []byte) bool {
	return cap(a) > 0 && &a[:cap(a)][cap(a)-1] == &b[:cap(b)][cap(b)-1]
}

func (c *Conn) releaseBuffer() {
	if c.in.buf != nil {
		readBuffers.Put(c.in.buf)
		c.in.buf = nil
	}
}
