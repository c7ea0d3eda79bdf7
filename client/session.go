package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/packet"
)

// These constants say when the client acknowledges received packets.
const (
	ackPackets = 64                     // after this many data packets
	ackBytes   = 16 << 10               // or this many bytes, including headers
	ackDelay   = 500 * time.Millisecond // or this long after the first unacknowledged packet
)

// session holds the state shared with the server: the unanswered requests and the counts
// of data packets. Without resume it ends with its connection. With resume it continues
// over the next connection. For that, the client keeps unacknowledged packets and counts
// received ones. All counting is in this type.
type session struct {
	calls   *calls
	ids     atomic.Uint64 // latest request id
	resumes bool          // the server has issued a token; constant
	limit   int           // maximum bytes of kept packets, including headers

	mu   sync.Mutex  // guards the fields below; locked before the mu of an outbox
	conn *connection // nil without a connection
	last *connection // the latest connection, whose dictionary and limits are used until the next one
	lost error       // why there is no connection
	err  error       // why the session has ended

	token string // token from the latest answer

	base      uint64 // number of data packets before kept
	kept      []kept // unacknowledged data packets, the oldest first
	keptBytes int
	sent      uint64 // number of data packets passed to a connection

	received uint64 // number of data packets received from the server
	acked    uint64 // number of received packets that were acknowledged
	unacked  int    // bytes of received packets that were not acknowledged
	since    time.Time
	timer    *time.Timer // acknowledges after ackDelay, or nil
}

// kept is a data packet that the server has not acknowledged.
type kept struct {
	packet []byte
	id     uint64 // id of the request; 0 for a notify
}

func newSession(c *Client, conn *connection, token string) *session {
	return &session{
		calls:   newCalls(c.inbox),
		resumes: token != "",
		limit:   c.opts.resumeBuffer,
		conn:    conn,
		last:    conn,
		token:   token,
	}
}

// encoder returns the latest connection, which encodes messages.
func (s *session) encoder() *connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// put passes the packet of m to the connection, or keeps it until there is one. If the
// connection's outbox is full, put returns two channels instead. room is closed when
// there is room, and broken when the connection has ended.
func (s *session) put(m *Message, o Offline) (room, broken <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn := s.conn
	switch {
	case s.err != nil:
		return nil, nil, s.err
	case conn == nil:
		return nil, nil, s.wait(m, o)
	}
	var packet []byte
	room, err = conn.out.put(false, func(b []byte) ([]byte, error) {
		longer, err := conn.appendMessage(b, m)
		if s.resumes {
			packet = bytes.Clone(longer[len(b):])
		}
		return longer, err
	})
	if room != nil || err != nil {
		return room, conn.broken, err
	}
	s.sent++
	if s.resumes {
		s.keep(packet, m.ID)
		// A resume that needs a discarded packet starts a new session.
		for s.keptBytes > s.limit {
			s.release(s.base + 1)
		}
	}
	return nil, nil, nil
}

// wait keeps the packet of m until there is a connection. The caller holds mu.
func (s *session) wait(m *Message, o Offline) error {
	if !s.resumes || o == OfflineFail {
		return disconnected(s.lost)
	}
	packet, err := s.last.appendMessage(nil, m)
	if err != nil {
		return err
	}
	if s.keptBytes+len(packet) > s.limit {
		return fmt.Errorf("%w: %d bytes wait, and %d may", ErrBufferFull, s.keptBytes, s.limit)
	}
	s.keep(packet, m.ID)
	return nil
}

// keep keeps a packet until the server acknowledges it. The caller holds mu.
func (s *session) keep(packet []byte, id uint64) {
	s.kept = append(s.kept, kept{packet, id})
	s.keptBytes += len(packet)
}

// release discards the packets up to number n. The caller holds mu.
func (s *session) release(n uint64) {
	for ; s.base < n; s.base++ {
		s.keptBytes -= len(s.kept[0].packet)
		s.kept[0] = kept{}
		s.kept = s.kept[1:]
	}
}

// withdraw removes the packet of a request that was not passed to a connection yet.
func (s *session) withdraw(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.kept) - 1; i >= 0 && s.base+uint64(i) >= s.sent; i-- {
		if s.kept[i].id == id {
			s.keptBytes -= len(s.kept[i].packet)
			s.kept = append(s.kept[:i], s.kept[i+1:]...)
			return
		}
	}
}

// ask returns the resume part of a handshake.
func (s *session) ask() *resumeAsk {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || !s.resumes {
		return &resumeAsk{}
	}
	s.acked, s.unacked = s.received, 0
	return &resumeAsk{Token: s.token, Received: &s.acked}
}

// resume makes conn the connection of the session. n is the number of the client's data
// packets that the server has received. The later packets are sent after the ack.
func (s *session) resume(conn *connection, token string, n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.err
	case n > s.sent:
		return fmt.Errorf("%w: the server has received %d of %d messages", ErrProtocol, n, s.sent)
	case n < s.base:
		return fmt.Errorf("%w: %d messages are missing", ErrResumeOverflow, s.base-n)
	}
	if err := conn.reason(); err != nil {
		return err // the connection ended meanwhile, and detach was called too early
	}
	s.release(n)
	_, err := conn.out.put(true, func(b []byte) ([]byte, error) {
		b, err := codec.Append(b, packet.Ack, nil)
		for _, k := range s.kept {
			b = append(b, k.packet...)
		}
		return b, err
	})
	if err != nil {
		return err
	}
	s.sent = s.base + uint64(len(s.kept))
	s.conn, s.last, s.token, s.lost = conn, conn, token, nil
	return nil
}

// accepted counts a data packet of the server. Its size is in bytes.
func (s *session) accepted(size int) {
	if !s.resumes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.received == s.acked {
		s.since = time.Now()
	}
	s.received++
	s.unacked += size
}

// acknowledge acknowledges received packets now, or within ackDelay. The reader calls it
// after it has handled the bytes of a read.
func (s *session) acknowledge(conn *connection) {
	if !s.resumes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.received == s.acked:
	case s.received-s.acked >= ackPackets, s.unacked >= ackBytes, time.Since(s.since) >= ackDelay:
		s.sendAck(conn)
	case s.timer == nil:
		s.timer = time.AfterFunc(ackDelay, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.timer = nil
			s.sendAck(conn)
		})
	}
}

// sendAck acknowledges the received packets. The caller holds mu.
func (s *session) sendAck(conn *connection) {
	s.stopTimer()
	if s.conn != conn || s.received == s.acked {
		return
	}
	s.acked, s.unacked = s.received, 0
	_ = conn.control(packet.Heartbeat, binary.AppendUvarint(nil, s.received)) // a finished outbox needs no acknowledgment
}

// stopTimer stops the acknowledgment timer. The caller holds mu.
func (s *session) stopTimer() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// heartbeat handles the body of a heartbeat: the number of data packets that the server
// has received.
func (s *session) heartbeat(body []byte) error {
	n, size := binary.Uvarint(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if size != len(body) || size > 1 && body[size-1] == 0 || n > s.sent {
		return fmt.Errorf("%w: a heartbeat acknowledges %x, and %d messages were sent", ErrProtocol, body, s.sent)
	}
	s.release(n)
	return nil
}

// detach records that conn has ended. The session also ends unless it can be resumed.
func (s *session) detach(conn *connection, err error) {
	s.mu.Lock()
	if s.conn == conn {
		s.conn, s.lost = nil, err
		s.stopTimer()
	}
	s.mu.Unlock()
	if !s.resumes || endsSession(err) {
		s.end(disconnected(err))
	}
}

// end ends the session, and fails its requests with err. It returns the number of
// messages that the server may not have received. Only the first call has an effect.
func (s *session) end(err error) (unconfirmed int) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return 0
	}
	s.err = err
	unconfirmed = len(s.kept)
	s.kept, s.keptBytes = nil, 0
	s.stopTimer()
	s.mu.Unlock()
	s.calls.fail(err)
	return unconfirmed
}

// ended reports whether the session has ended.
func (s *session) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}

// unsent reports whether there are messages that were not passed to a connection.
func (s *session) unsent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err == nil && s.base+uint64(len(s.kept)) > s.sent
}

// endsSession reports whether a session with resume ends if its connection ends with err.
func endsSession(err error) bool {
	_, kicked := errors.AsType[*KickError](err)
	return kicked || errors.Is(err, ErrClosed) || errors.Is(err, ErrProtocol) || errors.Is(err, ErrResumeOverflow)
}

// send sends m, or keeps it until there is a connection. It waits for room until ctx
// ends. If ctx has no deadline, the request timeout applies.
func (c *Client) send(ctx context.Context, s *session, m *Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o := c.offline(ctx)
	room, broken, err := s.put(m, o)
	if room == nil {
		return err
	}
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	for room != nil {
		select {
		case <-room:
		case <-broken:
		case <-ctx.Done():
			return fmt.Errorf("the send buffer is full: %w", ctx.Err())
		case <-c.ctx.Done():
			return ErrClosed
		}
		room, broken, err = s.put(m, o)
	}
	return err
}
