package agent

import (
	"errors"
	"time"

	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/wsframe"
	"github.com/lonng/nano/session"
)

// clientFrames configures the decoder for frames of clients.
var clientFrames = wsframe.Config{FromClient: true}

// unframe removes the WebSocket frames from the received bytes, in place. The first kept
// bytes of b are packet data without frames. The payloads of the following data frames
// continue that stream. A frame may hold several packets, and a packet may span frames.
// An error ends the connection, after the returned stream was processed.
//
//go:noinline
func (c *Conn) unframe(b []byte, kept int) (stream []byte, err error) {
	end := kept
	for at := kept; at < len(b); {
		f, n, err := c.in.frames.Next(&clientFrames, b[at:])
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
			c.flags.set(flagHeardClose)
			err = &protocolError{reason: session.ErrClientClosed, code: f.Code(), err: errClosed}
		}
		if err != nil {
			return b[:end], err
		}
	}
	return b[:end], nil
}

// messageState is the progress of a WebSocket message.
type messageState uint8

const (
	betweenMessages messageState = iota
	emptyMessage                 // only an empty frame was received
	begunMessage                 // a payload was received, or an empty frame was accounted
)

// accountFrame accounts for empty frames, because a client could send any number of them.
// The first and the last frame of a message with a payload may be empty: some clients end
// every message with an empty frame.
func (c *Conn) accountFrame(f *wsframe.Frame) (err error) {
	s := c.in.decode.state
	switch {
	case len(f.Payload) > 0:
		s = begunMessage
	case !f.Begin || !f.End:
	case s == emptyMessage && f.Final: // both frames of the message are empty
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
	c.in.decode.state = s
	return err
}

var errClosed = errors.New("a close frame")

// isLoss reports whether a connection that ended with err was lost, so that the client
// may reconnect. A close frame with the code 1000 or 1001 is not a loss.
func isLoss(err error) bool {
	p, ok := errors.AsType[*protocolError](err)
	return !ok || errors.Is(p, errClosed) && p.code != wsframe.CodeNormal && p.code != wsframe.CodeGoingAway
}

// echoClose echoes the close frame of a client that may reconnect, unless a write is in
// progress. It returns true.
func (c *Conn) echoClose(a *Agent) bool {
	o := &a.out
	o.mu.Lock()
	skip := o.resume == nil || !o.resume.begun || o.writing || o.conn != c || o.closed
	if !skip {
		o.writing = true // no writer starts
	}
	o.mu.Unlock()
	if !skip {
		code := uint16(wsframe.CodeNoStatus)
		if p, ok := errors.AsType[*protocolError](c.in.fault); ok {
			code = p.code
		}
		_ = c.socket.SetWriteDeadline(time.Now().Add(linger))
		_, _ = c.socket.Write(wsframe.AppendClose(nil, code, ""))
	}
	return true
}

// leave returns the error that ends the connection of a client that sent a kick packet.
func (c *Conn) leave() error {
	return &protocolError{reason: session.ErrClientClosed, code: wsframe.CodeNormal, err: errLeft}
}

// leavePending is called when a connection ends with err before its ack. If the client
// has left, the session that the connection resumes ends.
func (c *Conn) leavePending(err error) {
	p, ok := errors.AsType[*protocolError](err)
	if isLoss(err) || !ok || !errors.Is(p.reason, session.ErrClientClosed) {
		return
	}
	a := c.in.resuming
	a.out.mu.Lock()
	mine := a.out.resume.awaits(c)
	a.out.mu.Unlock()
	if mine {
		_ = a.shut(session.ErrClientClosed, farewell{})
	}
}

var errLeft = errors.New("the client leaves")

// frameFault returns the error that ends the connection for an invalid frame.
func frameFault(err error) error {
	code := uint16(wsframe.CodeProtocolError)
	if fault, ok := errors.AsType[*wsframe.Error](err); ok {
		code = fault.Code
	}
	return &protocolError{reason: session.ErrProtocol, code: code, err: err}
}

// pong answers a ping. If the queue is full or contains the farewell, the ping is not
// answered. That does not end the connection.
func (c *Conn) pong(payload []byte) error {
	if err := c.accountControl(len(payload)); err != nil {
		return err
	}
	_ = c.queue(func(b []byte) ([]byte, error) { return wsframe.AppendFrame(b, wsframe.Pong, payload), nil })
	return nil
}

// frame appends every packet of b to dst, each in its own WebSocket frame. Two of the
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
