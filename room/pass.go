package room

import (
	"slices"
	"time"

	"github.com/lonng/nano/session"
)

// passEvery is the interval at which a queue with waiting parties searches for matches.
const passEvery = 200 * time.Millisecond

type queueKey struct {
	queue *Queue
	kind  *kind
}

// queue is a Queue on one node.
type queue struct {
	Queue
	lobby   *lobby
	kind    *kind
	shared  bool      // the queue is shared by the cluster
	waiting []*Ticket // waiting tickets, including some that have ended
	alarm   *time.Timer
	armed   bool
}

// arm schedules the next search for matches. The caller holds mu.
func (q *queue) arm() {
	if q.armed || q.lobby.closed || len(q.waiting) == 0 {
		return
	}
	q.armed = true
	q.lobby.passes.Add(1)
	q.alarm = time.AfterFunc(passEvery, func() {
		defer q.lobby.passes.Done()
		q.pass()
	})
}

// pass searches for matches. Matching holds no lock, so tickets may end meanwhile, and
// their matches are dropped.
func (q *queue) pass() {
	l := q.lobby
	l.mu.Lock()
	tickets := slices.DeleteFunc(slices.Clone(q.waiting), func(t *Ticket) bool { return t.state != ticketWaits })
	l.mu.Unlock()
	matches := q.matches(tickets, time.Now())

	var placed []*proposal
	l.mu.Lock()
	for _, teams := range matches {
		if p := q.propose(teams); p != nil && p.missing == nil {
			placed = append(placed, p)
		}
	}
	q.waiting = slices.DeleteFunc(q.waiting, func(t *Ticket) bool { return t.state != ticketWaits })
	q.armed = false
	q.arm()
	l.mu.Unlock()
	l.deliver()
	for _, p := range placed {
		l.place(p)
	}
}

// matches returns the matches of tickets: the teams of each.
func (q *queue) matches(tickets []*Ticket, now time.Time) (list [][][]*Ticket) {
	groups := map[string][]*entrant{}
	var keys []string // in the order of the oldest ticket
	for _, t := range tickets {
		if slices.ContainsFunc(t.party.Players, (*session.Session).Suspended) {
			continue
		}
		if groups[t.where] == nil {
			keys = append(keys, t.where)
		}
		e := &entrant{ticket: t, size: len(t.uids), rank: t.party.Rank, window: q.window(now.Sub(t.entered))}
		groups[t.where] = append(groups[t.where], e)
	}
	matched := map[*Ticket]bool{}
	for _, key := range keys {
		m := matcher{teams: q.Teams, per: q.PerTeam}
		for _, match := range m.run(groups[key]) {
			teams := make([][]*Ticket, len(match))
			for i, team := range match {
				for _, e := range team {
					teams[i] = append(teams[i], e.ticket)
					matched[e.ticket] = true
				}
			}
			list = append(list, teams)
		}
		for _, e := range groups[key] {
			if q.Alone > 0 && now.Sub(e.ticket.entered) >= q.Alone && !matched[e.ticket] {
				list = append(list, [][]*Ticket{{e.ticket}})
			}
		}
	}
	return list
}
