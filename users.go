package nano

import (
	"cmp"
	"slices"

	"github.com/lonng/nano/internal/agent"
	"github.com/lonng/nano/session"
)

// Session returns the open session with an id. It may belong to a client of another node,
// if that session has been used on this node. A session is open from the end of its
// handshake until it begins to close.
func (s *Server) Session(id int64) (*session.Session, bool) {
	if s.hub == nil {
		return nil, false
	}
	if u, ok := s.hub.Session(id); ok {
		return u, true
	}
	return s.broker.Session(id)
}

// SessionsByUID returns the open sessions of a user, in the order in which they
// connected. They include sessions of other nodes' clients that have been used on this
// node.
func (s *Server) SessionsByUID(uid int64) []*session.Session {
	if s.hub == nil {
		return nil
	}
	sessions := s.hub.ByUID(uid)
	if others := s.broker.SessionsByUID(uid); len(others) > 0 {
		sessions = append(sessions, others...)
		slices.SortFunc(sessions, func(a, b *session.Session) int { return cmp.Compare(a.ID(), b.ID()) })
	}
	return sessions
}

// Push sends v to every open session of a user, as [session.Session.Push] does, on all
// nodes of the cluster. It returns [ErrUserNotFound] if the user has none, or else the
// first error of a session or node.
func (s *Server) Push(uid int64, route string, v any) error {
	if err := session.CheckRoute(route); err != nil {
		return err
	}
	return s.each(uid, func(u *session.Session) error { return u.Push(route, v) },
		func() (int, error) { return s.broker.Push(uid, route, v) })
}

// Kick kicks every open session of a user, as [session.Session.Kick] does, on all nodes
// of the cluster. It returns [ErrUserNotFound] if the user has none.
func (s *Server) Kick(uid int64, reason string) error {
	return s.each(uid, func(u *session.Session) error { return u.Kick(reason) },
		func() (int, error) { return s.broker.Kick(uid, reason) })
}

// each calls f for every session of a user on this node, and others for the other nodes.
// others returns the number of nodes that have sessions of the user.
func (s *Server) each(uid int64, f func(*session.Session) error, others func() (int, error)) error {
	if s.hub == nil {
		return ErrUserNotFound
	}
	sessions := s.hub.ByUID(uid)
	var first error
	for _, u := range sessions {
		if err := f(u); err != nil && first == nil {
			first = err
		}
	}
	nodes, err := others()
	if len(sessions) == 0 && nodes == 0 {
		return ErrUserNotFound
	}
	return cmp.Or(first, err)
}

// kicker is a network entity that kicks its client for a given reason.
type kicker interface {
	KickFor(why error, reason string) error
}

var _ kicker = (*agent.Agent)(nil)

// replace closes the sessions of a uid that a later session has bound.
func (s *Server) replace(_ *session.Session, others []*session.Session) {
	for _, other := range others {
		if k, ok := other.NetworkEntity().(kicker); ok {
			_ = k.KickFor(session.ErrReplaced, "logged in elsewhere")
		}
	}
}
