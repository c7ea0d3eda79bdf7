package dispatch

import (
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// PublicDeferred counts and logs the error of a deferred answer as if the handler had returned it. It returns the error
// that the client may see.
func (d *Dispatcher) PublicDeferred(s *session.Session, err error) *message.Error {
	d.Counts.Failed.Add(1)
	if unexpected(err) {
		d.Log.Error("nano: deferred answer failed", "session", s.ID(), "uid", s.UID(), "error", loggable(err))
	}
	return d.Public(err)
}
