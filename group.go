package nano

import (
	"sync"

	"github.com/lonng/nano/internal/agent"
	"github.com/lonng/nano/internal/relay"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/session"
)

// SessionFilter reports whether to pick a session.
type SessionFilter func(*session.Session) bool

// Group is a set of sessions that get messages together, such as the players in a room.
// Its members are open: a session leaves the group when it begins to close, before its
// close callbacks run. The methods may be called concurrently.
type Group struct {
	name string

	mu      sync.RWMutex
	members []*session.Session // in a slice, for broadcasts; mu guards it and the fields below
	index   map[int64]int      // of members, by session id
	closed  bool
}

// NewGroup makes an empty group. The name is for the program's own use, and groups may
// share one.
func NewGroup(name string) *Group {
	return &Group{name: name, index: make(map[int64]int)}
}

// Name returns the name that the group was made with.
func (g *Group) Name() string { return g.name }

// Member returns a member with the uid, or [ErrMemberNotFound]. If the user has several
// sessions in the group, it returns any one of them.
func (g *Group) Member(uid int64) (*session.Session, error) {
	return g.FindMember(func(s *session.Session) bool { return s.UID() == uid })
}

// FindMember returns a member that the filter picks, or [ErrMemberNotFound]. The filter
// runs without the group's lock, so it may use the group.
func (g *Group) FindMember(filter func(s *session.Session) bool) (*session.Session, error) {
	snapshot := g.snapshot()
	defer snapshot.free()
	for _, s := range snapshot.list {
		if filter(s) {
			return s, nil
		}
	}
	return nil, ErrMemberNotFound
}

// Members returns the uids of all members, in no particular order. A user with two
// sessions in the group is in the result twice. For an empty group the result is empty,
// not nil, so its JSON is [].
func (g *Group) Members() []int64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	uids := make([]int64, len(g.members))
	for i, s := range g.members {
		uids[i] = s.UID()
	}
	return uids
}

// Count returns the number of members.
func (g *Group) Count() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.members)
}

// Contains reports whether the group has a member with the uid.
func (g *Group) Contains(uid int64) bool {
	_, err := g.Member(uid)
	return err == nil
}

// Add makes s a member. It returns [ErrSessionDuplication] if s is a member, and
// [ErrClosedGroup] if the group is closed. It returns [session.ErrBrokenPipe] if the
// session is closed, and [session.ErrNotReady] before the client has completed its
// handshake.
func (g *Group) Add(s *session.Session) error {
	if h, ok := s.NetworkEntity().(shaker); ok && !h.Shaken() {
		return session.ErrNotReady
	}
	if err := g.put(s); err != nil {
		return err
	}
	if k, ok := s.NetworkEntity().(sessionctl.Keeper); ok && !k.Control().WatchEnd(g, func() { g.remove(s) }) {
		g.remove(s)
		return session.ErrBrokenPipe
	}
	return nil
}

// shaker is a network entity that knows whether its client has completed the handshake.
type shaker interface {
	Shaken() bool
}

var _ shaker = (*agent.Agent)(nil)

// put appends s to the members.
func (g *Group) put(s *session.Session) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosedGroup
	}
	if _, ok := g.index[s.ID()]; ok {
		return ErrSessionDuplication
	}
	g.index[s.ID()] = len(g.members)
	g.members = append(g.members, s)
	return nil
}

// Leave removes s from the group, and does nothing if s is not a member. It returns
// [ErrClosedGroup] if the group is closed.
func (g *Group) Leave(s *session.Session) error {
	g.mu.RLock()
	closed := g.closed
	g.mu.RUnlock()
	if closed {
		return ErrClosedGroup
	}
	unwatch(g, s) // before remove, after which another goroutine may add s again
	g.remove(s)
	return nil
}

func unwatch(g *Group, s *session.Session) {
	if k, ok := s.NetworkEntity().(sessionctl.Keeper); ok {
		k.Control().Unwatch(g)
	}
}

func (g *Group) remove(s *session.Session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i, ok := g.index[s.ID()]
	if !ok {
		return
	}
	last := len(g.members) - 1
	g.members[i] = g.members[last]
	g.index[g.members[i].ID()] = i
	g.members[last] = nil
	g.members = g.members[:last]
	delete(g.index, s.ID())
}

// LeaveAll removes all members. It returns [ErrClosedGroup] if the group is closed.
func (g *Group) LeaveAll() error {
	members := g.snapshot()
	defer members.free()
	for _, s := range members.list {
		unwatch(g, s) // before clear, as in Leave
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosedGroup
	}
	g.clear()
	return nil
}

// clear removes and returns all members. The caller holds mu.
func (g *Group) clear() []*session.Session {
	members := g.members
	g.members, g.index = nil, make(map[int64]int)
	return members
}

// Close removes all members and closes the group, whose other methods then return
// [ErrClosedGroup]. It returns [ErrCloseClosedGroup] if the group is closed already.
func (g *Group) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return ErrCloseClosedGroup
	}
	g.closed = true
	members := g.clear()
	g.mu.Unlock()
	for _, s := range members {
		unwatch(g, s)
	}
	return nil
}

// Broadcast pushes v to every member and returns without waiting for the network. v is
// encoded once for all clients of a server. For clients of another node, one message goes
// to that node. If a member cannot be sent to, the others still get the message; the same
// holds for a node whose queue is full, which Stats.Cluster.Unsent counts.
//
// An error means that no member gets the message: [ErrClosedGroup],
// [session.ErrIllegalRoute], or an error of the serializer or the codec, for example
// because the message does not fit a packet.
func (g *Group) Broadcast(route string, v any) error { return g.send(route, v, nil) }

// Multicast is [Group.Broadcast] to the members that the filter picks. The filter runs
// without the group's lock.
func (g *Group) Multicast(route string, v any, filter SessionFilter) error {
	return g.send(route, v, filter)
}

func (g *Group) send(route string, v any, filter SessionFilter) error {
	g.mu.RLock()
	closed := g.closed
	g.mu.RUnlock()
	if closed {
		return ErrClosedGroup
	}
	if err := session.CheckRoute(route); err != nil {
		return err
	}
	snapshot := g.snapshot()
	defer snapshot.free()
	for _, s := range snapshot.list {
		if filter != nil && !filter(s) {
			continue
		}
		switch e := s.NetworkEntity().(type) {
		case sharedPusher:
			if err := e.PushShared(&snapshot.sender, route, v); err != nil {
				return err
			}
		default:
			if !snapshot.others.Add(e) {
				_ = s.Push(route, v)
			}
		}
	}
	return snapshot.others.Send(route, v)
}

// sharedPusher is a network entity that encodes a push once for all members that have the
// same server.
type sharedPusher interface {
	// PushShared pushes v. An error means that v cannot be encoded, not that this client
	// cannot be sent to.
	PushShared(s *agent.Sender, route string, v any) error
}

var _ sharedPusher = (*agent.Agent)(nil)

// snapshot holds the members at one moment, and the state of a send to them.
type snapshot struct {
	list   []*session.Session
	sender agent.Sender    // encodes for clients of this process
	others relay.Multicast // gathers clients of other nodes
}

var snapshots = sync.Pool{New: func() any { return &snapshot{} }}

func (g *Group) snapshot() *snapshot {
	p := snapshots.Get().(*snapshot)
	g.mu.RLock()
	defer g.mu.RUnlock()
	p.list = append(p.list[:0], g.members...)
	return p
}

func (p *snapshot) free() {
	clear(p.list)
	p.sender, p.others = agent.Sender{}, relay.Multicast{}
	snapshots.Put(p)
}
