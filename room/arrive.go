package room

import (
	"encoding/json"
	"time"

	"github.com/lonng/nano/session"
)

// This file moves a room to this node: see move.go.

// arrivalTime is how long a node keeps an arrival after the image came. It is longer than
// the other node waits.
const arrivalTime = 4 * moveTime

// arrival is a room that moves to this node. The room's scheduler owns the last field.
type arrival struct {
	core  *core
	from  string // address of the node that has the room
	timer *time.Timer
	state arrivalState
}

type arrivalState int

const (
	arrivalOpen arrivalState = iota
	arrivalCommitted
	arrivalEnded
)

// moveToken names a move.
type moveToken struct {
	Token string `json:"token"`
}

// moveEnd is the answer to an abort.
type moveEnd struct {
	Committed bool `json:"committed"`
}

// arrive makes a room of an image. The room is stopped and not listed until the commit.
func (n *node) arrive(i *image, done func(any, error)) {
	k, err := n.kindOf(i.Kind)
	if err == nil && k.schema.Hash != i.Hash {
		err = errKindDiffers
	}
	var c *core
	if err == nil {
		c, err = n.reserveRoom(k)
	}
	if err != nil {
		done(nil, err)
		return
	}
	if !c.movable() {
		n.unreserveRoom(k)
		done(nil, ErrNotMovable)
		return
	}
	if !c.direct(func() {
		c.park()
		c.arriving, c.token = true, i.Token
		if err := c.restore(i); err != nil {
			c.closed = true
			n.unreserveRoom(k)
			done(nil, err)
			return
		}
		a := &arrival{core: c, from: i.From}
		n.mu.Lock()
		n.arrivals[i.Token] = a
		n.mu.Unlock()
		a.timer = time.AfterFunc(arrivalTime, func() { n.expire(i.Token, a) })
		done(struct{}{}, nil)
	}) {
		n.unreserveRoom(k)
		done(nil, ErrDraining)
	}
}

// reserveRoom makes a room that counts but is not listed.
func (n *node) reserveRoom(k *kind) (*core, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := n.kinds[k.name]
	switch {
	case n.draining:
		return nil, ErrDraining
	case at.rooms >= k.options.maxRooms:
		return nil, ErrTooMany
	}
	at.rooms++
	return newCore(k, n, n.scheduler(at)), nil
}

func (n *node) unreserveRoom(k *kind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kinds[k.name].rooms--
}

func (n *node) arrivalOf(token string) *arrival {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.arrivals[token]
}

// adopt gives the session of a call the seat of a player in a room that arrives.
func (s *server) adopt(from *session.Session, data any) (any, error) {
	var req adoption
	if err := json.Unmarshal(data.([]byte), &req); err != nil {
		return nil, badRequest("%v", err)
	}
	n := s.node
	a := n.arrivalOf(req.Token)
	if a == nil {
		return nil, ErrNotFound
	}
	r := from.Defer()
	if !a.core.direct(func() {
		if err := a.seat(from, req.Player); err != nil {
			_ = r.Fail(err)
			return
		}
		_ = r.Reply([]byte("{}"))
	}) {
		return nil, ErrDraining
	}
	return nil, nil
}

// seat gives a session the seat of a player.
func (a *arrival) seat(s *session.Session, id PlayerID) error {
	c := a.core
	p := c.player(id)
	if a.state != arrivalOpen || p == nil || p.session != nil && p.session != s {
		return ErrNotFound
	}
	if p.session == s {
		return nil
	}
	if err := c.node.take(s, p); err != nil {
		return err
	}
	p.session = s
	c.node.follow(s)
	c.node.route(s, c.kind, c.node.address())
	return nil
}

// turn answers a call of a session in the session's turn.
func (s *server) turn(*session.Session, any) (any, error) { return []byte("{}"), nil }

// route binds the room requests of a session, and its messages to a kind, to the node at
// an address.
func (n *node) route(s *session.Session, k *kind, addr string) {
	s.Router().Bind(service, addr)
	s.Router().Bind(k.name, addr)
}

// commit starts a room that has arrived, and runs the messages that moved with it.
func (n *node) commit(d *departure, done func(any, error)) {
	a := n.arrivalOf(d.Token)
	if a == nil || !a.core.direct(func() {
		if a.state != arrivalOpen || a.core.closed { // closed by code that Load has left behind
			done(nil, ErrNotFound)
			return
		}
		a.core.reserveAgain(d.Reserved) // before others can reserve
		if err := n.enlist(a.core); err != nil {
			done(nil, err) // the other node calls abort
			return
		}
		a.state = arrivalCommitted
		a.core.arriving = false
		done(moveReplies{a.core.settle(d)}, nil)
	}) {
		done(nil, ErrNotFound)
	}
}

// enlist adds a room that has arrived to the lists of the node.
func (n *node) enlist(c *core) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.draining:
		return ErrDraining
	case n.rooms[c.id] != nil:
		return ErrMoving
	}
	n.rooms[c.id] = c
	delete(n.moved, c.id)
	for _, p := range c.players {
		if p.UID != 0 && !p.spectator {
			n.held[seatKey{c.kind, p.UID}] = c
		}
	}
	return nil
}

// settle starts the room, and runs the kept messages.
func (c *core) settle(d *departure) []movedReply {
	n := c.node
	if code := c.getCode(); code != "" && n.codes.keep(code, c.id) {
		n.spawn(n.renewCodes)
	}
	work := c.parked.work
	c.parked.work = nil
	c.unpark()
	for _, p := range c.players {
		c.resettle(p)
	}
	var replies []movedReply
	for _, m := range d.Messages {
		replies = append(replies, c.serveMoved(&m))
	}
	c.runKept(work)
	c.watchEmpty()
	c.touch()
	for _, at := range c.copies {
		n.spawn(func() { n.dropCopy(c, at) })
	}
	return replies
}

// resettle applies what happened to the session of a player during the move.
func (c *core) resettle(p *Player) {
	s := p.session
	switch {
	case s == nil || s.Closed():
		p.session = nil
		if s != nil {
			c.node.stand(s, p)
		}
		c.drop(p)
		return
	case s.Suspended():
		c.drop(p)
	default:
		c.returned(p)
	}
	p.counted = time.Since(c.base)
	setWill(s, routeClosed, nodeDown)
}

// reserveAgain reserves the seats of a room that has arrived.
func (c *core) reserveAgain(list []reservation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range list {
		c.reserveFor(claim{r.UID, r.Session}, r.Left)
	}
}

// abort drops a room that has arrived, unless the commit has happened.
func (n *node) abort(t *moveToken, done func(any, error)) {
	a := n.arrivalOf(t.Token)
	if a == nil || !a.core.direct(func() {
		if a.state == arrivalOpen {
			a.discard()
		}
		done(moveEnd{a.state == arrivalCommitted}, nil)
	}) {
		done(moveEnd{}, nil)
	}
}

// expire forgets an arrival. A room without a commit is dropped.
func (n *node) expire(token string, a *arrival) {
	n.mu.Lock()
	delete(n.arrivals, token)
	n.mu.Unlock()
	a.core.direct(func() {
		if a.state == arrivalOpen {
			a.discard()
		}
	})
}

// discard drops the room. Its sessions and messages go back to the node that has it.
func (a *arrival) discard() {
	c := a.core
	a.state = arrivalEnded
	sessions := map[*Player]*session.Session{}
	for _, p := range c.players {
		sessions[p] = p.session
	}
	c.leaveNode()
	for _, s := range sessions {
		if s == nil {
			continue
		}
		if at, _ := s.Router().Find(service); at == c.node.address() { // otherwise the room has moved to a third node
			c.node.route(s, c.kind, a.from)
		}
	}
	c.node.unreserveRoom(c.kind)
	work := c.parked.work
	c.parked = nil
	c.runKept(work)
}
