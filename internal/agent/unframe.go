package agent

import (
	"errors"

	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// clientFrames says which WebSocket frames a client may send.
var clientFrames = wsframe.Config{FromClient: true}

// unframe takes the WebSocket frames off what was read, in place. b begins with kept bytes of packets that had no frames
// any more; the payloads of the data frames behind them become a part of the same stream: a frame may hold several packets,
// and a packet may span frames. An error ends the connection; what was returned comes before it.
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
			if f.Begin && f.End && len(f.Payload) == 0 {
				err = c.accountControl(0)
			}
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

var errClosed = errors.New("a close frame")

// frameFault returns why the connection ends for a fault in the client's frames.
func frameFault(err error) error {
	code := uint16(wsframe.CodeProtocolError)
	var fault *wsframe.Error
	if errors.As(err, &fault) {
		code = fault.Code
	}
	return &protocolError{reason: session.ErrProtocol, code: code, err: err}
}

// pong answers a ping. If the queue is full, or the farewell is in it, the ping has no answer: that is no fault of the
// connection.
func (c *Conn) pong(payload []byte) error {
	if err := c.accountControl(len(payload)); err != nil {
		return err
	}
	_ = c.queue(func(b []byte) ([]byte, error) { return wsframe.AppendFrame(b, wsframe.Pong, payload), nil })
	return nil
}

// frame puts every packet of b into a WebSocket frame of its own, behind dst: two of the published clients read only the
// first packet of a frame.
func frame(dst, b []byte) []byte {
	for len(b) >= packet.HeadLength {
		_, n := packet.Header(b)
		n += packet.HeadLength
		dst = wsframe.AppendFrame(dst, wsframe.Binary, b[:n])
		b = b[n:]
	}
	return dst
}
