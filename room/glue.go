package room

import (
	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

// These interfaces are the optional parts of a session and its entity that a room uses.
// Entities of unit tests and of other nodes may not implement them.

// queuer is an entity that reports the number of bytes queued for its client.
type queuer interface{ Queued() int }

// statePusher is an entity that can push a message which is not kept for a resume. A
// client that misses the message gets an empty push of the route instead.
type statePusher interface {
	PushReplaceable(route string, data []byte) error
}

// suspender is a session that can outlive its connection.
type suspender interface {
	OnSuspend(func(s *session.Session, reason error))
	OnResume(func(*session.Session))
}

// willed is the session of another node's client. Its gate pushes the will if this node goes down.
type willed interface {
	SetWill(route string, data []byte)
}

// setWill sets the push that the client of s gets if this node goes down before the
// session ends. The route "" removes it.
func setWill(s *session.Session, route string, data []byte) {
	if w, ok := s.NetworkEntity().(willed); ok {
		w.SetWill(route, data)
	}
}

// queued returns the number of bytes queued for the client of s, 0 if it is unknown.
func queued(s *session.Session) int {
	if q, ok := s.NetworkEntity().(queuer); ok {
		return q.Queued()
	}
	return 0
}

// pushState pushes a state message.
func pushState(s *session.Session, data []byte) error {
	if p, ok := s.NetworkEntity().(statePusher); ok {
		return p.PushReplaceable(routeState, data)
	}
	return s.Push(routeState, data)
}

// onSuspend registers drop for when s is suspended and back for when it is resumed, if
// sessions can be resumed.
func onSuspend(s *session.Session, drop, back func()) {
	if v, ok := any(s).(suspender); ok {
		v.OnSuspend(func(*session.Session, error) { drop() })
		v.OnResume(func(*session.Session) { back() })
	}
}

// onScheduler reports whether the caller runs on s.
func onScheduler(s *scheduler.Scheduler) bool {
	l, ok := runloop.Of(s)
	return ok && l.Running()
}

// ended reports whether s has closed.
func ended(s *scheduler.Scheduler) bool {
	l, ok := runloop.Of(s)
	return ok && l.Closed()
}
