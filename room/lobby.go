package room

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// These are the routes of a queue's pushes.
const (
	routeReady     = "room.ready"     // {"ticket", "match", "players", "within"}: accept within that many milliseconds
	routeWaiting   = "room.waiting"   // {"ticket"}: the match failed, and the party continues to wait
	routeFound     = "room.found"     // {"ticket", "id", "kind", "team"}: join this room
	routeUnmatched = "room.unmatched" // {"ticket", "code", "msg"}: the ticket has ended
)

// lobby holds the tickets of one node.
type lobby struct {
	node *node

	mu         sync.Mutex
	closed     bool // mu guards it and the following fields
	queues     map[queueKey]*queue
	tickets    map[int64]*Ticket // by user
	sessions   map[int64]*Ticket // by session id, for sessions whose end the lobby observes; nil without a ticket
	lastMatch  uint64
	outgoing   []outgoing
	delivering bool
	passes     sync.WaitGroup
	entries    entries
	shared     map[string]*Ticket   // tickets of shared queues that this node owns, by id
	expected   map[string]*expected // by token
}

// outgoing is a queued push. Pushes are sent in order, without holding the lock.
type outgoing struct {
	to     *session.Session
	route  string
	body   any
	ticket *Ticket // if set, body is the report that this ticket has ended, and nothing is pushed
}

func newLobby(n *node) *lobby {
	return &lobby{
		node: n, queues: map[queueKey]*queue{}, tickets: map[int64]*Ticket{}, sessions: map[int64]*Ticket{},
		entries: newEntries(), shared: map[string]*Ticket{}, expected: map[string]*expected{},
	}
}

// enter creates a ticket.
func (l *lobby) enter(public *Queue, k *kind, p Party) (*Ticket, error) {
	if slices.Contains(k.options.queues, public) && l.node.address() != "" {
		return l.enterShared(public, k, p)
	}
	t, config, err := l.newTicket(public, k, p)
	if err == nil {
		err = l.add(t, public, config)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// newTicket returns a ticket that is in no queue, and the queue with its defaults.
func (l *lobby) newTicket(public *Queue, k *kind, p Party) (*Ticket, Queue, error) {
	if l.node.isDraining() {
		return nil, Queue{}, ErrDraining
	}
	config, err := public.withDefaults(k.options.seats)
	if err != nil {
		return nil, Queue{}, err
	}
	uids, err := p.check(config.PerTeam)
	if err != nil {
		return nil, Queue{}, err
	}
	p.Players, p.Where = slices.Clone(p.Players), maps.Clone(p.Where)
	for label, v := range p.Where {
		p.Where[label] = normal(v)
	}
	if len(p.Where) == 0 {
		p.Where = nil
	}
	where, err := json.Marshal(p.Where) // the keys are sorted
	if err != nil {
		return nil, Queue{}, ErrParty // a number that JSON cannot represent
	}
	return &Ticket{
		id: newID(l.node.name), lobby: l, where: string(where), party: p, uids: uids, kind: k, entered: time.Now(), done: make(chan struct{}),
	}, config, nil
}

// add adds a ticket to a queue.
func (l *lobby) add(t *Ticket, public *Queue, config Queue) error {
	key, p, uids := queueKey{public, t.kind}, &t.party, t.uids
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrDraining
	}
	for _, uid := range uids {
		if l.tickets[uid] != nil || t.from == "" && l.entries.users[uid] != nil {
			l.mu.Unlock()
			return ErrQueued
		}
	}
	q := l.queues[key]
	if q == nil {
		q = &queue{Queue: config, lobby: l, kind: t.kind, shared: t.from != ""}
		l.queues[key] = q
	}
	t.queue = q
	if t.from != "" {
		l.shared[t.id] = t
	}
	var watch []*session.Session
	for i, s := range p.Players {
		l.tickets[uids[i]] = t
		if _, watched := l.sessions[s.ID()]; !watched {
			watch = append(watch, s)
		}
		l.sessions[s.ID()] = t
	}
	q.waiting = append(q.waiting, t)
	q.arm()
	l.mu.Unlock()

	for _, s := range watch {
		s.OnClose(func(s *session.Session, _ error) { l.left(s) })
	}
	return nil
}

// left ends the ticket of a session that has closed.
func (l *lobby) left(s *session.Session) {
	l.mu.Lock()
	t := l.sessions[s.ID()]
	delete(l.sessions, s.ID())
	if t != nil {
		l.end(t, ErrPartner)
	}
	l.mu.Unlock()
	l.deliver()
}

// end ends a ticket without a room. It returns false if the ticket has a room or has
// ended. The caller holds mu.
func (l *lobby) end(t *Ticket, err error) bool {
	switch t.state {
	case ticketPlaced, ticketEnded:
		return false
	case ticketAsked:
		l.fail(t.match, []*Ticket{t}, err)
		return true
	}
	l.finish(t, "", err)
	return true
}

// cancel ends the ticket of a user. It returns false if this node does not know one.
func (l *lobby) cancel(uid int64) bool {
	l.mu.Lock()
	t, entry := l.tickets[uid], l.entries.users[uid]
	if t != nil {
		l.end(t, ErrCanceled)
	}
	l.mu.Unlock()
	l.deliver()
	if t == nil && entry != nil {
		l.cancelShared(entry)
	}
	return t != nil || entry != nil
}

// finish removes a ticket from the lists. The caller holds mu.
func (l *lobby) finish(t *Ticket, room string, err error) {
	t.state, t.match, t.room, t.err = ticketEnded, nil, room, err
	for _, uid := range t.uids {
		delete(l.tickets, uid)
	}
	for _, s := range t.party.Players {
		if l.sessions[s.ID()] == t {
			l.sessions[s.ID()] = nil
		}
	}
	close(t.done)
	if t.from != "" {
		l.reported(t, room, err)
		if entryDecides(err) {
			return // the entry node may send the ticket to another node
		}
	}
	if err != nil {
		l.tell(t, routeUnmatched, unmatchedOf(t, err))
	}
}

// unmatched is the body of room.unmatched.
type unmatched struct {
	Ticket string `json:"ticket"`
	Code   string `json:"code"`
	Msg    string `json:"msg"`
}

func unmatchedOf(t *Ticket, err error) unmatched {
	var e *message.Error
	if !errors.As(err, &e) {
		e = errPanic
	}
	return unmatched{t.id, e.Code, e.Message}
}

// tell queues a push to the players of a ticket. The caller holds mu and calls deliver
// later.
func (l *lobby) tell(t *Ticket, route string, body any) {
	for _, s := range t.party.Players {
		l.outgoing = append(l.outgoing, outgoing{to: s, route: route, body: body})
	}
}

// deliver sends queued pushes in order, unless another goroutine does so.
func (l *lobby) deliver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.delivering {
		return
	}
	l.delivering = true
	for len(l.outgoing) > 0 {
		list := l.outgoing
		l.outgoing = nil
		l.mu.Unlock()
		for _, o := range list {
			if o.ticket != nil {
				l.report(o.ticket, o.body.(*ticketEnd))
				continue
			}
			body, _ := json.Marshal(o.body) // strings and numbers always encode
			_ = o.to.Push(o.route, body)    // this fails for a closed session, whose ticket ends
		}
		l.mu.Lock()
	}
	l.delivering = false
}

// close ends all tickets and waits for running passes.
func (l *lobby) close() {
	l.mu.Lock()
	l.closed = true
	for _, t := range l.tickets {
		l.end(t, ErrDraining)
	}
	for _, q := range l.queues {
		if q.armed && q.alarm.Stop() {
			q.armed = false
			l.passes.Done()
		}
	}
	l.mu.Unlock()
	l.deliver()
	l.passes.Wait()
}
