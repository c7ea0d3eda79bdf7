package agent

import (
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/session"
)

// readSize is what one read takes at most. The buffers are shared: a connection holds one only while it has bytes
// in it that were not decoded.
const readSize = 16 << 10

// smallRead is what one read takes at most of a connection that is not a bare socket, which holds its buffer while
// it waits.
const smallRead = 2 << 10

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// input takes packets out of what one client sends, and messages out of the packets. It belongs to the goroutine
// that reads.
//
// The fields stand together as they are used: with many connections each cache line of it has to come from afar.
type input struct {
	a *Agent

	// Of a read from a bare socket.
	ready func(fd uintptr) bool
	buf   *[readSize]byte
	n     int32 // bytes in buf; negative where the read failed with err
	turns int32 // how often giveWay may yet let others run

	part []byte // the beginning of a packet that is not whole
	room int    // messages that the mailbox takes, asked for when batch was begun

	batch  *dispatch.Batch  // messages that were decoded and not delivered
	block  []byte           // the payloads they keep, one allocation for all
	taken  int32            // bytes of the packet that is decoded; a packet and a read stay below 32 MiB
	ahead  int32            // bytes from its first on that were read
	last   *handler.Handler // of the message before
	meter  *meter           // what the session has left of its rates; nil for no limit
	socket *wsConn          // nil where the bytes are not in WebSocket frames

	small  *[smallRead]byte // what a connection that is no bare socket reads into
	frame  *[readSize]byte  // payloads of WebSocket frames that were not fed yet
	framed int              // bytes in frame
	lent   bool             // the library reads into frame: it stays, also where the rest of a frame has to be waited for
	err    error            // of a read from a bare socket
	fault  error            // of what the client sent; what came after it does not count
}

func newInput(a *Agent) *input {
	in := &input{a: a}
	in.ready = in.readReady
	return in
}

// stream reads a connection whose bytes are packets, until it ends. rest was read from it before.
func (in *input) stream(rest []byte) (err error) {
	err = errGoexit
	defer func() { in.stop(err) }()
	if len(rest) > 0 {
		in.digest(rest)
	}
	for {
		b, err := in.read()
		if err != nil {
			return err
		}
		in.digest(b)
	}
}

// errGoexit is why a connection ends whose goroutine the program has ended: a hook, the validator or the serializer.
var errGoexit error = &protocolError{reason: session.ErrClosed, err: errors.New("its goroutine was ended with runtime.Goexit")}

// stop is called when no more is read; err is errGoexit where the goroutine of the reader ends with that.
func (in *input) stop(err error) {
	in.release()
	if err == errGoexit {
		in.a.hub.Log.Error("nano: a hook ended the goroutine of its connection with runtime.Goexit", "session", in.a.id)
		in.a.finishReading(err)
	}
}

// digest takes in what was read: the packets of b, which begins with part, and the rest for later. It is not for
// stream to inline: that is on the stack while the connection waits.
//
//go:noinline
func (in *input) digest(b []byte) {
	if in.a.flags.has(flagClosed | flagFaulty) {
		in.part = nil // the client is given a while to see our farewell; what it says no longer counts
		return
	}
	rest, err := in.feed(b)
	if err != nil {
		in.refuse(err)
		return
	}
	in.deliver()
	in.keep(rest)
}

// refuse closes the session for what the client sent. What came before that runs, and is answered.
//
//go:noinline
func (in *input) refuse(err error) {
	in.deliver()
	in.fault = err
	in.a.flags.set(flagFaulty)
	if !in.a.flags.has(flagClosed) {
		in.a.refuseLater(err)
	}
}

// read returns what part holds and at least one byte more.
func (in *input) read() ([]byte, error) {
	if len(in.part) >= readSize/2 {
		return in.readMore()
	}
	if in.a.raw == nil {
		return in.readConn()
	}
	return in.readRaw()
}

// prefix is what a read from a bare socket comes behind.
func (in *input) prefix() []byte {
	if in.a.ws {
		return nil // part is of the frames' payload, not of the socket
	}
	return in.part
}

// readRaw reads once from a bare socket, behind a copy of prefix. What it returns holds until the next read.
func (in *input) readRaw() ([]byte, error) {
	if in.turns > 0 {
		in.giveWay()
	}
	in.n = 0
	if err := in.a.raw.Read(in.ready); err != nil {
		return nil, err
	}
	if in.n < 0 {
		return nil, in.err
	}
	if int(in.n) == len(in.prefix()) {
		return nil, io.EOF
	}
	return in.buf[:in.n], nil
}

// readReady reads into a buffer of the pool, behind a copy of prefix. When there is nothing to read it gives the
// buffer back, so that a connection that waits holds none.
func (in *input) readReady(fd uintptr) bool {
	if in.buf == nil {
		in.buf = readBuffers.Get().(*[readSize]byte)
	}
	k := copy(in.buf[:], in.prefix())
	n, again, err := rawRead(fd, in.buf[k:])
	if again {
		in.turns = maxTurns
		in.release()
		return false
	}
	in.n = int32(k + n)
	if err != nil {
		in.n, in.err = -1, err
	}
	return true
}

// maxTurns is how often a reader lets others run before it waits: between a client that asks again at once and one that
// has to wait until somebody asks the kernel what is ready, which happens when nobody is.
const maxTurns = 2

// giveWay lets others run before a socket is read that was read just now. While the logic goroutine is pressed, what the
// client sends next has then come more often than not: that saves the read that finds nothing, and waiting for what is
// there in a moment. That read is never left out, only put off: with edges for events, it is what finds the end of a stream.
//
//go:noinline
func (in *input) giveWay() {
	if !in.a.hub.Dispatcher.Loop.Saturated() {
		return
	}
	in.turns--
	in.release()
	runtime.Gosched()
}

// readConn is read for connections that are not bare sockets. They hold a buffer while they wait, a small one.
func (in *input) readConn() ([]byte, error) {
	if in.small == nil {
		in.small = new([smallRead]byte)
	}
	b := in.small[:]
	if len(in.part) > smallRead/2 {
		return in.readMore()
	}
	k := copy(b, in.part)
	n, err := in.a.conn.Read(b[k:])
	if n > 0 {
		return b[:k+n], nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return nil, err
}

// tail returns room behind part, which grows as bytes come, not as a header announces.
func (in *input) tail() []byte {
	in.part = slices.Grow(in.part, 1)
	return in.part[len(in.part):cap(in.part)]
}

// readMore reads behind part itself.
func (in *input) readMore() ([]byte, error) {
	n, err := in.a.conn.Read(in.tail())
	if n > 0 {
		in.part = in.part[:len(in.part)+n]
		return in.part, nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return nil, err
}

// keep saves the bytes of a packet that is not whole.
func (in *input) keep(rest []byte) {
	switch {
	case len(rest) == 0:
		in.part = nil
	case len(in.part) > 0 && &rest[len(rest)-1] == &in.part[len(in.part)-1]:
		in.part = in.part[:copy(in.part, rest)] // read by readMore
	default:
		in.part = append([]byte(nil), rest...)
	}
}

// space returns room for the payload of a WebSocket frame, behind what is not fed yet.
func (in *input) space() []byte {
	if len(in.part) >= readSize/2 {
		return in.tail()
	}
	if in.frame == nil {
		in.frame = readBuffers.Get().(*[readSize]byte)
		in.framed = copy(in.frame[:], in.part)
		in.part = nil
	}
	return in.frame[in.framed:]
}

// take feeds what has come, n bytes more in what space returned.
func (in *input) take(n int) error {
	if in.frame == nil {
		in.part = in.part[:len(in.part)+n]
		rest, err := in.feed(in.part)
		if err == nil {
			in.keep(rest)
		}
		return err
	}
	rest, err := in.feed(in.frame[:in.framed+n])
	if err != nil {
		return err
	}
	if in.framed = copy(in.frame[:], rest); in.framed >= readSize/2 {
		in.settle()
	}
	return nil
}

// settle gives the frame buffer back before the connection may have to wait.
func (in *input) settle() {
	if in.frame == nil {
		return
	}
	if in.framed > 0 {
		in.part = append([]byte(nil), in.frame[:in.framed]...)
	}
	readBuffers.Put(in.frame)
	in.frame, in.framed = nil, 0
}

func (in *input) release() {
	if in.buf != nil {
		readBuffers.Put(in.buf)
		in.buf = nil
	}
}

// feed takes the whole packets off b and returns the rest. Messages are gathered in the batch; see deliver.
func (in *input) feed(b []byte) (rest []byte, err error) {
	a := in.a
	whole := false
	for {
		t, body, n, _, err := codec.Next(b, a.hub.MaxPacket)
		if err != nil {
			return nil, in.noPacket(err)
		}
		if n == 0 {
			break
		}
		whole = true
		if t == packet.Data {
			err = in.message(body, len(b))
		} else {
			err = in.packet(t, body)
		}
		if err != nil {
			return nil, err
		}
		b = b[n:]
		if a.flags.has(flagClosed) {
			return nil, nil
		}
	}
	if now := a.hub.wheel.now(); whole && a.seen.Load() != now {
		a.seen.Store(now) // seldom: the clock has large ticks, and a locked store waits for all that was stored before
	}
	return b, nil
}

// noPacket returns why the connection ends where no packet begins.
//
//go:noinline
func (in *input) noPacket(err error) error {
	if errors.Is(err, codec.ErrPacketTooLarge) {
		in.a.hub.refuse(refusedPacket, in.a.remote)
	}
	return violation("%w", err)
}

// packet handles one packet that carries no message.
func (in *input) packet(t packet.Type, body []byte) error {
	a := in.a
	switch t {
	case packet.Heartbeat:
		return in.control(len(body))
	case packet.Handshake:
		if a.state.Load() != stateNew {
			return violation("a second handshake")
		}
		return a.shake(body)
	case packet.Ack:
		if a.state.Load() != stateShook {
			return violation("an ack without a handshake before it")
		}
		in.meter = a.hub.Limits.newMeter()
		a.enter()
		return nil
	}
	return violation("a client sent a %v packet", t)
}

// message decodes one message into the batch. ahead is the number of bytes from its packet on.
//
// What is seldom needed stands in functions of its own, here and in what this calls, that are not inlined: so a raw
// payload is decoded on the 2 KB of stack that the reader's goroutine begins with, which a growth would double.
func (in *input) message(body []byte, ahead int) error {
	a := in.a
	if a.state.Load() != stateReady {
		return errEarly
	}
	var h message.Header
	if err := h.Parse(body); err != nil || h.Type != message.Request && h.Type != message.Notify {
		return in.malformed(&h, err)
	}
	if len(h.Route) > a.hub.Limits.MaxRoute {
		a.hub.refuse(refusedRoute, a.remote)
		h.Strange, h.Route = true, nil
	}
	if in.batch == nil {
		in.begin()
	}
	for in.batch.Len() >= in.room || in.batch.Size() >= a.box.MaxSize() {
		if !in.pause() {
			return nil
		}
	}
	if in.meter != nil {
		if ok, err := in.admit(&h); !ok {
			return err
		}
	}
	in.taken, in.ahead = int32(packet.HeadLength+len(body)), int32(ahead)
	c := in.batch.Next(len(h.Body))
	if a.flags.has(flagRouted) {
		in.decodeRouted(c, &h)
	} else {
		a.hub.Dispatcher.DecodeInto(c, a.session, &h, in, in.last)
	}
	if next := c.Handler(); next != in.last {
		in.last = next
	}
	return nil
}

//go:noinline
func (in *input) decodeRouted(c *dispatch.Call, h *message.Header) {
	in.a.hub.Dispatcher.DecodeRouted(c, in.a.session, h, in)
}

var errEarly = violation("data before the ack")

// malformed answers what does not parse, as far as that can be; err is nil for a type that clients do not send.
//
//go:noinline
func (in *input) malformed(h *message.Header, err error) error {
	if err == nil {
		return violation("a client sent a %v", h.Type)
	}
	in.deliver()
	if h.Type == message.Request && h.ID != 0 {
		in.a.sendError(h.ID, "", message.Errorf(message.CodeBadRequest, "malformed message"))
	}
	return violation("%w", err)
}

// admit asks the meter for a message, and refuses it if the session has had its share. An error ends the connection.
//
//go:noinline
func (in *input) admit(h *message.Header) (ok bool, err error) {
	a := in.a
	ok, abused := in.meter.take(len(h.Body), a.hub.Limits.MaxAbuse)
	if ok {
		return true, nil
	}
	a.hub.refuse(refusedRate, a.remote)
	if abused {
		return false, errAbuse
	}
	in.batch.Add(dispatch.Refuse(h.ID, errRate), 0)
	return false, nil
}

// Keep copies the payload of the packet that is decoded into the block. The first block of a read is for as many
// payloads of this size as may follow: what comes at once is mostly of one kind. If they turn out larger, the second is
// for any.
func (in *input) Keep(data []byte) []byte {
	if cap(in.block)-len(in.block) < len(data) {
		taken, ahead := int(in.taken), int(in.ahead)
		if in.socket != nil {
			ahead += len(in.socket.left) // more frames of the same read
		}
		room := ahead / taken * len(data)
		if in.block != nil {
			room = ahead - taken + len(data)
		}
		in.block = make([]byte, 0, max(room, len(data)))
	}
	at := len(in.block)
	in.block = append(in.block, data...)
	return in.block[at:len(in.block):len(in.block)]
}

func (in *input) begin() {
	if !in.a.flags.has(flagGrown) {
		in.a.flags.set(flagGrown)
	}
	in.batch = dispatch.NewBatch()
	in.block = nil
	in.room = in.a.box.Room()
}

// pause delivers what was decoded, and waits until the session's mailbox has room. It reports false when the
// session has closed.
func (in *input) pause() bool {
	a := in.a
	in.deliver()
	a.flags.set(flagPaused)
	a.box.Wait()
	a.seen.Store(a.hub.wheel.now())
	a.flags.clear(flagPaused)
	if a.flags.has(flagClosed) {
		return false
	}
	in.begin()
	return true
}

// deliver hands the batch to the mailbox.
func (in *input) deliver() {
	b := in.batch
	if b == nil {
		return
	}
	unused := cap(in.block) - len(in.block)
	in.batch, in.block = nil, nil
	in.a.hub.Counts.MessagesIn.Add(int64(b.Len()))
	in.a.hub.Counts.BytesIn.Add(int64(b.Size()))
	b.Pin(unused)
	if b.Len() == 0 {
		b.Free()
		return
	}
	in.a.box.Deliver(b)
}
