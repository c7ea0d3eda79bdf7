package dispatch

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/lonng/nano/internal/message"
)

var (
	errDraining = message.Errorf(message.CodeUnavailable, "the server is shutting down")
	errFlags    = message.Errorf(message.CodeBadRequest, "the message has flags, or a route, that this server does not take")
	errLate     = message.Errorf(message.CodeDeadline, "the deadline has passed, or nobody waits any more")
	errHook     = message.Errorf(message.CodeInternal, "internal error")
)

// ErrFull tells of a message for which a mailbox had no room.
var ErrFull error = message.Errorf(message.CodeLimit, "too many messages of the session wait")

// errLogged stands for a panic, or the like, that was logged.
var errLogged = errors.New("internal error")

// quoted is how many bytes of a route that is not known an error tells: a client may have sent anything.
const quoted = 64

func notFound(route string, known bool) error {
	if !known {
		return message.Errorf(message.CodeNotFound, "route code %s is not in the dictionary", route)
	}
	if len(route) > quoted {
		route = route[:quoted] + "..."
	}
	return message.Errorf(message.CodeNotFound, "route %q is not served here", route)
}

func (d *Dispatcher) panicked(what, route string, p any) {
	d.Counts.Panics.Add(1)
	d.Log.Error("nano: panic", "in", what, "route", route, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// Public returns the error as a client may see it: an *Error as it is, anything else as NANO-500.
func (d *Dispatcher) Public(err error) *message.Error {
	if e, ok := errorAs(err); ok {
		return e
	}
	if d.Debug {
		return message.Errorf(message.CodeInternal, "%v", err)
	}
	return message.Errorf(message.CodeInternal, "internal error")
}

// errorAs returns err as the *Error that it is or wraps. A nil *Error in an error is none: it has nothing to tell.
func errorAs(err error) (*message.Error, bool) {
	e, ok := err.(*message.Error)
	if !ok {
		ok = errors.As(err, &e)
	}
	return e, ok && e != nil
}
