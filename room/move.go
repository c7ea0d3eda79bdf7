package room

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// This file moves a room to another node: the part of the node that has the room. The
// part of the other node is in arrive.go.
//
//  1. The room is stopped, and its image is sent: arrive.
//  2. Each session is handed over: adopt. The other node gives it the seat, and binds it.
//  3. All messages that the gates have sent here have arrived, so they move too: commit.
//     From here on, the other node has the room.
//
// After an error before the commit, the other node drops the image and the room continues
// here. After that, indoubt.go finds out which node has the room.

// moveTime is the time limit of the steps before the commit.
const moveTime = 10 * time.Second

// maxHandovers is the number of sessions that are handed over at a time.
const maxHandovers = 64

// These errors are returned by [Move].
var (
	ErrNotMovable = message.Errorf("ROOM-NOT-MOVABLE", "rooms of the kind have no methods Save() ([]byte, error) and Load([]byte) error")
	ErrMoving     = message.Errorf("ROOM-MOVING", "the room is already moving, or another node may still have a copy of it")
	ErrInDoubt    = message.Errorf("ROOM-IN-DOUBT", "the other node did not say whether it has the room")
	ErrNoNode     = message.Errorf("ROOM-NO-NODE", "no other node takes the room")
)

// errKindDiffers is returned by a node whose kind has another state.
var errKindDiffers = message.Errorf("ROOM-KIND", "the node has another version of the kind")

// Movable is implemented by rooms that can move to another node: see [Move].
type Movable interface {
	// Save returns what Load needs to continue the room, apart from State. The room does
	// not change afterwards, unless the move fails and the room continues.
	Save() ([]byte, error)
	// Load continues the room on another node. State, the players, labels and Rand are
	// those of the saved room. The players have no sessions yet, and the field Data of
	// Player is empty. Load starts the room's timers again. OnCreate does not run.
	Load(data []byte) error
}

// Move moves a room to another node of the cluster, without a loss for its players. The
// room keeps its id, code, seats, reservations, labels, tick, random source and exported
// fields of State, and runs the messages that arrive meanwhile. Each client gets a
// snapshot of the state next.
//
// node is the address of the other node as in nano.Server.Members, or "" for the least
// loaded node with the kind. The room must be [Movable]. Move may be called at any node
// of the cluster. A server that shuts down moves its movable rooms by itself.
//
// After an error the room continues where it was. The errors are [ErrNotMovable], [ErrNotFound],
// [ErrMoving], [ErrInDoubt], [ErrNoNode], [ErrLogic], those of Save and Load, and those of ctx and
// of the other node. The steps before the room changes its node take 10 s at most. If the last step
// has no answer, this node asks the other one for up to 3 s, also through the gates of the players.
// After that the room continues where it was. If the other node has started a copy, it drops the
// copy as soon as it can be reached. Until then, and for 30 s at most, Move returns ErrMoving. A
// room whose State and saved data exceed about 10 MiB cannot move.
func Move(ctx context.Context, id, node string) error {
	owner, members := nodesFor(id)
	onAny := false
	for _, n := range members {
		onAny = onAny || n.onAny()
	}
	switch {
	case owner != nil && owner.onAny(), owner == nil && onAny:
		return ErrLogic
	case owner != nil:
		return owner.move(ctx, id, node)
	case len(members) == 0:
		return ErrNoServer
	}
	for _, n := range members {
		if at, ok := n.locate(ctx, id); ok {
			return n.call(ctx, at.name, methodMove, &moveOrder{id, node}, &struct{}{})
		}
	}
	return ErrNotFound
}

// nodesFor returns the node of this process that has a room, and those that may know
// another node which has it.
func nodesFor(id string) (owner *node, members []*node) {
	nodes.Range(func(_, v any) bool {
		n := v.(*node)
		if n.room(id) != nil {
			owner = n
		} else if n.address() != "" && !ended(n.server.Scheduler()) {
			members = append(members, n)
		}
		return owner == nil
	})
	return owner, members
}

// moveOrder asks a node to move one of its rooms.
type moveOrder struct {
	ID   string `json:"id"`
	Node string `json:"node"`
}

// moveFor serves a moveOrder of another node.
func (n *node) moveFor(o *moveOrder, done func(any, error)) {
	n.later(done, func(ctx context.Context) (any, error) { return struct{}{}, n.move(ctx, o.ID, o.Node) })
}

// move is Move for a room of this node.
func (n *node) move(ctx context.Context, id, to string) error {
	c := n.room(id)
	switch {
	case c == nil:
		return ErrNotFound
	case !c.movable():
		return ErrNotMovable
	}
	targets, err := n.targets(ctx, c.kind, to)
	if err != nil {
		return err
	}
	err = ErrNoNode
	for _, p := range targets {
		if err = n.moveTo(ctx, c, p); err == nil || ctx.Err() != nil || !tryNext(err) {
			return err
		}
	}
	return err
}

// tryNext reports whether a room may be moved to another node after the error.
func tryNext(err error) bool {
	return errors.Is(err, ErrDraining) || errors.Is(err, ErrTooMany) || errors.Is(err, errKindDiffers) || unavailable(err)
}

func (c *core) movable() bool {
	_, ok := reflect.TypeAssert[Movable](c.value)
	return ok
}

// targets returns the nodes to which a room may be moved, the best one first.
func (n *node) targets(ctx context.Context, k *kind, to string) ([]peer, error) {
	list := n.peers(k.name)
	if to != "" {
		list = slices.DeleteFunc(list, func(p peer) bool { return p.addr != to })
	} else if len(list) > 1 {
		var sorted []peer
		for _, o := range places(n.ask(ctx, list, &query{Kind: k.name}), k.name, Filter{}) {
			if p, ok := n.peerNamed(o.node); ok {
				sorted = append(sorted, p)
			}
		}
		list = sorted
	}
	if len(list) == 0 {
		return nil, ErrNoNode
	}
	return list, nil
}

// onRoom runs f on the scheduler of the room and returns its error. It does not wait for
// the end of a move. If ctx ends before f begins, f does not run.
func (c *core) onRoom(ctx context.Context, f func() error) error {
	var begun atomic.Bool
	done := make(chan error, 1)
	if !c.direct(func() {
		if begun.CompareAndSwap(false, true) {
			done <- c.guard("move", f)
		}
	}) {
		return ErrNotFound
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if begun.CompareAndSwap(false, true) {
		return ctx.Err()
	}
	return <-done
}

// endMove runs f, which ends a move, on the scheduler of the room. It waits for f until
// ctx ends.
func (c *core) endMove(ctx context.Context, f func()) error {
	_, err := wait(ctx, func(done func(struct{}, error)) {
		if !c.direct(func() {
			done(struct{}{}, c.guard("move", func() error { f(); return nil }))
		}) {
			done(struct{}{}, ErrNotFound)
		}
	})
	return err
}

// extended returns a context that ends d after ctx.
func extended(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return later, func() {
		stop()
		cancel()
	}
}

// moveTo moves a room to a node. It returns when the room is at one of the two nodes, and
// at most closeTime after ctx, unless the program's Save runs longer.
func (n *node) moveTo(ctx context.Context, c *core, to peer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(n.ctx, cancel)
	defer stop()
	commit, end := extended(ctx, closeTime/2) // so that a caller who leaves does not put the move in doubt
	defer end()
	last, end := extended(ctx, closeTime)
	defer end()
	steps, cancel := context.WithTimeout(ctx, moveTime)
	defer cancel()
	var i *image
	var sessions map[PlayerID]*session.Session
	if err := c.onRoom(steps, func() (err error) {
		i, sessions, err = c.pack(newID(n.name))
		return err
	}); err != nil {
		return err
	}
	d, held, err := n.handOver(steps, c, to, i, sessions)
	if err != nil {
		return n.giveUp(last, c, to, i.Token, err)
	}
	if err := ctx.Err(); err != nil {
		return n.giveUp(last, c, to, i.Token, err)
	}
	n.noteMove(c.id, to.name) // first, so that the other node can have it forgotten if the room ends there
	commit, cancel = context.WithTimeout(commit, moveTime)
	defer cancel()
	var r moveReplies
	if err = n.call(commit, to.name, methodCommit, d, &r); err == nil {
		return c.endMove(last, func() { c.depart(held, r.Replies) })
	}
	e, known := n.askEnd(last, to, i.Token, sessions)
	switch {
	case e.Committed:
		return c.endMove(last, func() { c.depart(held, nil) })
	case known:
		return errors.Join(err, c.endMove(last, c.stay))
	}
	err = message.Errorf(ErrInDoubt.Code, "%s: %v", ErrInDoubt.Message, err)
	at := copyAt{to.name, i.Token}
	err = errors.Join(err, c.endMove(last, func() { c.stayInDoubt(at) }))
	n.spawn(func() { n.dropCopy(c, at) })
	return err
}

// noteMove records where this node moves a room. It has no effect while the room is here.
func (n *node) noteMove(id, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.moved[id] = name
}

// handOver does the steps before the commit.
func (n *node) handOver(ctx context.Context, c *core, to peer, i *image, sessions map[PlayerID]*session.Session) (d *departure, held []*incoming, err error) {
	if err := n.call(ctx, to.name, methodArrive, i, &struct{}{}); err != nil {
		return nil, nil, err
	}
	if err := n.handSessions(ctx, to, i.Token, sessions); err != nil {
		return nil, nil, err
	}
	err = c.onRoom(ctx, func() error {
		d, held, err = c.seal(i.Token)
		return err
	})
	return d, held, err
}

// adoption asks the other node to give a session its seat.
type adoption struct {
	Token  string   `json:"token"`
	Player PlayerID `json:"player"`
}

// handSessions hands sessions over.
func (n *node) handSessions(ctx context.Context, to peer, token string, sessions map[PlayerID]*session.Session) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, maxHandovers)
	var wg sync.WaitGroup
	for id, s := range sessions {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := n.handSession(ctx, to, &adoption{token, id}, s); err != nil && !s.Closed() {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// handSession hands one session over. When it returns, all messages that the gate has
// sent to this node for the session have run or are kept.
func (n *node) handSession(ctx context.Context, to peer, a *adoption, s *session.Session) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	// The first call binds the session. The gate makes calls in the session's turn, so
	// when the second call returns, all messages before the new binding have arrived.
	for range 2 {
		if err := s.Call(ctx, nodeService(to.name)+"."+methodAdopt, body, nil); err != nil {
			return err
		}
	}
	// They run before this call returns.
	return s.Call(ctx, nodeService(n.name)+"."+methodTurn, []byte{}, nil)
}

// giveUp ends a move after an error before the commit. The room continues here. If the
// abort has no answer, the other node drops its image after arrivalTime.
func (n *node) giveUp(ctx context.Context, c *core, to peer, token string, err error) error {
	abort, cancel := context.WithTimeout(ctx, doubtTime)
	defer cancel()
	_ = n.call(abort, to.name, methodAbort, &moveToken{token}, &moveEnd{})
	return errors.Join(err, c.endMove(ctx, c.stay))
}

// pack stops the room and returns its image, and the sessions of its players.
func (c *core) pack(token string) (*image, map[PlayerID]*session.Session, error) {
	switch {
	case c.closed || c.sync == nil: // it has ended, or has not started
		return nil, nil, ErrNotFound
	case c.parked != nil || time.Now().Before(c.doubt):
		return nil, nil, ErrMoving
	}
	c.park()
	i, err := c.image(token)
	if err != nil {
		c.unpark()
		return nil, nil, err
	}
	sessions := map[PlayerID]*session.Session{}
	for _, p := range c.players {
		if p.session != nil && !p.session.Closed() {
			sessions[p.ID] = p.session
		}
	}
	return i, sessions, nil
}

// departure is the last part of a room that moves.
type departure struct {
	Token    string         `json:"token"`
	Reserved []reservation  `json:"reserved,omitempty"`
	Messages []movedMessage `json:"messages,omitempty"`
}

// moveReplies is the answer to a departure.
type moveReplies struct {
	Replies []movedReply `json:"replies,omitempty"`
}

// seal returns the departure, and the messages in it that need an answer. From here on,
// no seat can be reserved.
func (c *core) seal(token string) (*departure, []*incoming, error) {
	d := &departure{Token: token}
	var held []*incoming
	var err error
	if d.Messages, held, err = c.waiting(); err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	for key, t := range c.reserved {
		d.Reserved = append(d.Reserved, reservation{key.uid, key.session, time.Until(t.until)})
	}
	return d, held, nil
}

// stay continues the room here.
func (c *core) stay() {
	c.node.forget(c.id)
	c.mu.Lock()
	c.gone = false
	c.mu.Unlock()
	for _, p := range c.players {
		if p.session != nil {
			c.node.route(p.session, c.kind, c.node.address())
			setWill(p.session, routeClosed, nodeDown)
		}
	}
	c.unpark()
}

// depart removes the room from this node after it has moved.
func (c *core) depart(held []*incoming, replies []movedReply) {
	c.vacate()
	c.answerMoved(held, replies)
	work := c.parked.work
	c.parked = nil
	c.runKept(work)
}

// vacate removes the room from this node, because another one has it.
func (c *core) vacate() {
	c.leaveNode()
	c.node.codes.leave(c.getCode(), c.id)
	c.node.drop(c)
}

// leaveNode closes the room on this node only.
func (c *core) leaveNode() {
	c.closed, c.away = true, true
	c.endRecording()
	c.endReservations()
	for _, p := range c.players {
		c.node.release(p)
		if p.session != nil {
			c.node.stand(p.session, p)
			p.session = nil
		}
	}
}

// moveRooms moves the rooms of a node that drains, until none is left that can move or
// ctx ends.
func (n *node) moveRooms(ctx context.Context) {
	again := time.NewTicker(moveAgain)
	defer again.Stop()
	var mu sync.Mutex
	failed := map[string]int{} // attempts, by room
	for round := 1; ; round++ {
		slots := make(chan struct{}, maxMoves)
		var wg sync.WaitGroup
		for _, c := range n.cores(nil) {
			mu.Lock()
			due := round%(1<<min(failed[c.id], maxBackoff)) == 0
			mu.Unlock()
			if !due || !c.mayMove() {
				continue
			}
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				err := n.move(ctx, c.id, "")
				if err == nil || errors.Is(err, ErrNotFound) || ctx.Err() != nil {
					return
				}
				n.log.Warn("nano: a room was not moved", "room", c.id, "error", err)
				if unavailable(err) || errors.Is(err, ErrInDoubt) || errors.Is(err, ErrMoving) {
					return // such as a gate that does not know the other node yet
				}
				mu.Lock()
				failed[c.id]++
				mu.Unlock()
				c.do(c.stays)
			})
		}
		wg.Wait()
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

const (
	maxMoves   = 8           // number of rooms that a draining node moves at a time
	moveAgain  = time.Second // interval at which a draining node tries to move its rooms
	maxBackoff = 4           // a room that cannot move is tried every 2^4 intervals at least
)

// mayMove reports whether the room can move and there is a node for it. It may be called
// from any goroutine.
func (c *core) mayMove() bool { return c.movable() && len(c.node.peers(c.kind.name)) > 0 }

// stays records that a draining node could not move the room.
func (c *core) stays() {
	c.unmoved = true
	c.endDeserted()
}
