package agent

import (
	"errors"

	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// clientFrames says which WebSocket frames a client may send.
var clientFrames = wsframe.Config{FromClient: true}

// unframe takes the WebSocket frames off what was read, in place. b begins with kept
// bytes of packets that had no frames any more; the payloads of the data frames behind
// them become a part of the same stream: a frame may hold several packets, and a packet
// may span frames. An error ends the connection; what was returned comes before it.
//
//go:noinline
func (c *Conn) unframe(b []byte, kept int) (stream []byte, err error) {
	end := kept
	for at := kept; at < len(b); {
		f, n, err := c.frames.Next(&clientFrames, b[at:])
		if err != nil {
			return b[:end], frameFault(err)
		}
		at += n
		switch f.Op {
		case wsframe.Binary:
			end += copy(b[end:], f.Payload)
			err = c.accountFrame(&f)
		case wsframe.Ping:
			err = c.pong(f.Payload)
		case wsframe.Pong:
			err = c.accountControl(len(f.Payload))
		case wsframe.Close:
			err = &protocolError{reason: session.ErrClientClosed, code: f.Code(), err: errClosed}
		}
		if err != nil {
			return b[:end], err
		}
	}
	return b[:end], nil
}

// messageState says what has come of a WebSocket message.
type messageState uint8

const (
	betweenMessages messageState = iota
	emptyMessage                 // nothing but an empty frame
	begunMessage                 // a payload, or an empty frame that was accounted
)

// accountFrame accounts empty frames, of which a client could send any number. The first and the last frame of a
// message may be empty, unless nothing else comes of the message: some clients end every message with an empty frame.
func (c *Conn) accountFrame(f *wsframe.Frame) (err error) {
	s := c.decode.state
	switch {
	case len(f.Payload) > 0:
		s = begunMessage
	case !f.Begin || !f.End:
	case s == emptyMessage && f.Final: // two frames came to nothing
		if err = c.accountControl(0); err == nil {
			err = c.accountControl(0)
		}
	case s != betweenMessages && !f.Final, s == betweenMessages && f.Final:
		s = begunMessage
		err = c.accountControl(0)
	}
	switch {
	case f.End && f.Final:
		s = betweenMessages
	case s == betweenMessages:
		s = emptyMessage
	}
	c.decode.state = s
	return err
}

var errClosed = errors.New("a close frame")

// frameFault returns why the connection ends for a fault in the client's frames.
func frameFault(err error) error {
	code := uint16(wsframe.CodeProtocolError)
	if fault, ok := errors.AsType[*wsframe.Error](err); ok {
		code = fault.Code
	}
	return &protocolError{reason: session.ErrProtocol, code: code, err: err}
}

// pong answers a ping. If the queue is full, or the farewell is in it, the ping has no
// answer: that is no fault of the connection.
func (c *Conn) pong(payload []byte) error {
	if err := c.accountControl(len(payload)); err != nil {
		return err
	}
	_ = c.queue(func(b []byte) ([]byte, error) { return wsframe.AppendFrame(b, wsframe.Pong, payload), nil })
	return nil
}

// frame puts every packet of b into a WebSocket frame of its own, behind dst: two of the
// published clients read only the first packet of a frame.
func frame(dst, b []byte) []byte {
	for len(b) >= packet.HeadLength {
		_, n := packet.Header(b)
		n += packet.HeadLength
		dst = wsframe.AppendFrame(dst, wsframe.Binary, b[:n])
		b = b[n:]
	}
	return dst
}
