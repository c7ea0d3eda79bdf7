package client

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/lonng/nano/internal/wsframe"
)

// fromServer accepts messages of any size, since packets have a limit of their own.
var fromServer = wsframe.Config{}

// webSocket turns the bytes of a WebSocket connection into bytes of packets and back: packets
// are the payload of binary frames, which they need not begin or end with.
type webSocket struct {
	decoder wsframe.Decoder // owned by the reader
	buf     []byte          // owned by the writer

	mu      sync.Mutex // guards what follows
	control []byte     // a pong and a close frame, if they wait for the writer
	closing bool       // a close frame was queued, and nothing goes out behind it
}

// payload takes the frames in b, moves their payloads together and returns their length. The
// error is io.EOF after a close frame of an orderly end. Unless a close frame was queued
// before, payload queues one when it returns an error.
func (s *webSocket) payload(b []byte) (n int, err error) {
	for rest := b; len(rest) > 0; {
		f, size, err := s.decoder.Next(&fromServer, rest)
		if err != nil {
			var fault *wsframe.Error
			errors.As(err, &fault)
			s.close(fault.Code)
			return n, fmt.Errorf("%w: WebSocket: %w", ErrProtocol, err)
		}
		rest = rest[size:]
		switch f.Op {
		case wsframe.Binary:
			n += copy(b[n:], f.Payload)
		case wsframe.Ping:
			s.pong(f.Payload)
		case wsframe.Close:
			s.close(f.Code())
			return n, closeError(&f)
		}
	}
	return n, nil
}

// closeError returns why the server closed the connection.
func closeError(f *wsframe.Frame) error {
	switch code := f.Code(); code {
	case wsframe.CodeNormal, wsframe.CodeGoingAway, wsframe.CodeNoStatus:
		return io.EOF
	default:
		return &CloseError{Code: int(code), Reason: string(f.Reason())}
	}
}

// pong queues the answer to a ping. Only the latest ping needs one.
func (s *webSocket) pong(payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.control = wsframe.AppendMasked(s.control[:0], wsframe.Pong, maskKey(), payload)
	}
}

// close queues a close frame, the first time it is called; code 0 is a normal end.
func (s *webSocket) close(code uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	s.closing = true
	var b [wsframe.MaxControl]byte
	s.control = wsframe.AppendMasked(s.control, wsframe.Close, maskKey(), wsframe.AppendClosePayload(b[:0], code, ""))
}

// pending reports whether a control frame waits for the writer.
func (s *webSocket) pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.control) > 0
}

// frames returns what has to be written to send data: nothing if there is none and no control
// frame waits. It is valid until the next call. last says that nothing may follow it.
func (s *webSocket) frames(data []byte) (wire []byte, last bool) {
	if cap(s.buf) > keepBuffer {
		s.buf = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(s.buf[:0], s.control...)
	s.control = s.control[:0]
	if len(data) > 0 && !s.closing {
		s.buf = wsframe.AppendMasked(s.buf, wsframe.Binary, maskKey(), data)
	}
	return s.buf, s.closing
}

// maskKey returns a key for one frame.
func maskKey() (key [4]byte) {
	_, _ = rand.Read(key[:]) // it never fails
	return key
}
