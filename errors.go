package nano

import (
	"errors"

	"github.com/lonng/nano/internal/message"
)

// What the methods of a Group return.
var (
	// ErrCloseClosedGroup tells of a group that was closed before.
	ErrCloseClosedGroup = errors.New("nano: close of a closed group")
	// ErrClosedGroup tells of a group that is closed.
	ErrClosedGroup = errors.New("nano: the group is closed")
	// ErrMemberNotFound tells of a member that the group does not have.
	ErrMemberNotFound = errors.New("nano: no such member in the group")
	// ErrSessionDuplication tells of a session that is a member already.
	ErrSessionDuplication = errors.New("nano: the session is in the group already")
)

// What a Server returns.
var (
	// ErrServerClosed tells of a server that was shut down: it does not start again, a new one does.
	ErrServerClosed = errors.New("nano: the server is shut down")
	// ErrRunning tells of a Listen while another one runs.
	ErrRunning = errors.New("nano: Listen runs already: make further servers with New")
	// ErrUserNotFound tells of a uid that no open session bears.
	ErrUserNotFound = errors.New("nano: no session of this user")
)

// Error is an error whose text is meant for the client: a handler that returns one answers the request with it. Of
// any other error a client learns no more than NANO-500 "internal error".
type Error = message.Error

// The codes of errors that the library itself answers with. Programs are free to use others.
const (
	CodeBadRequest  = message.CodeBadRequest  // NANO-400: the payload does not decode
	CodeNotFound    = message.CodeNotFound    // NANO-404: nobody serves the route
	CodeLimit       = message.CodeLimit       // NANO-429: a limit was passed
	CodeInternal    = message.CodeInternal    // NANO-500: the handler failed or panicked
	CodeUnavailable = message.CodeUnavailable // NANO-503: the server shuts down, or a node is down
	CodeDeadline    = message.CodeDeadline    // NANO-504: the deadline of a call has passed
)

// Errorf makes an Error with a code, one of the above or the program's own, and a formatted text.
func Errorf(code, format string, args ...any) *Error { return message.Errorf(code, format, args...) }
