package nano

import "github.com/lonng/nano/session"

// Push is a push with a route and a payload of type *T. Declare it with [PushRoute].
type Push[T any] struct{ route string }

// PushRoute declares a push, once for each route, as a package variable next to the code that sends it:
//
//	var OnMessage = nano.PushRoute[Message]("onMessage")
//
// The compiler then checks the payload of every push with the route, and the nano command finds the declaration and
// generates typed clients from it. PushRoute registers nothing, so a route may be declared more than once.
func PushRoute[T any](route string) Push[T] { return Push[T]{route: route} }

// Route returns the route.
func (p Push[T]) Route() string { return p.route }

// Send pushes v to a session. It may be called concurrently. Its errors are those of [session.Session.Push].
func (p Push[T]) Send(s *session.Session, v *T) error { return s.Push(p.route, v) }

// Broadcast pushes v to all members of a group. It may be called concurrently. Its errors are those of [Group.Broadcast].
func (p Push[T]) Broadcast(g *Group, v *T) error { return g.Broadcast(p.route, v) }

// Multicast pushes v to the members of a group that the filter accepts. It may be called concurrently. Its errors are
// those of [Group.Multicast].
func (p Push[T]) Multicast(g *Group, v *T, filter SessionFilter) error {
	return g.Multicast(p.route, v, filter)
}
