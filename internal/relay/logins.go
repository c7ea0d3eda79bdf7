package relay

import (
	"slices"
	"time"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/session"
)

// Every gate sends the uids of its clients to every node, so each node knows where each user is connected.

// loginsSize bounds the logins of one frame, in bytes.
const loginsSize = 16 << 10

// sendLogins sends every user of this gate to a peer that came up. The caller holds loginMu.
func (pc *peerConn) sendLogins() {
	var data []byte
	for _, l := range pc.b.logins {
		l.old = 0
		if data = l.append(data); len(data) >= loginsSize {
			_ = pc.link.SendReserved(&link.Frame{Kind: kindLogins, Data: data})
			data = data[:0]
		}
	}
	if len(data) > 0 {
		_ = pc.link.SendReserved(&link.Frame{Kind: kindLogins, Data: data})
	}
}

// login sends the uid of a client's session to every peer, if it has changed.
func (b *Broker) login(s *session.Session) {
	b.loginMu.Lock()
	defer b.loginMu.Unlock()
	id, uid := s.ID(), s.UID()
	if uid != 0 && !s.NetworkEntity().(sessionctl.Keeper).Control().Watch(b, func() { b.logout(id) }) {
		uid = 0
	}
	b.setLogin(login{session: id, uid: uid})
}

// logout tells every peer that a session has closed.
func (b *Broker) logout(id int64) {
	b.loginMu.Lock()
	defer b.loginMu.Unlock()
	b.setLogin(login{session: id})
}

// setLogin records a login, or removes the session's login if uid is 0, and sends the change to every peer. The caller
// holds loginMu.
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
	f := link.Frame{Kind: kindLogins, Data: l.append(nil)}
	for _, pc := range *b.peers.Load() {
		_ = pc.link.SendReserved(&f)
	}
}

// lastLogin returns the time of a user's last login that this node knows. The caller holds loginMu.
func (b *Broker) lastLogin(uid int64) int64 {
	var last int64
	for _, s := range b.Gate.ByUID(uid) {
		if l := b.logins[s.ID()]; l.uid == uid {
			last = max(last, l.when)
		}
	}
	for _, pc := range *b.peers.Load() {
		pc.mu.Lock()
		for _, l := range pc.users[uid] {
			last = max(last, l.when)
		}
		pc.mu.Unlock()
	}
	return last
}

// loggedIn records the uids of the peer's clients. With single login it kicks the clients of this node that logged in as
// the same user before.
func (pc *peerConn) loggedIn(f *link.Frame) error {
	return parseLogins(f.Data, func(l login) {
		pc.mu.Lock()
		if l.old != 0 {
			list := slices.DeleteFunc(pc.users[l.old], func(o login) bool { return o.session == l.session })
			if len(list) == 0 {
				delete(pc.users, l.old)
			} else {
				pc.users[l.old] = list
			}
		}
		if l.uid != 0 {
			pc.users[l.uid] = append(pc.users[l.uid], l)
		}
		pc.mu.Unlock()
		if l.uid != 0 && pc.b.SingleLogin {
			pc.b.replaced(l)
		}
	})
}

// replaced kicks the clients of this node that logged in as the same user before l.
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
