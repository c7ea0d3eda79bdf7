package agent

import (
	"errors"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

// decoder decodes the packets of one connection, and gathers the messages of one read in a batch for the session's
// mailbox. It belongs to the goroutine that reads.
type decoder struct {
	c     *Conn
	room  int                // messages that the mailbox takes, asked for when batch was begun
	batch *dispatch.Batch    // messages that were decoded and not delivered
	block []byte             // the payloads they keep, one allocation for all
	size  int32              // bytes of the packet that is decoded; a packet and a read stay below 32 MiB
	ahead int32              // bytes from its first on that were read
	last  *component.Handler // of the message before
	meter *meter             // what the session has left of its rates; nil for no limit
}

// packets decodes the whole packets at the beginning of b and returns the rest. Messages are gathered in the batch; see
// deliver.
func (d *decoder) packets(b []byte) (rest []byte, err error) {
	c := d.c
	a := c.agent.Load()
	whole := false
	for {
		t, body, n, _, err := codec.Next(b, c.hub.MaxPacket)
		if err != nil {
			return nil, d.malformedPacket(err)
		}
		if n == 0 {
			break
		}
		whole = true
		if t == packet.Data {
			err = d.message(a, body, len(b))
		} else {
			if err = d.packet(t, body); t == packet.Ack {
				a = c.agent.Load()
			}
		}
		if err != nil {
			return nil, err
		}
		b = b[n:]
		if a.flags.has(flagClosed) || c.flags.has(flagLeft) {
			return nil, nil
		}
	}
	if now := c.hub.wheel.now(); whole && c.seen.Load() != now {
		c.seen.Store(now) // seldom: the clock has large ticks, and a locked store waits for all that was stored before
	}
	return b, nil
}

// malformedPacket returns why the connection ends if no packet begins.
//
//go:noinline
func (d *decoder) malformedPacket(err error) error {
	if errors.Is(err, codec.ErrPacketTooLarge) {
		d.c.hub.refuse(refusedPacket, d.c.remote)
	}
	return violation("%w", err)
}

// packet handles one packet that carries no message.
func (d *decoder) packet(t packet.Type, body []byte) error {
	c := d.c
	switch t {
	case packet.Heartbeat:
		return d.control(len(body))
	case packet.Handshake:
		if c.state.Load() != stateNew {
			return violation("a second handshake")
		}
		return c.shake(body)
	case packet.Ack:
		if c.state.Load() != stateShaken {
			return violation("an ack without a handshake before it")
		}
		d.meter = c.hub.Limits.newMeter()
		c.enter()
		return nil
	}
	return violation("a client sent a %v packet", t)
}

// message decodes one message into the batch. ahead is the number of bytes from its packet on.
//
// Code that is seldom needed stands in functions of its own, here and in those that this one calls, that are not inlined:
// so a raw payload is decoded on the 2 KB of stack that the reader's goroutine begins with, which a growth would double.
func (d *decoder) message(a *Agent, body []byte, ahead int) error {
	if d.c.state.Load() != stateReady {
		return errEarly
	}
	var h message.Header
	if err := h.Parse(body); err != nil || h.Type != message.Request && h.Type != message.Notify {
		return d.malformedMessage(&h, err)
	}
	if len(h.Route) > a.hub.Limits.MaxRoute {
		a.hub.refuse(refusedRoute, d.c.remote)
		h.Strange, h.Route = true, nil
	}
	if d.batch == nil {
		d.begin()
	}
	for d.batch.Len() >= d.room || d.batch.Size() >= a.box.MaxSize() {
		if !d.waitForRoom() {
			return nil
		}
	}
	if d.meter != nil {
		if ok, err := d.admit(&h); !ok {
			return err
		}
	}
	d.size, d.ahead = int32(packet.HeadLength+len(body)), int32(ahead)
	call := d.batch.Next(len(h.Body))
	if a.flags.has(flagRouted) {
		d.decodeRouted(call, &h)
	} else {
		a.hub.Dispatcher.DecodeInto(call, a.session, &h, d, d.last)
	}
	if next := call.Handler(); next != d.last {
		d.last = next
	}
	return nil
}

//go:noinline
func (d *decoder) decodeRouted(call *dispatch.Call, h *message.Header) {
	a := d.c.agent.Load()
	a.hub.Dispatcher.DecodeRouted(call, a.session, h, d)
}

var errEarly = violation("data before the ack")

// malformedMessage answers a message that does not parse, as far as that can be; err is nil for a type that clients do
// not send.
//
//go:noinline
func (d *decoder) malformedMessage(h *message.Header, err error) error {
	if err == nil {
		return violation("a client sent a %v", h.Type)
	}
	d.deliver()
	if h.Type == message.Request && h.ID != 0 {
		d.c.agent.Load().sendError(h.ID, "", message.Errorf(message.CodeBadRequest, "malformed message"))
	}
	return violation("%w", err)
}

// admit asks the meter for a message, and refuses it if the session has had its share. An error ends the connection.
//
//go:noinline
func (d *decoder) admit(h *message.Header) (ok bool, err error) {
	hub := d.c.hub
	ok, abused := d.meter.take(len(h.Body), hub.Limits.MaxAbuse)
	if ok {
		return true, nil
	}
	hub.refuse(refusedRate, d.c.remote)
	if abused {
		return false, errAbuse
	}
	d.batch.Add(dispatch.Refuse(h.ID, errRate), 0)
	return false, nil
}

// control accounts a packet or frame with a payload of size bytes that is no message: heartbeats, pings, pongs and empty
// frames. A flood of them ends like one of messages.
func (d *decoder) control(size int) error {
	hub := d.c.hub
	hub.Counts.Control.Add(1)
	if d.meter == nil {
		return nil
	}
	if ok, abused := d.meter.take(size, hub.Limits.MaxAbuse); !ok {
		hub.refuse(refusedRate, d.c.remote)
		if abused {
			return errAbuse
		}
	}
	return nil
}

// Keep copies the payload of the packet that is decoded into the block. The first block of a read is for as many
// payloads of this size as may follow: most reads carry messages of one kind. If they turn out larger, the second is
// for any.
func (d *decoder) Keep(data []byte) []byte {
	if cap(d.block)-len(d.block) < len(data) {
		size, ahead := int(d.size), int(d.ahead)
		room := ahead / size * len(data)
		if d.block != nil {
			room = ahead - size + len(data)
		}
		d.block = make([]byte, 0, max(room, len(data)))
	}
	at := len(d.block)
	d.block = append(d.block, data...)
	return d.block[at:len(d.block):len(d.block)]
}

func (d *decoder) begin() {
	if !d.c.flags.has(flagGrown) {
		d.c.flags.set(flagGrown)
	}
	d.batch = dispatch.NewBatch()
	d.block = nil
	d.room = d.c.agent.Load().box.Room()
}

// waitForRoom delivers what was decoded, and waits until the session's mailbox has room. It reports false when nothing
// more is to be decoded.
func (d *decoder) waitForRoom() bool {
	c := d.c
	a := c.agent.Load()
	d.deliver()
	c.flags.set(flagPaused)
	a.box.Wait()
	c.seen.Store(c.hub.wheel.now())
	c.flags.clear(flagPaused)
	if a.flags.has(flagClosed) || c.left() {
		return false
	}
	d.begin()
	return true
}

// deliver hands the batch to the mailbox.
func (d *decoder) deliver() {
	b := d.batch
	if b == nil {
		return
	}
	unused := cap(d.block) - len(d.block)
	d.batch, d.block = nil, nil
	d.c.hub.Counts.MessagesIn.Add(int64(b.Len()))
	d.c.hub.Counts.BytesIn.Add(int64(b.Size()))
	b.Pin(unused)
	if b.Len() == 0 {
		b.Free()
		return
	}
	d.c.agent.Load().box.Deliver(b)
}
