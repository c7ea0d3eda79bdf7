package cluster

import (
	"slices"
	"time"

	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// This file is where users are: every gate tells every node of the uids of its clients.

// loginsSize bounds the logins of one frame, in bytes.
const loginsSize = 16 << 10

// tellLogins tells a neighbor that came up of every user here. The caller holds loginMu.
func (nb *neighbor) tellLogins() {
	var data []byte
	for _, l := range nb.b.logins {
		l.old = 0
		if data = l.append(data); len(data) >= loginsSize {
			_ = nb.link.Insist(&Frame{Kind: kindLogins, Data: data})
			data = data[:0]
		}
	}
	if len(data) > 0 {
		_ = nb.link.Insist(&Frame{Kind: kindLogins, Data: data})
	}
}

// login tells every neighbor of the uid of a client's session, if it has changed.
func (b *Broker) login(s *session.Session) {
	b.loginMu.Lock()
	defer b.loginMu.Unlock()
	id, uid := s.ID(), s.UID()
	if uid != 0 && !s.NetworkEntity().(sessionctl.Keeper).Control().Watch(b, func() { b.logout(id) }) {
		uid = 0
	}
	b.setLogin(login{session: id, uid: uid})
}

// logout tells every neighbor that a session has closed.
func (b *Broker) logout(id int64) {
	b.loginMu.Lock()
	defer b.loginMu.Unlock()
	b.setLogin(login{session: id})
}

// setLogin notes a login, or that there is none any more where uid is 0, and tells every neighbor. The caller holds
// loginMu.
func (b *Broker) setLogin(l login) {
	l.old = b.logins[l.session].uid
	switch l.uid {
	case l.old:
		return
	case 0:
		delete(b.logins, l.session)
	default:
		l.when = max(time.Now().UnixNano(), b.lastLogin(l.uid)+1)
		b.logins[l.session] = l
	}
	f := Frame{Kind: kindLogins, Data: l.append(nil)}
	for _, nb := range *b.neighbors.Load() {
		_ = nb.link.Insist(&f)
	}
}

// lastLogin returns when a user logged in last, as far as this node knows. The caller holds loginMu.
func (b *Broker) lastLogin(uid int64) int64 {
	var last int64
	for _, s := range b.Gate.ByUID(uid) {
		if l := b.logins[s.ID()]; l.uid == uid {
			last = max(last, l.when)
		}
	}
	for _, nb := range *b.neighbors.Load() {
		nb.mu.Lock()
		for _, l := range nb.users[uid] {
			last = max(last, l.when)
		}
		nb.mu.Unlock()
	}
	return last
}

// loggedIn notes the uids of the neighbor's clients. With single login, clients of this node that logged in before have
// to go.
func (nb *neighbor) loggedIn(f *Frame) error {
	return parseLogins(f.Data, func(l login) {
		nb.mu.Lock()
		if l.old != 0 {
			list := slices.DeleteFunc(nb.users[l.old], func(o login) bool { return o.session == l.session })
			if len(list) == 0 {
				delete(nb.users, l.old)
			} else {
				nb.users[l.old] = list
			}
		}
		if l.uid != 0 {
			nb.users[l.uid] = append(nb.users[l.uid], l)
		}
		nb.mu.Unlock()
		if l.uid != 0 && nb.b.SingleLogin {
			nb.b.replaced(l)
		}
	})
}

// replaced kicks the clients of this node that logged in as the same user before.
func (b *Broker) replaced(l login) {
	for _, s := range b.Gate.ByUID(l.uid) {
		b.loginMu.Lock()
		mine, ok := b.logins[s.ID()]
		b.loginMu.Unlock()
		if c, is := s.NetworkEntity().(Client); is && ok && mine.uid == l.uid && l.later(mine) {
			_ = c.KickFor(session.ErrReplaced, "logged in elsewhere")
		}
	}
}

// gatesOf returns the other nodes that a user is connected to. What was bound here a moment ago counts: the gate hears of
// it before it hears of what is sent now.
func (b *Broker) gatesOf(uid int64) []*neighbor {
	var gates []*neighbor
	b.mu.Lock()
	for _, r := range b.uids[uid] {
		if !r.closed.Load() && !slices.Contains(gates, r.nb) {
			gates = append(gates, r.nb)
		}
	}
	b.mu.Unlock()
	for _, nb := range *b.neighbors.Load() {
		nb.mu.Lock()
		if len(nb.users[uid]) > 0 && !slices.Contains(gates, nb) {
			gates = append(gates, nb)
		}
		nb.mu.Unlock()
	}
	return gates
}

// Push sends v to a user's clients at other nodes. It returns the number of nodes, and the first error.
func (b *Broker) Push(uid int64, route string, v any) (nodes int, err error) {
	gates := b.gatesOf(uid)
	if len(gates) == 0 {
		return 0, nil
	}
	data, err := b.encode(v)
	if err != nil {
		return len(gates), err
	}
	f := Frame{Kind: kindPushUser, ID: uint64(uid), Route: route, Data: data}
	if err := gates[0].fits(&f); err != nil {
		return len(gates), err
	}
	for _, nb := range gates {
		if e := nb.link.Send(&f); e != nil && err == nil {
			err = sendError(e)
		}
	}
	return len(gates), err
}

// Kick kicks a user's clients at other nodes. It returns the number of nodes, and the first error.
func (b *Broker) Kick(uid int64, reason string) (nodes int, err error) {
	gates := b.gatesOf(uid)
	for _, nb := range gates {
		if e := nb.link.Insist(&Frame{Kind: kindKickUser, ID: uint64(uid), Data: []byte(reason)}); e != nil && err == nil {
			err = sendError(e)
		}
	}
	return len(gates), err
}

// user pushes to a user's clients here, or kicks them.
func (nb *neighbor) user(f *Frame) {
	for _, s := range nb.b.Gate.ByUID(int64(f.ID)) {
		c, ok := s.NetworkEntity().(Client)
		switch {
		case !ok:
		case f.Kind == kindKickUser:
			_ = c.KickFor(session.ErrKicked, string(f.Data))
		default:
			nb.message = message.Message{Type: message.Push, Route: f.Route, Data: f.Data}
			if c.Relay(&nb.message) != nil {
				nb.b.counts.lost.Add(1)
			}
		}
	}
}

// Session returns the open session of another node's client with an id.
func (b *Broker) Session(id int64) (*session.Session, bool) {
	for _, nb := range *b.neighbors.Load() {
		if r := nb.session(id); r != nil && !r.session.Closed() {
			return r.session, true
		}
	}
	return nil, false
}

// SessionsByUID returns the open sessions of a user that are known here and whose clients other nodes have.
func (b *Broker) SessionsByUID(uid int64) []*session.Session {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []*session.Session
	for _, r := range b.uids[uid] {
		if !r.session.Closed() {
			list = append(list, r.session)
		}
	}
	return list
}

// Multicast pushes one message to sessions of other nodes' clients: one frame for each gate and 4,096 sessions. The zero
// value is ready; it is for one goroutine and one message.
type Multicast struct {
	gates []gateMembers
}

type gateMembers struct {
	nb  *neighbor
	ids []int64
}

// maxMembers bounds the sessions that one frame is for.
const maxMembers = 4096

// Add adds the session over an entity. It reports false if that is not of another node's client.
func (m *Multicast) Add(e session.NetworkEntity) bool {
	r, ok := e.(*remote)
	if !ok {
		return false
	}
	if r.closed.Load() {
		return true
	}
	i := slices.IndexFunc(m.gates, func(g gateMembers) bool { return g.nb == r.nb })
	if i < 0 {
		i = len(m.gates)
		m.gates = append(m.gates, gateMembers{nb: r.nb})
	}
	m.gates[i].ids = append(m.gates[i].ids, r.id)
	return true
}

// Send pushes v to the sessions that were added. An error is one of encoding; a session that cannot be sent to costs
// only itself, and a gate whose queue is full is counted in Stats.Unsent.
func (m *Multicast) Send(route string, v any) error {
	var data []byte
	var last *Broker
	for _, g := range m.gates {
		if b := g.nb.b; b != last {
			var err error
			if data, err = b.encode(v); err != nil {
				return err
			}
			if err := g.nb.fits(&Frame{Route: route, Data: data}); err != nil {
				return err
			}
			last = b
		}
		for ids := range slices.Chunk(g.ids, maxMembers) {
			err := g.nb.link.Send(&Frame{Kind: kindMulticast, Route: route, Meta: appendIDs(nil, ids), Data: data})
			if err == ErrQueueFull {
				g.nb.b.counts.unsent.Add(1)
			}
		}
	}
	return nil
}
