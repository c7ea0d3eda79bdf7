package agent

import (
	"cmp"
	"slices"

	"github.com/lonng/nano/session"
)

// Session returns the open session with the given id.
func (h *Hub) Session(id int64) (*session.Session, bool) {
	h.mu.Lock()
	a := h.agents[id]
	h.mu.Unlock()
	if a == nil || !a.flags.has(flagOpen) || a.session.Closed() {
		return nil, false
	}
	return a.session, true
}

// Sessions returns the open sessions in no particular order.
func (h *Hub) Sessions() []*session.Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*session.Session, 0, len(h.agents))
	for _, a := range h.agents {
		if a.flags.has(flagOpen) && !a.session.Closed() {
			list = append(list, a.session)
		}
	}
	return list
}

// ByUID returns the open sessions of a user, in the order of their connections.
func (h *Hub) ByUID(uid int64) []*session.Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return sorted(h.uids[uid])
}

// sorted returns the sessions of agents, in the order of their connections.
func sorted(agents map[int64]*Agent) []*session.Session {
	list := make([]*session.Session, 0, len(agents))
	for _, a := range agents {
		if !a.flags.has(flagClosed) {
			list = append(list, a.session)
		}
	}
	slices.SortFunc(list, func(a, b *session.Session) int { return cmp.Compare(a.ID(), b.ID()) })
	return list
}

// Len returns the number of open connections and of ready sessions.
func (h *Hub) Len() (connections, sessions int) {
	return int(h.Counts.Open.Load()), int(h.Counts.ready.Load())
}

// bound updates the index of uids, which contains open sessions only. The uid of a
// session that is not open yet counts from the ack of its handshake.
func (h *Hub) bound(a *Agent, old, uid int64) {
	if !a.Shaken() {
		return
	}
	var others []*session.Session
	h.mu.Lock()
	h.unindex(a, old)
	h.unindex(a, uid)
	// Another call may have bound another uid meanwhile. The current uid of the session
	// counts.
	if now := a.session.UID(); now != 0 && !a.flags.has(flagClosed) {
		if h.Bound != nil {
			others = sorted(h.uids[now])
		}
		if h.uids[now] == nil {
			h.uids[now] = map[int64]*Agent{}
		}
		h.uids[now][a.id] = a
	}
	h.mu.Unlock()
	if h.Cluster != nil {
		h.Cluster.Bound(a.session, old, uid)
	}
	if len(others) > 0 {
		h.Bound(a.session, others)
	}
}

// unindex removes a from the entry of uid. The caller holds mu.
func (h *Hub) unindex(a *Agent, uid int64) {
	if m := h.uids[uid]; m != nil {
		if delete(m, a.id); len(m) == 0 {
			delete(h.uids, uid)
		}
	}
}

// connGone removes a connection that has ended.
func (h *Hub) connGone(c *Conn) {
	if !c.flags.has(flagCarried) {
		h.mu.Lock()
		h.occupy(c.remote, -1)
		h.mu.Unlock()
	}
	if !c.left() {
		h.gone(c.agent.Load(), flagConnGone)
	}
}

// gone removes an agent whose connection and session have both ended. which is the flag
// of the part that ended now.
func (h *Hub) gone(a *Agent, which uint32) {
	const both = flagConnGone | flagSessionGone
	last := (a.flags.bits.Or(which)|which)&both == both
	h.mu.Lock()
	defer h.mu.Unlock()
	if last {
		delete(h.agents, a.id)
	}
}
