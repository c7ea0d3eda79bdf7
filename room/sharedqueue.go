package room

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// This file has the tickets of shared queues at the node where the party entered. All
// shared queues of a kind belong to one node, the one that rendezvous hashing ranks first
// among those with the kind. The entry node sends it the ticket and the sessions of the
// party. From then on the owner serves the players, as if they had entered there. If the
// owner is lost or another node ranks first, the entry node sends the ticket to the next
// owner. The waiting time continues to count.

// errTicketLost ends a ticket that its owner does not know.
var errTicketLost = message.Errorf(message.CodeUnavailable, "the node of the queue has lost the ticket")

// sharedTicket is the part of a Ticket at the entry node of a shared queue. The lobby's
// mu guards it.
type sharedTicket struct {
	queue  string
	owner  string // name of the node that has the ticket, "" if none has
	busy   bool   // a goroutine sends the ticket to a node
	lost   string // name of a node that gave the ticket up while busy was set
	misses int    // how often in a row the owner did not know the ticket
	// avoid is the name of a node that does not reach the sessions of the party, until
	// avoidUntil. Other tickets may go to it.
	avoid      string
	avoidUntil time.Time
}

// avoidNode makes the ticket go to other nodes for a while.
func (t *sharedTicket) avoidNode(name string) {
	t.avoid, t.avoidUntil = name, time.Now().Add(refusedTime)
}

// avoids reports whether the ticket goes to a node only if there is no other one.
func (t *sharedTicket) avoids(name string) bool {
	return t.avoid == name && time.Now().Before(t.avoidUntil)
}

// entries holds the tickets that entered shared queues at this node. The lobby's mu
// guards it.
type entries struct {
	tickets map[string]*Ticket   // by id
	users   map[int64]*Ticket    // by user
	refused map[string]time.Time // until when a node is ranked last, because it takes no tickets
	watched bool                 // watchEntries runs
}

func newEntries() entries {
	return entries{map[string]*Ticket{}, map[int64]*Ticket{}, map[string]time.Time{}, false}
}

// refusedTime is how long a node that takes no tickets is ranked last.
const refusedTime = 10 * time.Second

// enterShared creates a ticket of a shared queue.
func (l *lobby) enterShared(public *Queue, k *kind, p Party) (*Ticket, error) {
	t, _, err := l.newTicket(public, k, p)
	if err != nil {
		return nil, err
	}
	t.shared = &sharedTicket{queue: public.Name, busy: true}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrDraining
	}
	for _, uid := range t.uids {
		if l.tickets[uid] != nil || l.entries.users[uid] != nil {
			return nil, ErrQueued
		}
	}
	if !l.node.async(func(ctx context.Context) { l.send(ctx, t) }) {
		return nil, ErrDraining
	}
	for _, uid := range t.uids {
		l.entries.users[uid] = t
	}
	l.entries.tickets[t.id] = t
	if !l.entries.watched {
		l.entries.watched = l.node.spawn(l.watchEntries)
	}
	return t, nil
}

// queueOwners returns the names of the nodes that may own the shared queues of a kind,
// the first choice first.
func (l *lobby) queueOwners(kind string) []string {
	names := []string{l.node.name}
	for _, p := range l.node.peers(kind) {
		names = append(names, p.name)
	}
	key := "queue " + kind
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(weight(b, key), weight(a, key)) })
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(l.entries.refused, func(_ string, until time.Time) bool { return now.After(until) })
	slices.SortStableFunc(names, func(a, b string) int {
		return l.entries.refused[a].Compare(l.entries.refused[b])
	})
	return names
}

// send sends a ticket to the first node that takes it. If no node does, watchEntries
// tries again. The caller has set busy.
func (l *lobby) send(ctx context.Context, t *Ticket) {
	names := l.queueOwners(t.kind.name)
	l.mu.Lock()
	if i := slices.IndexFunc(names, t.shared.avoids); i >= 0 {
		name := names[i]
		names = append(slices.Delete(names, i, i+1), name)
	}
	l.mu.Unlock()
owners:
	for _, name := range names {
		reached, err := l.sendTo(ctx, name, t)
		switch {
		case err == nil:
			l.sent(t, name)
			return
		case slices.ContainsFunc(t.party.Players, (*session.Session).Closed):
			l.finishEntry(t, "", ErrPartner, true)
			return
		case unavailable(err) || errors.Is(err, ErrDraining) || errors.Is(err, errNoQueue):
			if errors.Is(l.withdraw(name, t), ErrBusy) { // it has the ticket, and makes a match of it
				l.sent(t, name)
				return
			}
			if ctx.Err() != nil { // not the node's fault
				break owners
			}
			l.mu.Lock()
			if reached && !errors.Is(err, ErrDraining) {
				t.shared.avoidNode(name)
			} else {
				l.entries.refused[name] = time.Now().Add(refusedTime)
			}
			l.mu.Unlock()
		default:
			l.finishEntry(t, "", err, true)
			return
		}
	}
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		l.finishEntry(t, "", ErrDraining, true)
		return
	}
	l.sent(t, "")
}

// withdraw takes a ticket back from a node, which may have it although it did not answer.
func (l *lobby) withdraw(name string, t *Ticket) error {
	ctx, cancel := context.WithTimeout(l.node.ctx, askTime)
	defer cancel()
	return l.node.call(ctx, name, methodWithdraw, &withdrawal{ID: t.id}, &struct{}{})
}

// sent records which node has a ticket.
func (l *lobby) sent(t *Ticket, owner string) {
	l.mu.Lock()
	if owner == t.shared.lost {
		owner = "" // watchEntries sends it again
	}
	t.shared.owner, t.shared.busy, t.shared.lost, t.shared.misses = owner, false, "", 0
	canceled := t.state == ticketEnded
	l.mu.Unlock()
	if canceled && owner != "" {
		l.cancelAt(owner, t)
	}
}

// sendTo sends a ticket and its sessions to a node. reached reports whether the node was
// ready for the sessions.
func (l *lobby) sendTo(ctx context.Context, name string, t *Ticket) (reached bool, err error) {
	e := &queueEntry{
		Token: newID(l.node.name), ID: t.id, From: l.node.name, Kind: t.kind.name, Queue: t.shared.queue,
		Rank: t.party.Rank, Where: t.party.Where, UIDs: t.uids, Waited: time.Since(t.entered),
	}
	if err := l.node.call(ctx, name, methodEnter, e, &struct{}{}); err != nil {
		return false, err
	}
	for i, s := range t.party.Players {
		body, err := json.Marshal(&attendance{e.Token, i})
		if err != nil {
			return true, err
		}
		if err := s.Call(ctx, nodeService(name)+"."+methodAttend, body, nil); err != nil {
			return true, err
		}
	}
	return true, nil
}

// finishEntry ends a ticket at its entry node. If tell is true, its players get the push
// room.unmatched.
func (l *lobby) finishEntry(t *Ticket, room string, err error, tell bool) {
	l.mu.Lock()
	if t.state != ticketEnded {
		t.state, t.room, t.err = ticketEnded, room, err
		delete(l.entries.tickets, t.id)
		for _, uid := range t.uids {
			delete(l.entries.users, uid)
		}
		close(t.done)
		if tell {
			l.tell(t, routeUnmatched, unmatchedOf(t, err))
		}
	}
	l.mu.Unlock()
	l.deliver()
}

// ticketEnd says that a ticket has ended at its owner.
type ticketEnd struct {
	ID   string         `json:"id"`
	From string         `json:"from"` // name of the owner
	Room string         `json:"room,omitempty"`
	Err  *message.Error `json:"error,omitempty"`
}

// entryDecides reports whether the entry node decides if a ticket that ended with an
// error at its owner goes to another owner.
func entryDecides(err error) bool { return errors.Is(err, ErrDraining) || errors.Is(err, ErrPartner) }

// ended serves a ticketEnd. If the owner drains, the ticket goes to the next owner. It
// also does so if the owner has lost a gate, and with it sessions that are open here.
func (l *lobby) ended(e *ticketEnd) {
	l.mu.Lock()
	t := l.entries.tickets[e.ID]
	l.mu.Unlock()
	switch {
	case t == nil:
	case e.Err == nil:
		l.mu.Lock()
		owner := t.shared.owner
		l.mu.Unlock()
		l.finishEntry(t, e.Room, nil, false)
		if owner != "" && owner != e.From { // an earlier owner has made the match
			l.cancelAt(owner, t)
		}
	case !entryDecides(e.Err):
		l.finishEntry(t, "", e.Err, false)
	case slices.ContainsFunc(t.party.Players, (*session.Session).Closed):
		l.finishEntry(t, "", ErrPartner, true)
	default:
		l.sendAgain(t, e.From, errors.Is(e.Err, ErrDraining))
	}
}

// sendAgain sends a ticket that a node gave up to another one.
func (l *lobby) sendAgain(t *Ticket, lost string, draining bool) {
	l.mu.Lock()
	if draining {
		l.entries.refused[lost] = time.Now().Add(refusedTime)
	} else {
		t.shared.avoidNode(lost)
	}
	busy := t.shared.busy
	if busy {
		t.shared.lost = lost
	}
	t.shared.owner, t.shared.busy = "", true
	l.mu.Unlock()
	if !busy && !l.node.async(func(ctx context.Context) { l.send(ctx, t) }) {
		l.finishEntry(t, "", ErrDraining, true)
	}
}

// withdrawal takes a ticket from its owner.
type withdrawal struct {
	ID     string `json:"id"`
	Cancel bool   `json:"cancel,omitempty"` // the party does not want a match any more
}

// cancelAt cancels a ticket at its owner, which then reports its end.
func (l *lobby) cancelAt(owner string, t *Ticket) {
	l.node.async(func(ctx context.Context) {
		_ = l.node.call(ctx, owner, methodWithdraw, &withdrawal{t.id, true}, &struct{}{})
	})
}

// cancelShared is Ticket.Cancel for a ticket of a shared queue.
func (l *lobby) cancelShared(t *Ticket) bool {
	l.mu.Lock()
	ended, owner := t.state == ticketEnded, t.shared.owner
	l.mu.Unlock()
	switch {
	case ended:
		return false
	case owner == "":
		l.finishEntry(t, "", ErrCanceled, true)
	default:
		l.cancelAt(owner, t)
	}
	return true
}

// watchEntries moves tickets to other owners as nodes come and go, until there are none.
func (l *lobby) watchEntries() {
	tick := time.NewTicker(memberTime)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.node.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(l.node.ctx, goTime)
		left := l.checkEntries(ctx)
		cancel()
		if !left {
			return
		}
	}
}

// checkEntries is one step of watchEntries. It returns false if there are no tickets.
func (l *lobby) checkEntries(ctx context.Context) bool {
	l.mu.Lock()
	if len(l.entries.tickets) == 0 {
		l.entries.watched = false
		l.mu.Unlock()
		return false
	}
	byOwner := map[string][]*Ticket{}
	for _, t := range l.entries.tickets {
		if !t.shared.busy {
			byOwner[t.shared.owner] = append(byOwner[t.shared.owner], t)
		}
	}
	l.mu.Unlock()
	first := map[string]string{} // the first choice by kind
	var wg sync.WaitGroup
	for owner, list := range byOwner {
		_, up := l.node.peerNamed(owner)
		up = up || owner == l.node.name
		for _, t := range list {
			if first[t.kind.name] == "" {
				first[t.kind.name] = l.queueOwners(t.kind.name)[0]
			}
			l.mu.Lock()
			stays := up && (first[t.kind.name] == owner || t.shared.avoids(first[t.kind.name]))
			l.mu.Unlock()
			if stays {
				continue
			}
			wg.Go(func() { l.resend(ctx, t, owner, up) })
		}
		if up {
			wg.Go(func() { l.askOwner(ctx, owner, list) })
		}
	}
	wg.Wait()
	return true
}

// resend sends a ticket to the node that ranks first now. The owner does not give up a
// ticket whose players are asked or get a room.
func (l *lobby) resend(ctx context.Context, t *Ticket, owner string, up bool) {
	l.mu.Lock()
	free := !t.shared.busy && t.state != ticketEnded
	t.shared.busy = t.shared.busy || free
	l.mu.Unlock()
	switch {
	case !free:
	case up && l.node.call(ctx, owner, methodWithdraw, &withdrawal{ID: t.id}, &struct{}{}) != nil:
		l.sent(t, owner)
	default:
		l.send(ctx, t)
	}
}

// handOverTime is how long a node that shuts down waits until other nodes have its
// tickets.
const handOverTime = 2 * time.Second

// handOver waits until tickets that this node owned are at other nodes, or ctx ends.
func (l *lobby) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, handOverTime)
	defer cancel()
	check := time.NewTicker(10 * time.Millisecond)
	defer check.Stop()
	for {
		l.mu.Lock()
		busy := false
		for _, t := range l.entries.tickets {
			busy = busy || t.shared.busy
		}
		l.mu.Unlock()
		if !busy {
			return
		}
		select {
		case <-check.C:
		case <-ctx.Done():
			return
		}
	}
}

// endEntries ends the tickets of a node that has shut down. Tickets that other nodes have
// stay in the queue.
func (l *lobby) endEntries() {
	l.mu.Lock()
	list := slices.Collect(maps.Values(l.entries.tickets))
	l.mu.Unlock()
	for _, t := range list {
		l.finishEntry(t, "", ErrDraining, false)
	}
}

// ticketList asks an owner which tickets it knows.
type ticketList struct {
	IDs []string `json:"ids"` // in the answer, those that it does not know
}

// askOwner ends the tickets that their owner has lost. The report of an end may be on
// its way, so a ticket is lost if it is missing twice.
func (l *lobby) askOwner(ctx context.Context, owner string, list []*Ticket) {
	ids := make([]string, len(list))
	for i, t := range list {
		ids[i] = t.id
	}
	var missing ticketList
	if l.node.call(ctx, owner, methodTickets, &ticketList{ids}, &missing) != nil {
		return
	}
	gone := map[string]bool{}
	for _, id := range missing.IDs {
		gone[id] = true
	}
	var lost []*Ticket
	l.mu.Lock()
	for _, t := range list {
		switch {
		case t.shared.busy || t.shared.owner != owner || !gone[t.id]:
			t.shared.misses = 0
		default:
			if t.shared.misses++; t.shared.misses > 1 {
				lost = append(lost, t)
			}
		}
	}
	l.mu.Unlock()
	for _, t := range lost {
		l.finishEntry(t, "", errTicketLost, true)
	}
}
