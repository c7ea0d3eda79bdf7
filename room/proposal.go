package room

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lonng/nano/session"
)

// proposal is a match that waits for its players to accept, or for a room.
type proposal struct {
	number  uint64
	queue   *queue
	teams   [][]*Ticket
	missing map[int64]bool // users who have not accepted
	expiry  *time.Timer
}

// propose creates a match of tickets, if all of them still wait. The caller holds mu.
func (q *queue) propose(teams [][]*Ticket) *proposal {
	l := q.lobby
	p := &proposal{queue: q, teams: teams}
	for t := range p.tickets {
		if t.state != ticketWaits {
			return nil
		}
	}
	if l.lastMatch == 0 && l.node.address() != "" {
		l.lastMatch = rand.Uint64N(1<<32) << 20 // differs from those of other nodes, and is below 2^53
	}
	l.lastMatch++
	p.number = l.lastMatch
	if q.Ready == 0 {
		for t := range p.tickets {
			t.state, t.match = ticketPlaced, p
		}
		return p
	}
	p.missing = map[int64]bool{}
	for t := range p.tickets {
		t.state, t.match = ticketAsked, p
		for _, uid := range t.uids {
			p.missing[uid] = true
		}
	}
	for t := range p.tickets {
		l.tell(t, routeReady, readyCheck{t.id, p.number, len(p.missing), q.Ready.Milliseconds()})
	}
	p.expiry = time.AfterFunc(q.Ready, func() { l.expire(p) })
	return p
}

// readyCheck is the body of room.ready.
type readyCheck struct {
	Ticket  string `json:"ticket"`
	Match   uint64 `json:"match"`
	Players int    `json:"players"`
	Within  int64  `json:"within"` // in milliseconds
}

// tickets yields the tickets of the match.
func (p *proposal) tickets(yield func(*Ticket) bool) {
	for _, team := range p.teams {
		for _, t := range team {
			if !yield(t) {
				return
			}
		}
	}
}

// accept records that a user accepts a match.
func (l *lobby) accept(uid int64, match uint64) error {
	l.mu.Lock()
	t := l.tickets[uid]
	if t == nil || t.match == nil || t.match.number != match {
		l.mu.Unlock()
		return ErrNoMatch
	}
	p := t.match
	var complete bool
	if t.state == ticketAsked {
		delete(p.missing, uid)
		if complete = len(p.missing) == 0; complete {
			p.expiry.Stop()
			for t := range p.tickets {
				t.state = ticketPlaced
			}
		}
	}
	l.mu.Unlock()
	if complete {
		l.place(p)
	}
	return nil
}

// expire ends a ready check after its time limit. The tickets of players who have not
// accepted end, unless the session was suspended and could not be asked.
func (l *lobby) expire(p *proposal) {
	suspended := map[*session.Session]bool{}
	for t := range p.tickets {
		for _, s := range t.party.Players {
			suspended[s] = s.Suspended()
		}
	}
	l.mu.Lock()
	var late []*Ticket
	for t := range p.tickets {
		if t.match != p || t.state != ticketAsked {
			l.mu.Unlock()
			return // all have accepted, or the match has failed
		}
		for i, s := range t.party.Players {
			if p.missing[t.uids[i]] && !suspended[s] {
				late = append(late, t)
				break
			}
		}
	}
	l.fail(p, late, ErrNotReady)
	l.mu.Unlock()
	l.deliver()
}

// fail drops a match. The named tickets end with err, and the others continue to wait.
// The caller holds mu.
func (l *lobby) fail(p *proposal, ended []*Ticket, err error) {
	if p.expiry != nil {
		p.expiry.Stop()
	}
	q := p.queue
	for t := range p.tickets {
		if slices.Contains(ended, t) {
			l.finish(t, "", err)
			continue
		}
		t.state, t.match = ticketWaits, nil
		q.waiting = append(q.waiting, t)
		l.tell(t, routeWaiting, map[string]string{"ticket": t.id})
	}
	q.arm()
}

// place creates a room for a match.
func (l *lobby) place(p *proposal) {
	n, k := l.node, p.queue.kind
	labels := p.teams[0][0].party.Where
	if others := n.peers(k.name); p.queue.shared && len(others) > 0 {
		teams := p.teamsByUser()
		if !n.async(func(ctx context.Context) {
			info, err := n.placeAnywhere(ctx, others, &placement{
				Kind: k.name, Filter: Filter{Equal: labels}, UIDs: slices.Sorted(maps.Keys(teams)), Teams: teams,
			})
			l.placed(p, info.ID, err)
		}) {
			l.placed(p, "", ErrDraining)
		}
		return
	}
	d := draft{labels: labels, teams: p.teamsByUser()}
	for uid := range d.teams {
		d.claims = append(d.claims, claim{uid: uid})
	}
	n.create(k, d, given(nil), func(c *core, err error) {
		if err != nil {
			l.placed(p, "", err)
			return
		}
		l.placed(p, c.id, nil)
	})
}

// placed ends the tickets of a match that has a room, or handles the error.
func (l *lobby) placed(p *proposal, id string, err error) {
	k := p.queue.kind
	l.mu.Lock()
	switch {
	case err == nil:
		for i, team := range p.teams {
			for _, t := range team {
				l.finish(t, id, nil)
				l.tell(t, routeFound, found{t.id, id, k.name, i + 1})
			}
		}
	case l.closed:
		l.fail(p, slices.Collect(p.tickets), ErrDraining)
	case errors.Is(err, ErrTooMany) || errors.Is(err, ErrFull) || unavailable(err):
		l.fail(p, nil, nil) // another player took a seat, or a room must end first
	default: // such as an error of OnCreate
		l.fail(p, slices.Collect(p.tickets), err)
	}
	l.mu.Unlock()
	if err != nil {
		l.node.log.Warn("nano: a match got no room", "kind", k.name, "error", err)
	}
	l.deliver()
}

// found is the body of room.found.
type found struct {
	Ticket string `json:"ticket"`
	ID     string `json:"id"`
	Kind   string `json:"kind"`
	Team   int    `json:"team"`
}

// teamsByUser returns the number of the team of each user, from 1.
func (p *proposal) teamsByUser() map[int64]int {
	teams := map[int64]int{}
	for i, team := range p.teams {
		for _, t := range team {
			for _, uid := range t.uids {
				teams[uid] = i + 1
			}
		}
	}
	return teams
}
