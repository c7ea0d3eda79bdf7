package room

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// This file has the shared queues at the node that owns them: see sharedqueue.go. The
// owner has sessions of its own for the players, so it treats their tickets like those of
// its own queues.

// These are the methods that a node serves for shared queues.
const (
	methodEnter    = "enter"
	methodAttend   = "attend" // with a session
	methodEnded    = "ended"
	methodWithdraw = "withdraw"
	methodTickets  = "tickets"
	methodAccept   = "accept"
	methodCancel   = "cancel"
)

// queueRequests returns the handlers of shared queues.
func (s *server) queueRequests() []handler.Func {
	own := func(name string, f handler.NodesFunc) handler.Func {
		return handler.Func{Service: nodeService(s.env.Instance), Name: name, Nodes: f}
	}
	return []handler.Func{
		own(methodEnter, serveNodes(func(e *queueEntry, done func(any, error)) { done(struct{}{}, s.node.lobby.expect(e)) })),
		own(methodEnded, serveNodes(func(e *ticketEnd, done func(any, error)) {
			s.node.lobby.ended(e)
			done(struct{}{}, nil)
		})),
		own(methodWithdraw, serveNodes(func(w *withdrawal, done func(any, error)) { done(struct{}{}, s.node.lobby.giveBack(w)) })),
		own(methodTickets, serveNodes(func(t *ticketList, done func(any, error)) { done(s.node.lobby.unknown(t), nil) })),
		own(methodAccept, serveNodes(func(a *userAnswer, done func(any, error)) {
			done(struct{}{}, s.node.lobby.accept(a.UID, a.Match))
		})),
		own(methodCancel, serveNodes(func(a *userAnswer, done func(any, error)) {
			s.node.lobby.cancel(a.UID)
			done(struct{}{}, nil)
		})),
		{Service: nodeService(s.env.Instance), Name: methodAttend, Call: s.attend},
	}
}

// errNoQueue is returned by a node whose kind has no such queue.
var errNoQueue = message.Errorf("ROOM-NO-QUEUE", "the node has no such queue")

// queueEntry sends a ticket to the owner of a queue.
type queueEntry struct {
	Token  string         `json:"token"` // with which the sessions attend
	ID     string         `json:"id"`
	From   string         `json:"from"` // name of the entry node
	Kind   string         `json:"kind"`
	Queue  string         `json:"queue"`
	Rank   float64        `json:"rank"`
	Where  map[string]any `json:"where,omitempty"`
	UIDs   []int64        `json:"uids"`
	Waited time.Duration  `json:"waited"`
}

// attendance gives the owner the session of a player of a queueEntry.
type attendance struct {
	Token string `json:"token"`
	Index int    `json:"index"`
}

// expected is a queueEntry whose sessions have not all attended.
type expected struct {
	entry    *queueEntry
	queue    *Queue
	kind     *kind
	sessions []*session.Session
}

// expect records an entry until its sessions have attended, or for goTime.
func (l *lobby) expect(e *queueEntry) error {
	k, err := l.node.kindOf(e.Kind)
	if err != nil {
		return errNoQueue
	}
	i := slices.IndexFunc(k.options.queues, func(q *Queue) bool { return q.Name == e.Queue })
	if i < 0 {
		return errNoQueue
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrDraining
	}
	l.expected[e.Token] = &expected{e, k.options.queues[i], k, make([]*session.Session, len(e.UIDs))}
	time.AfterFunc(goTime, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.expected, e.Token)
	})
	return nil
}

// attend serves an attendance. With the last session, the ticket enters the queue.
func (s *server) attend(from *session.Session, data any) (any, error) {
	var a attendance
	if err := json.Unmarshal(data.([]byte), &a); err != nil {
		return nil, badRequest("%v", err)
	}
	l := s.node.lobby
	l.mu.Lock()
	x := l.expected[a.Token]
	if x == nil || a.Index < 0 || a.Index >= len(x.sessions) || from.UID() != x.entry.UIDs[a.Index] {
		l.mu.Unlock()
		return nil, ErrNoMatch
	}
	x.sessions[a.Index] = from
	complete := !slices.Contains(x.sessions, nil)
	if complete {
		delete(l.expected, a.Token)
	}
	l.mu.Unlock()
	if complete {
		return []byte("{}"), l.admit(x)
	}
	return []byte("{}"), nil
}

// admit creates the ticket of an entry.
func (l *lobby) admit(x *expected) error {
	e := x.entry
	t, config, err := l.newTicket(x.queue, x.kind, Party{x.sessions, e.Rank, e.Where})
	if err != nil {
		return err
	}
	t.id, t.from, t.entered = e.ID, e.From, time.Now().Add(-e.Waited)
	return l.add(t, x.queue, config)
}

// reported queues the report to the entry node that a ticket has ended. The caller holds
// mu and calls deliver later.
func (l *lobby) reported(t *Ticket, room string, err error) {
	delete(l.shared, t.id)
	e := &ticketEnd{ID: t.id, From: l.node.name, Room: room}
	if err != nil && !errors.As(err, &e.Err) {
		e.Err = errPanic
	}
	l.outgoing = append(l.outgoing, outgoing{ticket: t, body: e})
}

// report reports the end of a ticket.
func (l *lobby) report(t *Ticket, e *ticketEnd) {
	if t.from == l.node.name {
		l.ended(e)
		return
	}
	l.node.async(func(ctx context.Context) {
		if l.node.call(ctx, t.from, methodEnded, e, &struct{}{}) == nil || e.Err == nil || !entryDecides(e.Err) {
			return // without an answer, the entry node asks
		}
		// The entry node is gone, so no other node gets the ticket.
		l.mu.Lock()
		l.tell(t, routeUnmatched, unmatchedOf(t, e.Err))
		l.mu.Unlock()
		l.deliver()
	})
}

// giveBack serves a withdrawal.
func (l *lobby) giveBack(w *withdrawal) error {
	l.mu.Lock()
	for token, x := range l.expected {
		if x.entry.ID == w.ID {
			delete(l.expected, token)
		}
	}
	t := l.shared[w.ID]
	var err error
	switch {
	case t == nil:
	case w.Cancel:
		l.end(t, ErrCanceled)
	case t.state == ticketWaits:
		delete(l.shared, t.id)
		t.from = "" // its end is not reported
		l.finish(t, "", nil)
	default:
		err = ErrBusy // a match is being made
	}
	l.mu.Unlock()
	l.deliver()
	return err
}

// unknown returns the tickets of a list that this node does not have.
func (l *lobby) unknown(list *ticketList) ticketList {
	l.mu.Lock()
	defer l.mu.Unlock()
	var missing ticketList
	for _, id := range list.IDs {
		if l.shared[id] == nil {
			missing.IDs = append(missing.IDs, id)
		}
	}
	return missing
}

// userAnswer is a client's room.accept or room.cancel.
type userAnswer struct {
	UID   int64  `json:"uid"`
	Match uint64 `json:"match,omitempty"`
}

// acceptAny records that a user accepts a match at any node.
func (n *node) acceptAny(s *session.Session, match uint64, answer func(any, error)) {
	err := n.lobby.accept(s.UID(), match)
	others := n.peers("")
	if !errors.Is(err, ErrNoMatch) || len(others) == 0 || s.UID() < 1 {
		answer(struct{}{}, err)
		return
	}
	if answer = n.counted(s, false, answer); answer == nil {
		return
	}
	n.later(answer, func(ctx context.Context) (any, error) {
		if n.tellAll(ctx, others, methodAccept, &userAnswer{s.UID(), match}) {
			return struct{}{}, nil
		}
		return nil, ErrNoMatch
	})
}

// cancelAny ends the ticket of a user at any node.
func (n *node) cancelAny(s *session.Session, answer func(any, error)) {
	others := n.peers("")
	if n.lobby.cancel(s.UID()) || len(others) == 0 || s.UID() < 1 {
		answer(struct{}{}, nil)
		return
	}
	if answer = n.counted(s, false, answer); answer == nil {
		return
	}
	n.later(answer, func(ctx context.Context) (any, error) {
		n.tellAll(ctx, others, methodCancel, &userAnswer{UID: s.UID()})
		return struct{}{}, nil
	})
}

// tellAll makes a call to each of the nodes, and reports whether one succeeded.
func (n *node) tellAll(ctx context.Context, others []peer, method string, a *userAnswer) bool {
	var mu sync.Mutex
	done := false
	var wg sync.WaitGroup
	for _, p := range others {
		wg.Go(func() {
			err := n.call(ctx, p.name, method, a, &struct{}{})
			mu.Lock()
			defer mu.Unlock()
			done = done || err == nil
		})
	}
	wg.Wait()
	return done
}
