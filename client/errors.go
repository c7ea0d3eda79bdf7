package client

import (
	"errors"
	"fmt"

	"github.com/lonng/nano/internal/message"
)

var (
	// ErrClosed tells that the client has ended. It comes with the reason where that was not Close.
	ErrClosed = errors.New("client: closed")
	// ErrDisconnected tells, with WithReconnect, that there is no connection at the moment, and always, that it was
	// lost while an answer was awaited; it then comes with the reason.
	ErrDisconnected = errors.New("client: disconnected")
	// ErrHeartbeat tells of a server that was silent for two and a half heartbeat intervals.
	ErrHeartbeat = errors.New("client: no heartbeat from the server")
	// ErrProtocol tells of bytes from the server that are not of the protocol, or of a packet over the limit of
	// WithPacketLimit.
	ErrProtocol = errors.New("client: protocol error")
	// ErrSlowHandlers tells of handlers that left more waiting than WithPushBuffer allows.
	ErrSlowHandlers = errors.New("client: handlers are too slow, and the push buffer is full")
	// ErrNoSerializer tells of a server that speaks neither JSON nor protobuf, and of a client without WithSerializer.
	// Payloads of []byte pass.
	ErrNoSerializer = errors.New("client: no serializer")
)

// Error is what a server answers instead of a reply: Code, one of the codes below or one of the program's own; Message,
// a text for people; and Metadata, if any. errors.Is(err, &client.Error{Code: code}) asks for a code.
type Error = message.Error

// The codes of errors that servers of this library answer with by themselves.
const (
	CodeBadRequest  = message.CodeBadRequest  // the payload does not decode, or the message is malformed
	CodeNotFound    = message.CodeNotFound    // no handler is registered for the route
	CodeLimit       = message.CodeLimit       // a limit was passed
	CodeInternal    = message.CodeInternal    // the handler failed or panicked
	CodeUnavailable = message.CodeUnavailable // the server is draining, or the node that serves the route is down
	CodeDeadline    = message.CodeDeadline    // the deadline of a call between nodes has passed
)

// KickShutdown is the reason of the kick that servers of this library send to everybody when they shut down.
const KickShutdown = "server shutdown"

// KickError tells that the server kicked the client.
type KickError struct {
	Reason string // as the server gave it; may be empty
}

// Error returns the reason.
func (e *KickError) Error() string {
	if e.Reason == "" {
		return "client: kicked by the server"
	}
	return "client: kicked by the server: " + e.Reason
}

// HandshakeError tells that the server refused the handshake.
type HandshakeError struct {
	Code    int    // as the server gave it: 500 or 501 as a rule
	Message string // the same; may be empty
}

// Error returns the code and the message.
func (e *HandshakeError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("client: the server refused the handshake with code %d", e.Code)
	}
	return fmt.Sprintf("client: the server refused the handshake with code %d: %s", e.Code, e.Message)
}

// errUnsent is what Close returns when it gave up on the queue.
var errUnsent = errors.New("client: queued messages could not be sent before the connection was closed")

// lost is the reason of a connection that could not be read or written any more.
func lost(err error) error {
	if errors.Is(err, ErrProtocol) {
		return err
	}
	return fmt.Errorf("client: connection lost: %w", err)
}

// closed is the error of a call to a client that ended for a reason.
func closed(reason error) error {
	if errors.Is(reason, ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, reason)
}

// disconnected is the error of a call whose connection ended for a reason.
func disconnected(reason error) error {
	if errors.Is(reason, ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrDisconnected, reason)
}

// failed adds what was tried to err. An error response stays as it is.
func failed(what, route string, err error) error {
	var response *Error
	if err == nil || errors.As(err, &response) {
		return err
	}
	return fmt.Errorf("client: %s %s: %w", what, route, err)
}
