package client

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/payload"
	"github.com/lonng/nano/serialize/json"
)

// encode encodes in as a message and runs the outbound hooks.
func (c *connection) encode(t Type, id uint64, route string, in any) (*Message, error) {
	if route == "" {
		return nil, ErrRoute
	}
	m := &Message{Type: t, ID: id, Route: route, conn: c}
	if raw, ok := in.(*[]byte); ok {
		in = *raw
	}
	var err error
	if m.Data, err = c.payload(in); err != nil {
		return nil, err
	}
	hooks := c.client.opts.outbound
	if raw, ok := in.([]byte); ok && len(hooks) > 0 {
		m.Data = bytes.Clone(raw) // a hook may overwrite it
	}
	for _, hook := range hooks {
		if err := hook(m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// payload encodes in; nil is the zero value of the handler's request.
func (c *connection) payload(in any) ([]byte, error) {
	if in == nil {
		if _, ok := c.serializer.(*json.Serializer); ok {
			return []byte("{}"), nil
		}
		return nil, nil
	}
	if raw, ok := in.([]byte); ok {
		return raw, nil
	}
	if c.serializer == nil {
		return nil, c.noSerializer()
	}
	return payload.Encode(c.serializer, in)
}

func (c *connection) noSerializer() error {
	return fmt.Errorf("%w: the server uses %q, set WithSerializer", ErrNoSerializer, c.speaks)
}

// appendMessage appends the packet of m, unless it is too large for the protocol or for the
// server.
func (c *connection) appendMessage(b []byte, m *Message) ([]byte, error) {
	wire := message.Message{Type: m.Type, ID: m.ID, Route: m.Route, Data: m.Data}
	longer, err := codec.AppendMessage(b, &wire, c.dict)
	switch {
	case errors.Is(err, codec.ErrPacketTooLarge):
		return b, fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, message.ErrRouteTooLong):
		return b, fmt.Errorf("%w: %w", ErrRoute, err)
	case err != nil:
		return b, err
	}
	size := len(longer) - len(b) - packet.HeadLength
	if c.maxPacket > 0 && size > c.maxPacket {
		return b, fmt.Errorf("%w: its packet has %d bytes, the server takes %d", ErrTooLarge, size, c.maxPacket)
	}
	return longer, nil
}

// control queues a packet without waiting for room.
func (c *connection) control(t packet.Type, body []byte) error {
	_, err := c.out.put(true, func(b []byte) ([]byte, error) { return codec.Append(b, t, body) })
	return err
}

// write sends the contents of the outbox until the connection ends, or until the outbox
// is finished and empty.
func (c *connection) write() {
	var written []byte
	for {
		b, finished := c.out.take(written)
		wire, last := b, false
		if c.socket != nil {
			if finished {
				c.socket.close(0)
			}
			wire, last = c.socket.frames(b)
		}
		switch {
		case len(wire) > 0:
			c.writing.Store(true)
			c.wrote.Store(int64(c.age()))
			if _, err := c.conn.Write(wire); err != nil {
				c.writeFailed(err)
				return
			}
			c.wrote.Store(int64(c.age()))
			c.writing.Store(false)
			if last {
				close(c.flushed)
				return
			}
			written = b
			continue
		case finished:
			close(c.flushed)
			if !c.leaving.Load() {
				c.closeWrite()
			}
			return
		}
		written = nil
		select {
		case <-c.out.wake:
		case <-c.broken:
			return
		}
	}
}

// writeFailed ends the connection. It first gives the reader time to read the reason,
// because the server may have sent a kick before it closed.
func (c *connection) writeFailed(err error) {
	late := time.NewTimer(linger)
	defer late.Stop()
	select {
	case <-c.broken:
	case <-late.C:
		c.fail(lost(err))
	}
}
