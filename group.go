package nano

import (
	"sync"

	"github.com/lonng/nano/internal/agent"
	"github.com/lonng/nano/internal/relay"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/session"
)

// SessionFilter picks members of a group.
type SessionFilter func(*session.Session) bool

// Group is a set of sessions that are sent to together, such as the players in a room. Its methods may be called
// concurrently. A session that closes is forgotten, once its close callbacks have run.
type Group struct {
	name string

	mu      sync.RWMutex
	members []*session.Session // in a slice, for broadcasts; mu guards it and what follows
	index   map[int64]int      // of members, by session id
	closed  bool
}

// NewGroup makes a group. The name is for the program's own use.
func NewGroup(name string) *Group {
	return &Group{name: name, index: make(map[int64]int)}
}

// Name returns the name that the group was made with.
func (g *Group) Name() string { return g.name }

// Member returns a session of the user with a uid, or ErrMemberNotFound.
func (g *Group) Member(uid int64) (*session.Session, error) {
	return g.FindMember(func(s *session.Session) bool { return s.UID() == uid })
}

// FindMember returns the first session that the filter picks, or ErrMemberNotFound. The filter runs outside the
// group's lock.
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

// Members returns the uids of all members. A uid with two sessions in the group is there twice.
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

// Contains reports whether a session of the user with a uid is a member.
func (g *Group) Contains(uid int64) bool {
	_, err := g.Member(uid)
	return err == nil
}

// Add makes s a member. ErrSessionDuplication if it is one already, ErrClosedGroup if the group is closed, and
// session.ErrBrokenPipe if the session has closed and will not come back.
func (g *Group) Add(s *session.Session) error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return ErrClosedGroup
	}
	if _, ok := g.index[s.ID()]; ok {
		g.mu.Unlock()
		return ErrSessionDuplication
	}
	g.index[s.ID()] = len(g.members)
	g.members = append(g.members, s)
	g.mu.Unlock()
	if k, ok := s.NetworkEntity().(sessionctl.Keeper); ok && !k.Control().Watch(g, func() { g.remove(s) }) {
		g.remove(s)
		return session.ErrBrokenPipe
	}
	return nil
}

// Leave ends the membership of s. It is no error if there was none; ErrClosedGroup if the group is closed.
func (g *Group) Leave(s *session.Session) error {
	g.mu.RLock()
	closed := g.closed
	g.mu.RUnlock()
	if closed {
		return ErrClosedGroup
	}
	unwatch(g, s) // first: another goroutine may add s again once it is removed
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

// LeaveAll ends all memberships. ErrClosedGroup if the group is closed.
func (g *Group) LeaveAll() error {
	members := g.snapshot()
	defer members.free()
	for _, s := range members.list {
		unwatch(g, s) // first, as in Leave
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosedGroup
	}
	g.clear()
	return nil
}

// clear empties the group. The caller holds mu.
func (g *Group) clear() []*session.Session {
	members := g.members
	g.members, g.index = nil, make(map[int64]int)
	return members
}

// Close ends the group: nothing can be sent to it any more. ErrCloseClosedGroup if it was closed before.
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

// Broadcast pushes v to every member, encoded once; to members that are connected to another node of the cluster, one
// message goes to that node. A member that cannot be sent to costs only itself; so does a node whose queue is full, which
// is counted in Stats.Cluster.Unsent. An error means that v went to nobody: ErrClosedGroup, or a fault of the serializer or
// the route.
func (g *Group) Broadcast(route string, v any) error { return g.send(route, v, nil) }

// Multicast is Broadcast to the members that the filter picks. The filter runs outside the group's lock.
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

// sharedPusher is a network entity that encodes a push once for all members that have the same server.
type sharedPusher interface {
	// PushShared pushes v. An error means that v cannot be encoded, not that this client cannot be sent to.
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
