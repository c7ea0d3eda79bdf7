package relay

import (
	"context"
	"errors"
	"fmt"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// ErrLogicGoroutine is returned for a session's call that is made on the logic goroutine, if this node has to serve it
// there: the call would wait for itself.
var ErrLogicGoroutine = errors.New("cluster: the call waits for the logic goroutine, which makes it: call on a goroutine of its own")

// Errors that calls and requests end with. Nodes send them to each other, and clients see them.
var (
	errDown      error = &failure{message.Errorf(message.CodeUnavailable, "the node that serves it is down"), link.ErrDown}
	errQueueFull error = &failure{message.Errorf(message.CodeUnavailable, "the node that serves it is too slow"), link.ErrQueueFull}

	errJobs     = message.Errorf(message.CodeLimit, "too many calls wait at the node")
	errWaiting  = message.Errorf(message.CodeLimit, "too many requests wait for an answer")
	errDraining = message.Errorf(message.CodeUnavailable, "the node is shutting down")
	errUnknown  = message.Errorf(message.CodeUnavailable, "the node does not have the session")
	errClosed   = message.Errorf(message.CodeUnavailable, "the session is closed")
)

var errNoClient = errors.New("cluster: the session has no client of this node")

// errGateDown is the close reason of proxy sessions whose gate is down.
var errGateDown = fmt.Errorf("%w: %w", session.ErrClientClosed, link.ErrDown)

// failure is an error that a client may see, and its cause for errors.Is.
type failure struct {
	public *message.Error
	cause  error
}

func (f *failure) Error() string   { return f.public.Error() }
func (f *failure) Unwrap() []error { return []error{f.public, f.cause} }

// sendError converts an error of a link's Send to the form for programs and clients.
func sendError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, link.ErrDown):
		return errDown
	case errors.Is(err, link.ErrQueueFull):
		return errQueueFull
	}
	return err
}

// mailboxError converts an error of a mailbox to the form for the caller.
func mailboxError(err error) error {
	if errors.Is(err, session.ErrBrokenPipe) {
		return errClosed
	}
	return err
}

// contextError returns the error for the caller of a call whose context has ended.
func contextError(ctx context.Context) error {
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &failure{message.Errorf(message.CodeDeadline, "no answer in time"), context.DeadlineExceeded}
}

func errNotServed(route string) error {
	return message.Errorf(message.CodeNotFound, "no node serves route %q", route)
}

func errNoneUp(service string) error {
	return message.Errorf(message.CodeUnavailable, "no node that serves %s is up", service)
}
