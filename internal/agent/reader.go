package agent

import (
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/lonng/nano/session"
)

// readSize is what one read takes at most. The buffers are shared: a connection holds one only while it has bytes
// in it that were not decoded.
const readSize = 16 << 10

// smallRead is what one read takes at most of a connection that is not a bare socket, which holds its buffer while
// it waits.
const smallRead = 2 << 10

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// reader reads the bytes of one connection and cuts them into packets: a read, the frames taken off if there are any,
// then the decoder. It belongs to the goroutine that reads.
//
// The fields that are used together stand together: with many connections each cache line is read from memory.
type reader struct {
	c *Conn

	// Of a read from a bare socket.
	ready func(fd uintptr) bool
	buf   *[readSize]byte
	n     int32 // bytes in buf; negative if the read failed with err
	turns int32 // how often pause may yet let others run

	remainder []byte // the beginning of a packet that is not whole

	small *[smallRead]byte // what a connection that is no bare socket reads into
	err   error            // of a read from a bare socket
	fault error            // of what the client sent; what came after it does not count
}

func (in *reader) init(c *Conn) {
	in.c = c
	if c.raw != nil {
		in.ready = in.readReady
	}
}

// stream reads until the connection ends. rest was read from it before.
func (in *reader) stream(rest []byte) (err error) {
	err = errGoexit
	defer func() { in.stop(err) }()
	if len(rest) > 0 {
		in.consume(rest, 0)
	}
	for {
		b, kept, err := in.read()
		if err != nil {
			return err
		}
		in.consume(b, kept)
	}
}

// errGoexit is why a connection ends whose goroutine the program has ended: a hook, the validator or the serializer.
var errGoexit error = &protocolError{reason: session.ErrClosed, err: errors.New("its goroutine was ended with runtime.Goexit")}

// stop is called when no more is read; err is errGoexit if the goroutine of the reader ends with that.
func (in *reader) stop(err error) {
	in.release()
	if err == errGoexit {
		c := in.c
		c.hub.Log.Error("nano: a hook ended the goroutine of its connection with runtime.Goexit", "session", c.agent.Load().id)
		c.finishReading(err)
	}
}

// consume takes in what was read: b, whose first bytes are the remainder of the read before, kept bytes. It is not for
// stream to inline: that is on the stack while the connection waits.
//
//go:noinline
func (in *reader) consume(b []byte, kept int) {
	c := in.c
	if in.discards() {
		in.remainder = nil
		return
	}
	var fault error
	if c.frames != nil {
		if b, fault = c.unframe(b, kept); c.agent.Load().flags.has(flagClosed) {
			b = nil
		}
	}
	rest, err := c.decode.packets(b)
	if err == nil {
		err = fault
	}
	if err != nil {
		in.refuse(err)
		return
	}
	c.decode.deliver()
	in.saveRemainder(rest)
}

// discards reports whether what was read does not count: the client is given a while to see the farewell. A WebSocket
// client is heard until its close frame.
func (in *reader) discards() bool {
	c := in.c
	return c.flags.has(flagFaulty|flagLeft) || c.frames == nil && c.agent.Load().flags.has(flagClosed)
}

// refuse closes the session for what the client sent. Messages that came before that run, and are answered.
//
//go:noinline
func (in *reader) refuse(err error) {
	c := in.c
	c.decode.deliver()
	in.fault, in.remainder = err, nil
	c.flags.set(flagFaulty)
	if a := c.agent.Load(); !c.flags.has(flagLeft) && !a.flags.has(flagClosed) {
		a.refuseLater(err)
	}
}

// read returns the remainder, which has kept bytes, and at least one byte more. What it returns holds until the next
// read.
func (in *reader) read() (b []byte, kept int, err error) {
	kept = len(in.remainder)
	switch {
	case kept >= readSize/2:
		b, err = in.readBehind()
	case in.c.raw == nil:
		b, err = in.readConn()
	default:
		b, err = in.readRaw()
	}
	return b, kept, err
}

// readRaw reads once from a bare socket, behind a copy of the remainder.
func (in *reader) readRaw() ([]byte, error) {
	if in.turns > 0 {
		in.pause()
	}
	in.n = 0
	if err := in.c.raw.Read(in.ready); err != nil {
		return nil, err
	}
	if in.n < 0 {
		return nil, in.err
	}
	if int(in.n) == len(in.remainder) {
		return nil, io.EOF
	}
	return in.buf[:in.n], nil
}

// readReady reads into a buffer of the pool, behind a copy of the remainder. When there is nothing to read it gives the
// buffer back, so that a connection that waits holds none.
func (in *reader) readReady(fd uintptr) bool {
	if in.buf == nil {
		in.buf = readBuffers.Get().(*[readSize]byte)
	}
	k := copy(in.buf[:], in.remainder)
	n, again, err := rawRead(fd, in.buf[k:])
	if again {
		in.turns = maxPauses
		in.release()
		return false
	}
	in.n = int32(k + n)
	if err != nil {
		in.n, in.err = -1, err
	}
	return true
}

// readConn is read for connections that are not bare sockets. They hold a buffer while they wait, a small one.
func (in *reader) readConn() ([]byte, error) {
	if in.small == nil {
		in.small = new([smallRead]byte)
	}
	b := in.small[:]
	if len(in.remainder) > smallRead/2 {
		return in.readBehind()
	}
	k := copy(b, in.remainder)
	n, err := in.c.socket.Read(b[k:])
	if n > 0 {
		return b[:k+n], nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return nil, err
}

// readBehind reads behind the remainder itself, which grows as bytes come, not as a header announces.
func (in *reader) readBehind() ([]byte, error) {
	r := slices.Grow(in.remainder, 1)
	in.remainder = r
	n, err := in.c.socket.Read(r[len(r):cap(r)])
	if n > 0 {
		return r[:len(r)+n], nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return nil, err
}

// saveRemainder saves the bytes of a packet that is not whole.
func (in *reader) saveRemainder(rest []byte) {
	switch {
	case len(rest) == 0:
		in.remainder = nil
	case endsWith(in.remainder, rest):
		in.remainder = in.remainder[:cap(in.remainder)]
		in.remainder = in.remainder[:copy(in.remainder, rest)] // read by readBehind
	default:
		in.remainder = append([]byte(nil), rest...)
	}
}

// endsWith reports whether b, which is not empty, reaches to the end of the array of a.
func endsWith(a, b []byte) bool {
	return cap(a) > 0 && &a[:cap(a)][cap(a)-1] == &b[:cap(b)][cap(b)-1]
}

func (in *reader) release() {
	if in.buf != nil {
		readBuffers.Put(in.buf)
		in.buf = nil
	}
}
