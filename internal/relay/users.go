package relay

import (
	"slices"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/payload"
	"github.com/lonng/nano/session"
)

// gatesOf returns the other nodes to which a user is connected. It includes a uid that was just bound here, because the
// gate receives that change before anything that is sent now.
func (b *Broker) gatesOf(uid int64) []*peerConn {
	var gates []*peerConn
	b.mu.Lock()
	for _, r := range b.uids[uid] {
		if !r.closed.Load() && !slices.Contains(gates, r.pc) {
			gates = append(gates, r.pc)
		}
	}
	b.mu.Unlock()
	for _, pc := range *b.peers.Load() {
		pc.mu.Lock()
		if len(pc.users[uid]) > 0 && !slices.Contains(gates, pc) {
			gates = append(gates, pc)
		}
		pc.mu.Unlock()
	}
	return gates
}

// Push sends v to a user's clients at other nodes. It returns the number of nodes, and the first error.
func (b *Broker) Push(uid int64, route string, v any) (nodes int, err error) {
	gates := b.gatesOf(uid)
	if len(gates) == 0 {
		return 0, nil
	}
	data, err := payload.Encode(b.Dispatcher.Serializer, v)
	if err != nil {
		return len(gates), err
	}
	f := link.Frame{Kind: kindPushUser, ID: uint64(uid), Route: route, Data: data}
	if err := gates[0].fits(&f); err != nil {
		return len(gates), err
	}
	for _, pc := range gates {
		if e := pc.link.Send(&f); e != nil && err == nil {
			err = sendError(e)
		}
	}
	return len(gates), err
}

// Kick kicks a user's clients at other nodes. It returns the number of nodes, and the first error.
func (b *Broker) Kick(uid int64, reason string) (nodes int, err error) {
	gates := b.gatesOf(uid)
	for _, pc := range gates {
		if e := pc.link.SendReserved(&link.Frame{Kind: kindKickUser, ID: uint64(uid), Data: []byte(reason)}); e != nil && err == nil {
			err = sendError(e)
		}
	}
	return len(gates), err
}

// user pushes to a user's clients of this node, or kicks them.
func (pc *peerConn) user(f *link.Frame) {
	for _, s := range pc.b.Gate.ByUID(int64(f.ID)) {
		c, ok := s.NetworkEntity().(Client)
		switch {
		case !ok:
		case f.Kind == kindKickUser:
			_ = c.KickFor(session.ErrKicked, string(f.Data))
		default:
			pc.relayPush(c, f)
		}
	}
}

// Session returns the open session of another node's client with an id.
func (b *Broker) Session(id int64) (*session.Session, bool) {
	for _, pc := range *b.peers.Load() {
		if r := pc.session(id); r != nil && !r.session.Closed() {
			return r.session, true
		}
	}
	return nil, false
}

// SessionsByUID returns the open sessions of a user that this node knows and whose clients are connected to other nodes.
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

// AppendSessions appends the open sessions of other nodes' clients that this node knows, in no order.
func (b *Broker) AppendSessions(list []*session.Session) []*session.Session {
	for _, pc := range *b.peers.Load() {
		pc.mu.Lock()
		for _, r := range pc.sessions {
			if !r.session.Closed() {
				list = append(list, r.session)
			}
		}
		pc.mu.Unlock()
	}
	return list
}
