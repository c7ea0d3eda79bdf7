package client

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/lonng/nano/internal/message"
)

var (
	// ErrClosed is returned when the client has ended. If it was not ended by Close, the
	// reason is joined to it.
	ErrClosed = errors.New("client: closed")
	// ErrDisconnected is returned when the connection was lost before the answer arrived.
	// The cause is joined to it. With WithReconnect it is also returned while there is no
	// connection. With WithResume, an answer may arrive over a later connection, and a
	// *SessionError is joined to the error when the session has ended.
	ErrDisconnected = errors.New("client: disconnected")
	// ErrHeartbeat ends a connection after the server was silent for two and a half
	// heartbeat intervals.
	ErrHeartbeat = errors.New("client: no heartbeat from the server")
	// ErrProtocol ends a connection when the server has sent bytes that violate the
	// protocol, or a packet over the limit of WithPacketLimit.
	ErrProtocol = errors.New("client: protocol error")
	// ErrWrongTransport is returned by Dial when the server seems to expect another scheme in
	// the address: WebSocket in place of TCP, TCP in place of WebSocket, or TLS.
	ErrWrongTransport = errors.New("client: the server uses another transport")
	// ErrTooLarge is returned for a message whose packet exceeds the server's limit or
	// the limit of the protocol, 16 MiB less one byte. The server's limit is
	// sys.maxPacket of the handshake, which older servers do not send. The message is not
	// sent.
	ErrTooLarge = errors.New("client: message too large")
	// ErrSlowHandlers ends a connection when more pushes wait for their handlers than
	// WithPushBuffer allows.
	ErrSlowHandlers = errors.New("client: handlers are too slow, and the push buffer is full")
	// ErrBufferFull is returned for a message that is sent without a connection if the
	// buffer of WithResumeBuffer is full.
	ErrBufferFull = errors.New("client: too many messages wait for a connection")
	// ErrResumeOverflow ends a session that the server could resume, if the server lacks
	// messages that the client no longer keeps. See WithResumeBuffer.
	ErrResumeOverflow = errors.New("client: the server lacks messages that are not kept any more")
	// ErrRoute is returned for a message whose route is empty, or is longer than 255 bytes and
	// not in the server's dictionary.
	ErrRoute = errors.New("client: route is empty or too long")
	// ErrPayload is returned for an answer whose payload does not decode. If an error response
	// does not decode, it is joined with an [*Error] that has the code CodeInternal.
	ErrPayload = errors.New("client: payload does not decode")
	// ErrNoSerializer is returned if the server uses neither JSON nor protobuf, and the client
	// has no WithSerializer. Payloads of []byte need none.
	ErrNoSerializer = errors.New("client: no serializer")
)

// Error is an error response. Code is one of the codes below or one of the program's own,
// Message is a text for people, and Metadata may be nil. Use
// errors.Is(err, &client.Error{Code: code}) to test for a code.
type Error = message.Error

// The codes of error responses that servers of this library send.
const (
	CodeBadRequest  = message.CodeBadRequest  // the payload does not decode, or the message is malformed
	CodeNotFound    = message.CodeNotFound    // no handler is registered for the route
	CodeLimit       = message.CodeLimit       // a limit was passed
	CodeInternal    = message.CodeInternal    // the handler failed or panicked
	CodeUnavailable = message.CodeUnavailable // the server is draining, or the node that serves the route is down
	CodeDeadline    = message.CodeDeadline    // the deadline of a call between nodes has passed
)

const (
	// KickShutdown is the reason of the kick that a server sends to every client when it shuts
	// down. Use [KickError.Shutdown] to recognize it.
	KickShutdown = "server shutdown"
	// KickCodeShutdown is the code of that kick.
	KickCodeShutdown = "shutdown"
)

// KickError ends a connection when the server has kicked the client.
type KickError struct {
	Reason string // a readable text; may be empty
	Code   string // the reason for programs: "shutdown" or another code; empty with older servers
	Body   string // the body of the kick packet, unchanged
}

// Error returns the reason.
func (e *KickError) Error() string {
	if e.Reason == "" {
		return "client: kicked by the server"
	}
	return "client: kicked by the server: " + e.Reason
}

// Shutdown reports whether the server kicked the client because it is shutting down. It
// checks the code, or the reason if there is no code.
func (e *KickError) Shutdown() bool {
	return e.Code == KickCodeShutdown || e.Code == "" && e.Reason == KickShutdown
}

// kickTexts maps the kick texts of older servers, which send no code, to reasons.
var kickTexts = map[string]Reason{
	KickShutdown:          ReasonShutdown,
	"logged in elsewhere": ReasonReplaced,
	"rate limit":          ReasonLimit,
}

// reason returns the code of the kick. If there is none, it derives the code from the
// text.
func (e *KickError) reason() Reason {
	if e.Code != "" {
		return Reason(e.Code)
	}
	return cmp.Or(kickTexts[e.Reason], ReasonKicked)
}

// final reports whether the client must not reconnect after the kick.
func (e *KickError) final() bool {
	switch e.reason() {
	case ReasonKicked, ReasonReplaced, ReasonLimit:
		return true
	}
	return false
}

// SessionError is joined with [ErrDisconnected] in the error of a request whose session
// could not be resumed. The server may or may not have executed the request.
type SessionError struct {
	Reason Reason     // ReasonUnknown, ReasonExpired, ReasonOverflow or ReasonEnded
	Kick   *KickError // the kick that ended the session while the client was disconnected, or nil
}

// Error returns the reason.
func (e *SessionError) Error() string {
	return "client: the session did not go on: " + string(e.Reason)
}

// Unwrap returns the kick, if there is one.
func (e *SessionError) Unwrap() error {
	if e.Kick == nil {
		return nil
	}
	return e.Kick
}

// CloseError ends a connection when the server has closed the WebSocket with an error
// code. The codes 1000 and 1001, and no code, are not errors.
type CloseError struct {
	Code   int    // the code of the close frame
	Reason string // may be empty
}

// Error returns the code and the reason.
func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("WebSocket closed with code %d", e.Code)
	}
	return fmt.Sprintf("WebSocket closed with code %d: %s", e.Code, e.Reason)
}

// HandshakeError is returned when the server has refused the handshake.
type HandshakeError struct {
	Code    int    // not 200: 500, or 501 for a client that is too old
	Message string // a readable text; may be empty
}

// Error returns the code and the message.
func (e *HandshakeError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("client: the server refused the handshake with code %d", e.Code)
	}
	return fmt.Sprintf("client: the server refused the handshake with code %d: %s", e.Code, e.Message)
}

// errUnsent is returned by Close if the queue could not be sent in time.
var errUnsent = errors.New("client: queued messages could not be sent before the connection was closed")

// closed returns the error of a call to a client that ended with a reason.
func closed(reason error) error {
	if errors.Is(reason, ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, reason)
}

// disconnected returns the error of a call whose connection ended with a reason.
func disconnected(reason error) error {
	if errors.Is(reason, ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrDisconnected, reason)
}

// failed adds the operation and the route to err. It returns an error response unchanged.
func failed(what, route string, err error) error {
	var response *Error
	if err == nil || errors.As(err, &response) {
		return err
	}
	return fmt.Errorf("client: %s %s: %w", what, route, err)
}
