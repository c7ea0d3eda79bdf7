package room

import (
	"github.com/lonng/nano"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

// What a room needs of the library beyond its public API. Entities that lack an optional interface are those of unit tests.

// queuer is an entity that knows how many bytes wait for its client.
type queuer interface{ Queued() int }

// statePusher is an entity that can push a message that later ones replace: see package sessionctl.
type statePusher interface {
	PushReplaceable(route string, data []byte) error
}

func waiting(s *session.Session) int {
	if q, ok := s.NetworkEntity().(queuer); ok {
		return q.Queued()
	}
	return 0
}

func pushState(s *session.Session, data []byte) error {
	if p, ok := s.NetworkEntity().(statePusher); ok {
		return p.PushReplaceable(routeState, data)
	}
	return s.Push(routeState, data)
}

// follow calls drop when the session is suspended, and back when it is resumed.
func follow(s *session.Session, drop, back func()) {}

// onScheduler reports whether the caller runs on a scheduler's goroutine.
func onScheduler(s *scheduler.Scheduler) bool { return false }

// nodeName returns the name of the server's node in room ids.
func nodeName(*nano.Server) string { return "0" }

// Server is a server that was given a kind by its Option.
type Server = *nano.Server

func nodeFor(srv Server) (*node, error) {
	n, ok := nodes.Load(srv)
	if !ok {
		return nil, ErrNotFound
	}
	return n.(*node), nil
}
