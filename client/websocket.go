package client

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/lonng/nano/internal/wsframe"
)

// fromServer accepts messages of any size, because packets have their own limit.
var fromServer = wsframe.Config{}

// webSocket converts between the bytes of a WebSocket connection and the bytes of
// packets. Packets are the payload of binary frames, and may start and end anywhere in
// them.
type webSocket struct {
	decoder wsframe.Decoder // owned by the reader
	buf     []byte          // owned by the writer

	mu      sync.Mutex // guards the fields below
	control []byte     // queued pong and close frames
	closing bool       // a close frame was queued, and nothing is sent after it
}

// payload decodes the frames in b, moves their payloads together and returns their
// length. The error is io.EOF after a close frame without an error code. Unless a close
// frame was queued before, payload queues one when it returns an error.
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

// close queues a close frame. Only the first call has an effect. Code 0 is a normal
// close.
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

// pending reports whether a control frame is queued.
func (s *webSocket) pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.control) > 0
}

// frames returns the bytes to write for data and for a queued control frame, if any. The
// result is valid until the next call. last reports that nothing may follow it.
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
	_, _ = rand.Read(key[:]) // rand.Read never fails
	return key
}
