package client

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/lonng/nano/internal/packet"
)

// defaultResumeBuffer is the default of WithResumeBuffer in bytes.
const defaultResumeBuffer = 256 << 10

// Offline controls what happens to a message that is sent while there is no connection.
type Offline int

const (
	// OfflineWait keeps the message until the session is resumed, up to the bound of
	// WithResumeBuffer. Without a resumable session the message fails with
	// ErrDisconnected.
	OfflineWait Offline = iota
	// OfflineFail fails the message with ErrDisconnected.
	OfflineFail
)

// WithResume makes a client of [Dial] resume its session when its connection is lost. It
// implies [WithReconnect], by default with waits of 100 ms to 5 s.
//
// If the server has resume too, nothing is lost, repeated or reordered in either direction:
// requests keep waiting for their answers, and messages that are sent without a connection wait for
// it. See [WithOffline] for another choice. If the session cannot be resumed, its requests fail
// with a [*SessionError], and the client has a new session: see [Status].
//
// With a server without resume, the option is WithReconnect alone. The token of a session
// stays in memory; a process that starts again has a new session.
func WithResume() Option {
	return func(o *options) { o.resume = true }
}

// WithResumeBuffer sets how many bytes of messages, packet headers included, a client with
// WithResume keeps until the server acknowledges them. It is 256 KiB by default, and with 0 or
// less. Beyond it, a message that is sent without a connection fails with [ErrBufferFull]; with
// a connection the oldest message is forgotten, and a resume that needs it begins a new session.
func WithResumeBuffer(bytes int) Option {
	return func(o *options) { o.resumeBuffer = positive(bytes, defaultResumeBuffer) }
}

// WithOffline sets what happens to messages that are sent without a connection, if the client
// has WithResume. By default they wait. [ContextWithOffline] decides for one call.
func WithOffline(offline Offline) Option {
	return func(o *options) {
		if offline != OfflineWait && offline != OfflineFail {
			o.fault("WithOffline: want OfflineWait or OfflineFail, got %d", offline)
			return
		}
		o.offline = offline
	}
}

type offlineKey struct{}

// ContextWithOffline returns a context that overrides [WithOffline] for the calls that
// use it.
func ContextWithOffline(ctx context.Context, offline Offline) context.Context {
	return context.WithValue(ctx, offlineKey{}, offline)
}

// offline returns the Offline value for a message that is sent with ctx.
func (c *Client) offline(ctx context.Context) Offline {
	if o, ok := ctx.Value(offlineKey{}).(Offline); ok {
		return o
	}
	return c.opts.offline
}

// resumes reports whether the client asks for resumable sessions.
func (c *Client) resumes() bool { return c.opts.resume && c.dial != nil }

// resumeAsk is the resume part of a handshake.
type resumeAsk struct {
	Token    string  `json:"token,omitempty"`
	Received *uint64 `json:"received,omitempty"`
}

// resumeAnswer is the resume part of the server's answer.
type resumeAnswer struct {
	Token    string          `json:"token"`
	Resumed  bool            `json:"resumed"`
	Received json.RawMessage `json:"received"`
	Reason   Reason          `json:"reason"`
	Kick     json.RawMessage `json:"kick"`
}

// enter makes conn, whose handshake was answered, the current connection and sends the
// ack. The reader of conn calls it before it handles the next packet.
func (c *Client) enter(conn *connection, w *welcome) error {
	var answer resumeAnswer
	if raw := w.Sys.Resume; conn.asked && len(raw) > 0 {
		if err := json.Unmarshal(raw, &answer); err != nil {
			return fmt.Errorf("%w: sys.resume of the handshake response: %w", ErrProtocol, err)
		}
	}
	status := Status{State: Connected, Resumed: answer.Resumed}
	before := c.resumable()
	switch {
	case answer.Resumed:
		n, err := strconv.ParseUint(string(answer.Received), 10, 64)
		if before == nil || answer.Token == "" || err != nil {
			return fmt.Errorf("%w: sys.resume of the handshake response: resumed with %q messages", ErrProtocol, answer.Received)
		}
		conn.session.Store(before)
		if err := before.resume(conn, answer.Token, n); err != nil {
			return err
		}
		c.connected(status)
		return nil
	case before != nil:
		if err := c.endSession(before, &answer, &status); err != nil {
			return err
		}
	}
	if err := c.startSession(conn, answer.Token, w.User); err != nil {
		return err
	}
	c.connected(status)
	return nil
}

// resumable returns the session that the client has asked to resume, or nil.
func (c *Client) resumable() *session {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s == nil || !s.resumes || s.ended() {
		return nil
	}
	return s
}

// endSession ends a session that the server does not resume, and records that in status.
// The error is the missed kick, if the client must not reconnect after it.
func (c *Client) endSession(s *session, answer *resumeAnswer, status *Status) error {
	ended := &SessionError{Reason: answer.Reason}
	if ended.Reason == "" {
		ended.Reason = ReasonUnknown
	}
	if len(answer.Kick) > 0 && string(answer.Kick) != "null" {
		ended.Kick = kicked(answer.Kick)
		if ended.Kick.final() {
			return ended.Kick
		}
		status.Err = ended.Kick
	}
	status.Reason = ended.Reason
	status.Unconfirmed = s.end(disconnected(ended))
	return nil
}

// startSession starts a new session over conn, and sends the ack.
func (c *Client) startSession(conn *connection, token string, user json.RawMessage) error {
	if err := conn.control(packet.Ack, nil); err != nil {
		return err
	}
	s := newSession(c, conn, token)
	conn.session.Store(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil && !c.resumes() {
		s.ids.Store(c.session.ids.Load()) // request ids are unique per client, so that they are unique in a log
	}
	c.session, c.user = s, user
	if err := conn.reason(); err != nil { // the connection ended meanwhile, and fail did not find the session
		s.detach(conn, err)
	}
	return nil
}
