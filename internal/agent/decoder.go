package agent

import (
	"errors"
	"math"
	"sync"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// decoder decodes packets of a connection. It collects the messages of one read in a
// batch for the session's mailbox. The reading goroutine owns it.
type decoder struct {
	batch *dispatch.Batch  // decoded messages that were not delivered
	block []byte           // payloads of the batch, in one allocation
	room  int32            // messages that the mailbox has room for, as of the start of the batch
	size  int32            // size of the current packet in bytes; a packet and a read stay below 32 MiB
	ahead int32            // bytes that were read from the start of the current packet
	state messageState     // state of the current WebSocket message
	last  *handler.Handler // handler of the previous message

	packets int // bytes of the packets in batch

	direct bool // messages for another node may go there without the mailbox
	away   bool // another node serves all messages of the last batch
}

// decodePackets decodes the whole packets at the start of b and returns the rest. It
// collects messages in the batch; see deliver.
func (c *Conn) decodePackets(b []byte) (rest []byte, err error) {
	a := c.agent.Load()
	whole := false
	for {
		t, body, n, _, err := codec.Next(b, c.hub.MaxPacket)
		if err != nil {
			return nil, c.malformedPacket(b, err)
		}
		if n == 0 {
			break
		}
		whole = true
		if t == packet.Data {
			err = c.decodeMessage(a, body, len(b))
		} else {
			if err = c.controlPacket(t, body); t == packet.Ack {
				a = c.agent.Load()
			}
		}
		if err != nil {
			return nil, err
		}
		b = b[n:]
		if a.flags.has(flagClosed) || c.flags.has(flagLeft|flagAway) {
			return nil, nil
		}
	}
	if now := c.hub.wheel.now(); whole && c.seen.Load() != now {
		// Seldom, because the clock has large ticks. An atomic store waits for all earlier stores.
		c.seen.Store(now)
	}
	return b, nil
}

// malformedPacket returns the error that ends a connection when b does not begin with a
// packet.
//
//go:noinline
func (c *Conn) malformedPacket(b []byte, err error) error {
	if errors.Is(err, codec.ErrPacketTooLarge) {
		c.hub.refuse(refusedPacket, c.remote)
		return &protocolError{reason: session.ErrProtocol, code: wsframe.CodeMessageTooBig, err: err}
	}
	if c.state.Load() == stateNew && !c.flags.has(flagFramed) {
		c.wrongTransport(b)
	}
	return violation("%w", err)
}

// controlPacket handles one packet without a message.
func (c *Conn) controlPacket(t packet.Type, body []byte) error {
	switch t {
	case packet.Heartbeat:
		if c.flags.has(flagResume) {
			return c.acknowledged(body)
		}
		return c.accountControl(len(body))
	case packet.Kick:
		if c.flags.has(flagResume) {
			return c.leave()
		}
	case packet.Handshake:
		if c.state.Load() != stateNew {
			return violation("a second handshake")
		}
		return c.shake(body)
	case packet.Ack:
		if c.state.Load() != stateShaken {
			return violation("an ack without a handshake before it")
		}
		if c.in.resuming != nil {
			if err := c.goOn(); err != nil {
				return err
			}
			c.ready()
			return nil
		}
		c.meter = c.hub.newMeter()
		c.enter()
		return nil
	}
	return violation("a client sent a %v packet", t)
}

// decodeMessage decodes one message into the batch. ahead is the number of bytes from the
// start of its packet.
//
// Code for rare cases is in functions that are not inlined, here and in the called
// functions. So decoding a raw payload fits the initial 2 KB stack of the reader's
// goroutine. A larger frame would double that stack.
func (c *Conn) decodeMessage(a *Agent, body []byte, ahead int) error {
	if c.state.Load() != stateReady {
		return errEarly
	}
	var h message.Header
	if err := h.Parse(body); err != nil || h.Type != message.Request && h.Type != message.Notify {
		return c.malformedMessage(&h, err)
	}
	if len(h.Route) > a.hub.Limits.MaxRoute {
		a.hub.refuse(refusedRoute, c.remote)
		h.Strange, h.Route = true, nil
	}
	if c.in.decode.batch == nil {
		c.beginBatch()
	}
	for c.in.decode.batch.Len() >= int(c.in.decode.room) || c.in.decode.batch.Size() >= a.box.MaxSize() {
		if !c.waitForRoom() {
			return nil
		}
	}
	if c.meter != nil {
		if ok, err := c.admit(&h); !ok {
			return err
		}
	}
	c.in.decode.size, c.in.decode.ahead = int32(packet.HeadLength+len(body)), int32(ahead)
	c.in.decode.packets += packet.HeadLength + len(body)
	if a.flags.has(flagRouted) {
		c.decodeRouted(&h)
		return nil
	}
	call := c.in.decode.batch.Next(len(h.Body))
	a.hub.Dispatcher.DecodeInto(call, a.session, &h, &c.in.decode, c.in.decode.last)
	if next := call.Handler(); next != c.in.decode.last {
		c.in.decode.last = next
	}
	return nil
}

// decodeRouted decodes a message of a session that was bound to another node.
//
//go:noinline
func (c *Conn) decodeRouted(h *message.Header) {
	a, d := c.agent.Load(), &c.in.decode
	if d.direct {
		added, here := a.hub.Dispatcher.DecodeForward(d.batch, a.session, h)
		if added {
			return
		}
		if here != nil {
			a.hub.Dispatcher.DecodeInto(d.batch.Next(len(h.Body)), a.session, h, d, here)
			return
		}
	}
	a.hub.Dispatcher.DecodeRouted(d.batch.Next(len(h.Body)), a.session, h, d)
}

var errEarly = violation("data before the ack")

// malformedMessage answers a message that does not parse, if possible. err is nil for a
// message type that clients do not send.
//
//go:noinline
func (c *Conn) malformedMessage(h *message.Header, err error) error {
	if err == nil {
		return violation("a client sent a %v", h.Type)
	}
	c.deliver()
	if h.Type == message.Request && h.ID != 0 {
		c.agent.Load().sendError(h.ID, "", message.Errorf(message.CodeBadRequest, "malformed message"))
	}
	return violation("%w", err)
}

// admit checks a message against the rate limits, and refuses it if the session exceeds
// them. An error ends the connection.
//
//go:noinline
func (c *Conn) admit(h *message.Header) (ok bool, err error) {
	hub := c.hub
	ok, abused := c.meter.take(len(h.Body), hub.Limits.MaxAbuse)
	if ok {
		return true, nil
	}
	hub.refuse(refusedRate, c.remote)
	if abused {
		return false, errAbuse
	}
	c.in.decode.packets += packet.HeadLength + len(h.Body)
	c.in.decode.batch.Add(dispatch.Refuse(h.ID, errRate), 0)
	return false, nil
}

// accountControl accounts a packet or frame without a message, with a payload of size
// bytes. These are heartbeats, pings, pongs and empty frames. Too many of them end the
// connection, as too many messages do.
func (c *Conn) accountControl(size int) error {
	hub := c.hub
	hub.Counts.Control.Add(1)
	if c.meter == nil {
		return nil
	}
	if ok, abused := c.meter.take(size, hub.Limits.MaxAbuse); !ok {
		hub.refuse(refusedRate, c.remote)
		if abused {
			return errAbuse
		}
	}
	return nil
}

// Keep copies the payload of the current packet into the block. The first block of a read
// has room for as many payloads of this size as may follow, because most reads carry
// similar messages. If later payloads are larger, the second block has room for all of
// them.
func (d *decoder) Keep(data []byte) []byte {
	if cap(d.block)-len(d.block) < len(data) {
		size, ahead := int(d.size), int(d.ahead)
		room := ahead / size * len(data)
		if d.block != nil {
			room = ahead - size + len(data)
		} else if room <= maxSmall {
			return keepSmall(data)
		}
		d.block = make([]byte, 0, max(room, len(data)))
	}
	at := len(d.block)
	d.block = append(d.block, data...)
	return d.block[at:len(d.block):len(d.block)]
}

const (
	// maxSmall is the number of bytes up to which the payloads of a read get no block of
	// their own.
	maxSmall = 128
	// smallBlock is the size in bytes of a block for small payloads. A program that keeps one
	// of them keeps the block, and so does a message that waits: 256 KiB for 256 messages.
	smallBlock = 1 << 10
)

// smallBlocks holds blocks with room for small payloads, which may come from any
// connection.
var smallBlocks = sync.Pool{New: func() any { return new([]byte) }}

// keepSmall copies a small payload.
func keepSmall(data []byte) []byte {
	block := smallBlocks.Get().(*[]byte)
	b := *block
	if cap(b)-len(b) < len(data) {
		b = make([]byte, 0, smallBlock)
	}
	at := len(b)
	b = append(b, data...)
	*block = b
	smallBlocks.Put(block)
	return b[at:len(b):len(b)]
}

func (c *Conn) beginBatch() {
	if a := c.agent.Load(); a.flags.has(flagFull) {
		c.waitForOutput(a)
	}
	if !c.flags.has(flagBusy) {
		c.flags.set(flagActive | flagBusy)
	}
	if c.agent.Load().flags.has(flagRouted) {
		c.beginRouted()
	}
	c.in.decode.batch = dispatch.NewBatch()
	c.in.decode.block = nil
	c.in.decode.room = int32(min(c.agent.Load().box.Room(), math.MaxInt32))
}

// maxIdleWait is how long a reader waits for an empty mailbox. A handler of the session may
// block for longer, and the end of the connection has to be noticed meanwhile.
const maxIdleWait = 20 * time.Millisecond

// beginRouted decides whether the messages of the next batch may go to another node
// without the mailbox. If the last batch was for other nodes only and went through the
// mailbox, beginRouted waits until the mailbox is empty. Otherwise a steady stream would
// always use the mailbox.
//
//go:noinline
func (c *Conn) beginRouted() {
	box := &c.agent.Load().box
	idle := box.Idle()
	if !idle && c.in.decode.away {
		c.flags.set(flagPaused)
		late := time.AfterFunc(maxIdleWait, box.Interrupt)
		box.WaitIdle()
		late.Stop()
		c.seen.Store(c.hub.wheel.now())
		c.flags.clear(flagPaused)
		idle = box.Idle()
	}
	c.in.decode.direct = idle
}

// waitForRoom delivers the decoded messages, and waits until the session's mailbox has
// room. It returns false if decoding must stop.
func (c *Conn) waitForRoom() bool {
	a := c.agent.Load()
	c.deliver()
	c.flags.set(flagPaused)
	if !c.left() { // the Interrupt of a takeover may have ended an earlier wait
		a.box.Wait()
	}
	c.seen.Store(c.hub.wheel.now())
	c.flags.clear(flagPaused)
	if a.flags.has(flagClosed) || c.left() {
		return false
	}
	c.beginBatch()
	return true
}

// waitForOutput waits until the client has read its answers. The server does not read
// from a client that does not read. The write deadline bounds the wait.
//
//go:noinline
func (c *Conn) waitForOutput(a *Agent) {
	o := &a.out
	c.flags.set(flagPaused)
	for {
		o.mu.Lock()
		if c.dead || o.conn != c || o.closed || o.waiting() <= a.hub.MaxQueued/2 {
			a.flags.clear(flagFull)
			o.mu.Unlock()
			break
		}
		drained := make(chan struct{})
		c.drained = drained
		o.mu.Unlock()
		<-drained
	}
	c.seen.Store(c.hub.wheel.now())
	c.flags.clear(flagPaused)
}

// deliver puts the batch into the mailbox.
func (c *Conn) deliver() {
	b := c.in.decode.batch
	if b == nil {
		return
	}
	unused := cap(c.in.decode.block) - len(c.in.decode.block)
	n, size := b.Len(), c.in.decode.packets
	c.in.decode.batch, c.in.decode.block, c.in.decode.packets = nil, nil, 0
	c.hub.Counts.MessagesIn.Add(int64(b.Len()))
	c.hub.Counts.BytesIn.Add(int64(b.Size()))
	b.Pin(unused)
	if b.Len() == 0 {
		b.Free()
		return
	}
	a := c.agent.Load()
	if a.flags.has(flagRouted) {
		c.in.decode.away = b.Away()
	}
	a.box.Deliver(b)
	if c.flags.has(flagResume) {
		c.accepted(a.out.resume, n, size)
	}
}
