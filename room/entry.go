package room

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// This file serves requests of sessions that another node may have to serve. A request
// arrives at the node of the session's seat, because a seat binds the session's room
// requests. Without a seat, it arrives at any node.

// entry is a session's request to join.
type entry struct {
	s         *session.Session
	kind      *kind // kind of joinOrCreate; nil if this node does not have it
	req       *request
	opts      decoder         // decoder of the options on this node
	create    json.RawMessage // options of OnCreate
	unlimited bool            // the request comes from the program, so client limits do not apply
}

// maxRedirects is how often a forwarded request follows a room that moves.
const maxRedirects = 4

// forward sends a request of the session to the given node. If the room has moved, that
// node names the next one.
func (n *node) forward(ctx context.Context, e *entry, to peer, method string) (any, error) {
	for range maxRedirects {
		v, err := n.forwardTo(ctx, e, to, method)
		name, moved := movedTo(err)
		if !moved {
			return v, err
		}
		if name == n.name {
			next, here := n.whereabouts(e.req.ID)
			switch {
			case here:
				return wait(ctx, func(done func(any, error)) { n.enterHere(e, method, done) })
			case next == to.name || next == n.name: // neither node has the room, so it has ended
				n.forget(e.req.ID)
				return nil, ErrNotFound
			}
			name = next
		}
		if to, moved = n.peerNamed(name); !moved {
			break
		}
	}
	return nil, ErrNotFound
}

// forwardTo sends a request of the session to the given node, and binds the session's
// room requests to that node.
func (n *node) forwardTo(ctx context.Context, e *entry, to peer, method string) (any, error) {
	if bound, _ := e.s.Router().Find(service); bound != to.addr {
		e.s.Router().Bind(service, to.addr)
	}
	req := *e.req
	req.Forwarded = true
	body, err := json.Marshal(&req)
	if err != nil {
		return nil, err
	}
	var reply []byte
	if err := e.s.Call(ctx, service+"."+method, body, &reply); err != nil {
		return nil, err
	}
	return json.RawMessage(reply), nil
}

// later calls f on a new goroutine, where it may wait for other nodes, and answers with
// its result.
func (n *node) later(answer func(any, error), f func(ctx context.Context) (any, error)) {
	if !n.async(func(ctx context.Context) {
		v, err := f(ctx)
		answer(v, n.public(err))
	}) {
		answer(nil, ErrDraining)
	}
}

// counted starts a request of a session in a cluster, and returns an answer function that
// ends it. It returns nil if the request was refused.
func (n *node) counted(s *session.Session, join bool, answer func(any, error)) func(any, error) {
	if n.address() == "" {
		return answer
	}
	end, err := n.begin(s, join)
	if err != nil {
		answer(nil, err)
		return nil
	}
	return func(v any, err error) {
		end()
		answer(v, err)
	}
}

// enter joins or watches the room with the id or the code of the request, on the room's
// node.
func (n *node) enter(e *entry, method string, answer func(any, error)) {
	if e.req.ID == "" && e.req.Code != "" {
		n.enterCode(e, method, answer)
		return
	}
	to, other := n.peerOf(e.req.ID)
	switch {
	case !other && !n.astray(e.req.ID):
		n.enterHere(e, method, answer)
	case n.seat(e.s) != nil:
		answer(nil, ErrJoined)
	default:
		n.later(answer, func(ctx context.Context) (any, error) {
			if !other {
				if !e.unlimited && !n.asks.allow(e.s.ID()) { // asking all nodes costs more than a lookup
					return nil, ErrRate
				}
				if to, other = n.locate(ctx, e.req.ID); !other {
					return nil, ErrNotFound
				}
			}
			if e.req.Forwarded {
				return nil, errMovedTo(to.name)
			}
			return n.forward(ctx, e, to, method)
		})
	}
}

// public converts an error of waiting for other nodes to the form that the client may
// see.
func (n *node) public(err error) error {
	switch {
	case n.ctx.Err() != nil && errors.Is(err, context.Canceled):
		return ErrDraining
	case errors.Is(err, context.DeadlineExceeded):
		return message.Errorf(message.CodeDeadline, "no answer of another node in time")
	}
	return err
}

// These are the methods of requests that join a room.
const (
	methodJoin         = "join"
	methodJoinOrCreate = "joinOrCreate"
	methodSpectate     = "spectate"
)

// serve serves a join, on the node of the session's seat if it has or had one. A client's
// request reaches another node if it was sent before the session took the seat. Joins of
// one session run one at a time, because otherwise it could get two seats.
func (n *node) serve(e *entry, method string, answer func(any, error)) {
	if answer = n.counted(e.s, true, answer); answer == nil {
		return
	}
	to, other := n.home(e.s)
	switch {
	case other:
		n.later(answer, func(ctx context.Context) (any, error) { return n.forward(ctx, e, to, method) })
	case method == methodJoinOrCreate:
		n.enterAny(e, answer)
	default:
		n.enter(e, method, answer)
	}
}

// enterHere is enter on this node.
func (n *node) enterHere(e *entry, method string, answer func(any, error)) {
	if c := n.room(e.req.ID); c != nil && e.req.Kind != "" && c.kind.name != e.req.Kind {
		answer(nil, ErrNotFound)
		return
	}
	done := func(c *core, r seated, err error) {
		if _, moved := n.peerOf(e.req.ID); moved && errors.Is(err, ErrNotFound) {
			n.enter(e, method, answer) // the room moved while the join waited
			return
		}
		answer(n.joined(c, r, e.req.Hash, err))
	}
	if method == methodSpectate {
		n.spectate(e.s, e.req.ID, done)
		return
	}
	n.join(e.s, e.req.ID, e.opts, done)
}

// enterAny is joinOrCreate of the request, on any node.
func (n *node) enterAny(e *entry, answer func(any, error)) {
	others := n.peers(e.req.Kind)
	switch {
	case len(others) > 0:
	case e.kind == nil:
		answer(nil, errNoKind(e.req.Kind))
		return
	default:
		n.joinOrCreate(e, func(c *core, r seated, err error) { answer(n.joined(c, r, e.req.Hash, err)) })
		return
	}
	if p := n.seat(e.s); p != nil && (p.UID == 0 || p.core.kind != e.kind) {
		answer(nil, ErrJoined)
		return
	}
	n.later(answer, func(ctx context.Context) (any, error) { return n.match(ctx, e, others) })
}

// joinOrCreate is enterAny on this node alone. done runs on the scheduler of the room.
func (n *node) joinOrCreate(e *entry, done func(*core, seated, error)) {
	var list []*core
	n.mu.Lock()
	if c := n.held[seatKey{e.kind, e.s.UID()}]; c != nil && e.s.UID() != 0 {
		list = append(list, c)
	}
	n.mu.Unlock()
	for _, i := range n.list(e.kind, e.req.Filter, true) {
		if c := n.room(i.ID); c != nil {
			list = append(list, c)
		}
	}
	n.tryJoin(e, list, done)
}

// tryJoin joins the first room of a list that has a free seat. If none has, it makes a room.
func (n *node) tryJoin(e *entry, list []*core, done func(*core, seated, error)) {
	for i, c := range list {
		if c.do(func() {
			c.joinWith(e.s, e.opts, func(c *core, r seated, err error) {
				if errors.Is(err, ErrFull) || errors.Is(err, ErrLocked) || errors.Is(err, ErrNotFound) {
					n.tryJoin(e, list[i+1:], done)
					return
				}
				done(c, r, err)
			})
		}) {
			return
		}
	}
	if n.seat(e.s) != nil { // it could not join the new room
		done(nil, seated{}, ErrJoined)
		return
	}
	if !n.mayCreate(e) {
		done(nil, seated{}, ErrRate)
		return
	}
	seat := seatFor(e.s)
	n.create(e.kind, draft{labels: e.req.Filter.Equal, claims: []claim{seat}}, e.opts, func(c *core, err error) {
		if err != nil {
			done(nil, seated{}, err)
			return
		}
		c.joinWith(e.s, e.opts, func(c *core, r seated, err error) {
			if err != nil {
				c.cancel(seat)
			}
			done(c, r, err)
		})
	})
}

// mayCreate reports whether the rate of the session's new rooms allows another one.
func (n *node) mayCreate(e *entry) bool {
	limit := n.creates
	if e.kind != nil {
		n.mu.Lock()
		limit = n.kinds[e.kind.name].creates
		n.mu.Unlock()
	}
	return e.unlimited || limit.allow(e.s.ID())
}

// maxTries is the number of offered rooms that a join tries before it requests a new one.
const maxTries = 8

// match joins the room where the user has a seat, the best room that another node or this one offers, or a new one.
func (n *node) match(ctx context.Context, e *entry, others []peer) (any, error) {
	q := &query{Kind: e.req.Kind, Filter: e.req.Filter, UID: e.s.UID(), Free: true, Max: maxOffered}
	for asks := 1; ; asks++ {
		offers := n.ask(ctx, others, q)
		for _, id := range candidates(offers) {
			v, err := n.enterAt(ctx, e.withID(id), methodJoin)
			if !again(err) {
				return v, err
			}
		}
		if asks == 1 && !n.mayCreate(e) {
			return nil, ErrRate
		}
		p := &placement{Kind: e.req.Kind, Filter: e.req.Filter, Options: e.create, Reuse: true}
		if seat := seatFor(e.s); seat.uid != 0 {
			p.UIDs = []int64{seat.uid}
		} else {
			p.Session = seat.session
		}
		i, err := n.placeAt(ctx, places(offers, e.req.Kind, e.req.Filter), p, asks < maxAsks)
		if err == nil {
			return n.enterAt(ctx, e.withID(i.ID), methodJoin)
		}
		if !errors.Is(err, errLoaded) {
			return nil, err
		}
	}
}

// candidates returns the ids of the rooms that a join tries.
func candidates(offers []offered) []string {
	var ids []string
	for _, o := range offers {
		if o.Held != "" {
			ids = append(ids, o.Held)
		}
	}
	for _, i := range rooms(offers) {
		ids = append(ids, i.ID)
	}
	return ids[:min(len(ids), maxTries)]
}

// withID returns the entry for the room with an id.
func (e *entry) withID(id string) *entry {
	with, req := *e, *e.req
	req.ID, req.Code = id, ""
	with.req = &req
	return &with
}

// enterAt calls enter for a request with an id, and waits for the result.
func (n *node) enterAt(ctx context.Context, e *entry, method string) (any, error) {
	to, other := n.peerOf(e.req.ID)
	if !other && n.astray(e.req.ID) {
		if to, other = n.locate(ctx, e.req.ID); !other {
			return nil, ErrNotFound
		}
	}
	if other {
		if n.seat(e.s) != nil {
			return nil, ErrJoined
		}
		return n.forward(ctx, e, to, method)
	}
	return wait(ctx, func(done func(any, error)) { n.enterHere(e, method, done) })
}

// again reports whether a join may try another room after the error.
func again(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, ErrLocked) || errors.Is(err, ErrNotFound) || unavailable(err)
}

// createAny makes a room on the least loaded node.
func (n *node) createAny(e *entry, answer func(any, error)) {
	if answer = n.counted(e.s, false, answer); answer == nil {
		return
	}
	if !n.mayCreate(e) {
		answer(nil, ErrRate)
		return
	}
	others := n.peers(e.req.Kind)
	switch {
	case len(others) > 0:
		n.later(answer, func(ctx context.Context) (any, error) {
			return n.placeAnywhere(ctx, others, &placement{Kind: e.req.Kind, Filter: e.req.Filter, Options: e.create})
		})
	case e.kind == nil:
		answer(nil, errNoKind(e.req.Kind))
	default:
		n.create(e.kind, draft{labels: e.req.Filter.Equal}, e.opts, func(c *core, err error) {
			if err != nil {
				answer(nil, err)
				return
			}
			answer(c.info(), nil)
		})
	}
}

// listAny lists the rooms of all nodes.
func (n *node) listAny(e *entry, answer func(any, error)) {
	if answer = n.counted(e.s, false, answer); answer == nil {
		return
	}
	others := n.peers(e.req.Kind)
	q := &query{Kind: e.req.Kind, Filter: e.req.Filter, Max: maxListed}
	list := func(offers []offered) (any, error) {
		all := rooms(offers)
		return all[:min(len(all), maxListed)], nil
	}
	switch {
	case len(others) > 0:
		n.later(answer, func(ctx context.Context) (any, error) { return list(n.ask(ctx, others, q)) })
	case e.kind == nil:
		answer(nil, errNoKind(e.req.Kind))
	default:
		answer(list([]offered{{n.name, n.offer(q)}}))
	}
}
