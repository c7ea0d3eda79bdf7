package session

import (
	"errors"
	"slices"

	"github.com/lonng/nano/internal/sessionctl"
)

// OnSuspend registers a callback for the moment when the session loses its connection and
// waits for the client to reconnect; see nano.WithResume. The reason is [ErrClientClosed]
// or [ErrHeartbeat]. Callbacks run on the logic goroutine, in the order of registration
// and in order with the session's messages. They run at every suspension, and not for a
// session that cannot be resumed.
func (s *Session) OnSuspend(f func(s *Session, reason error)) {
	e := &s.end
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.lazy()
	m.suspend = append(m.suspend, func(reason error) { f(s, reason) })
}

// OnResume registers a callback for the moment when the client has resumed a suspended
// session. It runs like those of [Session.OnSuspend], before the handlers of what the
// client sends then.
func (s *Session) OnResume(f func(s *Session)) {
	e := &s.end
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.lazy()
	m.resume = append(m.resume, func() { f(s) })
}

// Suspended reports whether the session has lost its connection and waits for the client
// to reconnect. Such a session is open: it keeps its user, data, groups and the messages
// that are sent to it.
func (s *Session) Suspended() bool {
	e, ok := s.entity.(sessionctl.Suspender)
	return ok && e.Suspended()
}

func (c *control) Suspend(reason error) {
	var list []func()
	for _, f := range callbacks(&c.end, func(m *listeners) []func(error) { return m.suspend }) {
		list = append(list, func() { f(reason) })
	}
	runAll(list)
}

func (c *control) Resume() {
	runAll(callbacks(&c.end, func(m *listeners) []func() { return m.resume }))
}

// callbacks returns some of the callbacks that were registered.
func callbacks[F any](e *ending, pick func(*listeners) []F) []F {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.more == nil {
		return nil
	}
	list := pick(e.more)
	return slices.Clip(list) // only appended to
}

// runAll runs callbacks, and panics if one did when all have run.
func runAll(list []func()) {
	var panics []error
	for _, f := range list {
		guard(&panics, f)
	}
	if len(panics) > 0 {
		panic(errors.Join(panics...))
	}
}
