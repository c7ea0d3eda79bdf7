package client

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

const (
	// readBuffer is the initial buffer size of a reader in bytes. The buffer grows for
	// larger packets.
	readBuffer = 4 << 10
	// maxEmptyReads is the maximum number of consecutive reads without bytes or an error.
	maxEmptyReads = 100
)

// receive reads and handles packets until the connection ends. It returns the reason.
func (c *connection) receive() error {
	buf := make([]byte, 0, max(readBuffer, len(c.unread)))
	for {
		n, err := c.read(buf[len(buf):cap(buf)])
		if err == nil && c.client.ctx.Err() != nil {
			return c.discard()
		}
		rest, packetErr := c.packets(buf[:len(buf)+n])
		if s := c.session.Load(); s != nil {
			s.acknowledge(c)
		}
		switch {
		case packetErr != nil:
			return packetErr
		case err == io.EOF && len(rest) > 0:
			return lost(io.ErrUnexpectedEOF)
		case err != nil:
			return lost(err)
		}
		buf = buf[:len(buf)+n]
		switch {
		case len(rest) == 0 && cap(buf) > keepBuffer:
			buf = make([]byte, 0, readBuffer)
		case len(rest) == cap(buf), len(buf) == cap(buf) && cap(buf) < keepBuffer:
			// The buffer doubles as bytes arrive, so that an announced length alone
			// allocates nothing.
			buf = append(make([]byte, 0, 2*cap(buf)), rest...)
		default:
			buf = buf[:copy(buf, rest)]
		}
	}
}

// read reads into p once, and returns the number of packet bytes at the start of p. With
// WebSocket that may be 0 without an error. At the end of the connection it returns the
// last bytes together with the error.
func (c *connection) read(p []byte) (n int, err error) {
	if len(c.unread) > 0 {
		n = copy(p, c.unread)
		c.unread = c.unread[n:]
	} else {
		for range maxEmptyReads {
			if n, err = c.conn.Read(p); n > 0 || err != nil {
				break
			}
		}
		if n == 0 && err == nil {
			err = io.ErrNoProgress
		}
	}
	if n > 0 {
		c.heard.Store(int64(c.age()))
		if c.asked {
			c.seen.Store(c.client.opts.clock().UnixNano())
		}
	}
	if c.socket == nil {
		return n, err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // without a close frame
	}
	n, frameErr := c.socket.payload(p[:n])
	if c.socket.pending() {
		c.out.signal()
	}
	if frameErr != nil {
		c.awaitFlush()
		err = frameErr
	}
	return n, err
}

// discard reads until the server also closes its side, while the client closes the
// connection.
func (c *connection) discard() error {
	p := make([]byte, readBuffer)
	for n := 0; n < lingerBytes; {
		m, err := c.read(p)
		if err != nil {
			break
		}
		n += max(m, 1)
	}
	return ErrClosed
}

// packets handles the whole packets at the start of b, and returns the rest.
func (c *connection) packets(b []byte) ([]byte, error) {
	for {
		t, body, n, _, err := codec.Next(b, c.client.opts.packetLimit)
		if err != nil {
			return b, c.noPacket(b, err)
		}
		if n == 0 {
			return b, nil
		}
		if err := c.packet(t, body); err != nil {
			return b, err
		}
		b = b[n:]
	}
}

// noPacket returns the error that ends the connection when b does not begin with a
// packet.
func (c *connection) noPacket(b []byte, err error) error {
	if !c.shaken {
		switch {
		case bytes.HasPrefix(b, []byte("HTTP")):
			return fmt.Errorf("%w: it answered with HTTP, dial it with ws:// or wss://", ErrWrongTransport)
		case bytes.HasPrefix(b, []byte{tlsAlert, tlsMajor}):
			return fmt.Errorf("%w: it answered with TLS, dial it with tls:// or wss://", ErrWrongTransport)
		}
	}
	return fmt.Errorf("%w: %w", ErrProtocol, err)
}

// These are the first two bytes of the TLS record with which a server rejects other
// bytes.
const (
	tlsAlert = 21
	tlsMajor = 3
)

// packet handles one packet. body is valid until it returns.
func (c *connection) packet(t packet.Type, body []byte) error {
	switch {
	case t == packet.Kick:
		return kicked(body)
	case t == packet.Handshake && !c.shaken:
		return c.accept(body)
	case t == packet.Heartbeat && c.shaken:
		return c.heartbeat(body)
	case t == packet.Data && c.shaken:
		if err := c.message(body); err != nil {
			return err
		}
		c.session.Load().accepted(packet.HeadLength + len(body))
		return nil
	case c.shaken:
		return fmt.Errorf("%w: %v packet after the handshake", ErrProtocol, t)
	}
	return fmt.Errorf("%w: %v packet before the handshake", ErrProtocol, t)
}

// message handles the message of a data packet.
func (c *connection) message(body []byte) error {
	h, err := message.Parse(body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if h.Strange {
		return fmt.Errorf("%w: message with flags that are not known", ErrProtocol)
	}
	switch h.Type {
	case Response:
		c.response(h)
		return nil
	case Push:
		return c.push(h)
	}
	return fmt.Errorf("%w: %v from the server", ErrProtocol, h.Type)
}

// response resolves the call that h answers.
func (c *connection) response(h message.Header) {
	p := c.session.Load().calls.take(h.ID)
	if p == nil && len(c.client.opts.inbound) == 0 {
		c.client.opts.logger.Debug("client: response dropped: no request waits for it", "request", h.ID)
		return
	}
	m := &Message{Type: Response, ID: h.ID, Data: bytes.Clone(h.Body), Err: h.Err, conn: c}
	if p != nil {
		m.Route = p.route
	}
	err := c.inbound(m)
	switch {
	case p == nil:
	case err != nil:
		p.resolve(c.client.inbox, nil, err)
	case m.Err:
		p.resolve(c.client.inbox, nil, c.answerError(m.Data))
	default:
		p.resolve(c.client.inbox, m, nil)
	}
}

// push queues a push for its handler.
func (c *connection) push(h message.Header) error {
	route := string(h.Route)
	if h.Compressed {
		var known bool
		if route, known = c.dict.Route(h.Code); !known {
			return fmt.Errorf("%w: push with the route code %d, which is not in the dictionary", ErrProtocol, h.Code)
		}
	} else if !utf8.ValidString(route) {
		return fmt.Errorf("%w: push whose route is not UTF-8", ErrProtocol)
	}
	// With resume, the server sends a push that does not fit again over the next
	// connection. So its hooks have not run.
	if c.client.inbox.full() {
		return ErrSlowHandlers
	}
	m := &Message{Type: Push, Route: route, Data: bytes.Clone(h.Body), conn: c}
	if err := c.inbound(m); err != nil {
		c.client.opts.logger.Warn("client: push dropped", "route", route, "error", err)
		return nil
	}
	c.client.inbox.push(m)
	return nil
}

// inbound runs the inbound hooks.
func (c *connection) inbound(m *Message) error {
	for _, hook := range c.client.opts.inbound {
		if err := hook(m); err != nil {
			return err
		}
	}
	return nil
}
