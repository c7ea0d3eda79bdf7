package nano

import (
	"errors"

	"github.com/lonng/nano/internal/agent"
	"github.com/lonng/nano/internal/message"
)

// These errors are returned by the methods of a [Group].
var (
	// ErrCloseClosedGroup is returned when closing a closed group.
	ErrCloseClosedGroup = errors.New("nano: close of a closed group")
	// ErrClosedGroup is returned when using a closed group.
	ErrClosedGroup = errors.New("nano: the group is closed")
	// ErrMemberNotFound is returned if the group has no such member.
	ErrMemberNotFound = errors.New("nano: no such member in the group")
	// ErrSessionDuplication is returned when adding a session that is already a member.
	ErrSessionDuplication = errors.New("nano: the session is in the group already")
)

// These errors are returned by a [Server] and by [Listen].
var (
	// ErrServerClosed is returned when starting or serving a server that was shut down.
	// It cannot start again.
	ErrServerClosed = errors.New("nano: the server is shut down")
	// ErrRunning is returned by Listen while another Listen runs.
	ErrRunning = errors.New("nano: Listen is already running: make further servers with New")
	// ErrUserNotFound is returned if no open session has the uid.
	ErrUserNotFound = errors.New("nano: no session of this user")
)

// ErrOldClient is for functions of [WithHandshakeValidator] and [WithHandshakeData] to
// return, also wrapped. The server then refuses the client with code 501, which clients
// show as "the client version is too old".
var ErrOldClient = agent.ErrOldClient

// Error is an error whose text is meant for the client. If a handler returns one, the
// server answers the request with its code and text. For any other error the client gets
// NANO-500 "internal error" only.
type Error = message.Error

// These are the codes with which the library itself answers. A program may use others.
const (
	CodeBadRequest  = message.CodeBadRequest  // NANO-400: the message or its payload does not decode
	CodeNotFound    = message.CodeNotFound    // NANO-404: no handler serves the route
	CodeLimit       = message.CodeLimit       // NANO-429: the client is over a limit
	CodeInternal    = message.CodeInternal    // NANO-500: the handler failed or panicked
	CodeUnavailable = message.CodeUnavailable // NANO-503: the server shuts down, or a node is down
	CodeDeadline    = message.CodeDeadline    // NANO-504: the deadline of a call has passed
)

// Errorf makes an [Error] with a code, one of the above or the program's own, and a
// formatted text.
func Errorf(code, format string, args ...any) *Error { return message.Errorf(code, format, args...) }
