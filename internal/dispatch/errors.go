package dispatch

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/stacktrace"
)

var (
	errDraining = message.Errorf(message.CodeUnavailable, "the server is shutting down")
	errFlags    = message.Errorf(message.CodeBadRequest, "the message has flags, or a route, that this server does not take")
	errLate     = message.Errorf(message.CodeDeadline, "the deadline has passed, or the caller has stopped waiting")
	errHook     = message.Errorf(message.CodeInternal, "internal error")
)

// ErrFull is returned for a message for which a mailbox has no room.
var ErrFull error = message.Errorf(message.CodeLimit, "too many messages of the session wait")

// errLogged stands for a failure that was logged where it happened, such as a panic.
var errLogged = errors.New("internal error")

func notFound(route string, known bool) error {
	if !known {
		return message.Errorf(message.CodeNotFound, "route code %s is not in the dictionary", route)
	}
	if len(route) > maxRouteInLog {
		route = route[:maxRouteInLog] + "..."
	}
	return message.Errorf(message.CodeNotFound, "route %q is not served here", route)
}

// panicked counts and logs a panic. It is called by the deferred function that recovered p.
func (d *Dispatcher) panicked(where string, p any, attrs ...any) {
	d.Counts.Panics.Add(1)
	attrs = append([]any{"in", where, "panic", fmt.Sprint(p), stacktrace.Attr()}, attrs...)
	d.Log.Error("nano: panic", attrs...)
}

// Public returns the error as a client may see it: an *Error as it is, anything else as NANO-500.
func (d *Dispatcher) Public(err error) *message.Error {
	if e, ok := errorAs(err); ok {
		return e
	}
	if d.Debug {
		return message.Errorf(message.CodeInternal, "%v", loggable(err))
	}
	return message.Errorf(message.CodeInternal, "internal error")
}

// errorAs returns err as the *Error that it is or wraps. A nil *Error in an error is none.
func errorAs(err error) (*message.Error, bool) {
	e, ok := err.(*message.Error) //nolint:errorlint // the common case first: errors.As is slower
	if !ok && !isNilPointer(err) {
		ok = errors.As(err, &e)
	}
	return e, ok && e != nil
}

// unexpected reports whether a handler's error is to be logged: it was not meant for the client,
// and it was not logged where it happened.
func unexpected(err error) bool {
	if isNilPointer(err) {
		return true
	}
	_, public := errorAs(err)
	return !public && !errors.Is(err, errLogged)
}

// loggable returns a handler's error as it is logged. A nil pointer of a concrete type in an error
// would print as <nil>; the result says so.
func loggable(err error) any {
	if isNilPointer(err) {
		return fmt.Sprintf("a nil %T was returned as an error: return a plain nil for success", err)
	}
	return err
}

func isNilPointer(err error) bool {
	v := reflect.ValueOf(err)
	return v.Kind() == reflect.Pointer && v.IsNil()
}
