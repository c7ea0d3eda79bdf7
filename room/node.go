package room

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/session"
)

// node holds the rooms of one server.
type node struct {
	name       string // prefix of the ids of its rooms
	server     *nano.Server
	serializer serialize.Serializer
	json       bool // the serializer is JSON
	log        *slog.Logger
	lobby      *lobby
	addr       atomic.Pointer[string] // see address
	ctx        context.Context        // canceled when the server shuts down
	cancel     context.CancelFunc
	tasksMu    sync.Mutex
	tasks      sync.WaitGroup // see spawn; Add is called under tasksMu
	codes      *codes
	creates    *limiter     // limits rooms of kinds that only other nodes have, by session
	guesses    *limiter     // limits wrong codes, by session
	addresses  *limiter     // limits wrong codes, by address
	asks       *limiter     // limits requests for which all other nodes may be asked, by session
	panics     atomic.Int64 // of all rooms, also those that have ended

	mu       sync.Mutex
	kinds    map[string]*kindAt // mu guards it and the following fields
	rooms    map[string]*core
	sessions map[int64]*occupant // by session
	held     map[seatKey]*core   // by user
	waiting  map[int64]*waiting  // by session
	arrivals map[string]*arrival // rooms that move to this node, by token
	moved    map[string]string   // by room: the node to which this one moved it
	draining bool
	empty    chan struct{} // closed when no room is left; created by drain
}

// kindAt is a kind on one node.
type kindAt struct {
	*kind
	scheds  []*scheduler.Scheduler // created with the first room
	rooms   int
	next    int
	creates *limiter // limits rooms that clients create, by session
}

// occupant is a session that has or had a seat.
type occupant struct {
	player   *Player // nil without a seat
	followed bool    // the end of the session is observed
}

// seatKey identifies the seat of a user in a room of one kind.
type seatKey struct {
	kind *kind
	uid  int64
}

// nodes maps the servers of this process to their nodes.
var nodes sync.Map

// nodeOf returns the node of a server.
func nodeOf(srv *nano.Server, env handler.Env) *node {
	if n, ok := nodes.Load(srv); ok {
		return n.(*node)
	}
	named, ok := env.Serializer.(interface{ Name() string })
	ctx, cancel := context.WithCancel(context.Background())
	fresh := &node{
		name:       env.Instance,
		ctx:        ctx,
		cancel:     cancel,
		codes:      newCodes(),
		creates:    newLimiter(createBurst, createEvery),
		guesses:    newLimiter(guessBurst, guessEvery),
		addresses:  newLimiter(addressBurst, addressEvery),
		asks:       newLimiter(askBurst, askEvery),
		server:     srv,
		serializer: env.Serializer,
		json:       ok && named.Name() == "json",
		log:        env.Log,
		kinds:      map[string]*kindAt{},
		rooms:      map[string]*core{},
		sessions:   map[int64]*occupant{},
		held:       map[seatKey]*core{},
		waiting:    map[int64]*waiting{},
		arrivals:   map[string]*arrival{},
		moved:      map[string]string{},
	}
	fresh.lobby = newLobby(fresh)
	n, _ := nodes.LoadOrStore(srv, fresh)
	return n.(*node)
}

// add makes the node serve a kind.
func (n *node) add(k *kind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kinds[k.name] = &kindAt{kind: k, creates: newLimiter(k.options.createBurst, k.options.createEvery)}
}

func (n *node) has(k *kind) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := n.kinds[k.name]
	return at != nil && at.kind == k
}

// cores returns the rooms of a kind, or of all kinds if k is nil.
func (n *node) cores(k *kind) []*core {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []*core
	for _, c := range n.rooms {
		if k == nil || c.kind == k {
			list = append(list, c)
		}
	}
	return list
}

// close ends the rooms and their schedulers.
func (n *node) close() {
	nodes.Delete(n.server)
	n.lobby.close()
	n.lobby.endEntries()
	for _, c := range n.cores(nil) {
		c.do(func() { c.close("shutdown") })
	}
	n.tasksMu.Lock()
	n.cancel()
	n.tasksMu.Unlock()
	n.mu.Lock()
	n.draining = true
	var scheds []*scheduler.Scheduler
	for _, k := range n.kinds {
		scheds = append(scheds, k.scheds...)
		k.scheds = nil
	}
	n.mu.Unlock()
	for _, s := range scheds {
		s.Close()
	}
	n.tasks.Wait()
}

// scheduler returns the scheduler of a new room. The caller holds mu.
func (n *node) scheduler(at *kindAt) *scheduler.Scheduler {
	count := at.options.schedulers
	if count == 0 {
		return n.server.Scheduler()
	}
	for len(at.scheds) < count {
		at.scheds = append(at.scheds, scheduler.New(scheduler.WithLogger(n.log)))
	}
	at.next++
	return at.scheds[at.next%count]
}

// onAny reports whether the caller runs on a scheduler that handlers or rooms of the server run on.
func (n *node) onAny() bool {
	if onScheduler(n.server.Scheduler()) {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, at := range n.kinds {
		if slices.ContainsFunc(at.scheds, onScheduler) {
			return true
		}
	}
	return false
}

// draft is what a room has before others can join it.
type draft struct {
	labels map[string]any
	claims []claim       // reserved seats
	teams  map[int64]int // teams of users
}

// create creates a room. OnCreate and then done run on the room's scheduler. If there is
// an error before that, the caller's goroutine runs done.
func (n *node) create(k *kind, d draft, opts decoder, done func(*core, error)) {
	o, err := opts(k.create)
	if err != nil {
		done(nil, err)
		return
	}
	c, err := n.newRoom(k, d)
	if err != nil {
		done(nil, err)
		return
	}
	start := func(err error) {
		if err != nil {
			c.abandon()
			done(nil, err)
			return
		}
		if !c.direct(func() {
			defer c.runEarly()
			if err := c.start(o); err != nil {
				c.abandon()
				done(nil, err)
				return
			}
			c.limitClaims()
			done(c, nil)
		}) {
			c.abandon()
			done(nil, ErrDraining)
		}
	}
	if k.options.private {
		n.assignCode(c, start)
		return
	}
	start(nil)
}

func (n *node) newRoom(k *kind, d draft) (*core, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := n.kinds[k.name]
	switch {
	case at == nil || at.kind != k:
		return nil, ErrNoServer
	case n.draining:
		return nil, ErrDraining
	case at.rooms >= k.options.maxRooms:
		return nil, ErrTooMany
	}
	c := newCore(k, n, n.scheduler(at))
	for key, v := range d.labels {
		c.setLabel(key, v)
	}
	c.assign(d.teams)
	if err := c.claimUnlimited(d.claims); err != nil {
		return nil, err
	}
	at.rooms++
	n.rooms[c.id] = c
	return c, nil
}

func (n *node) remove(c *core) {
	n.codes.release(c.getCode(), c.id)
	n.drop(c)
}

// drop removes a room from the lists of the node.
func (n *node) drop(c *core) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.rooms[c.id] != c {
		return
	}
	delete(n.rooms, c.id)
	n.kinds[c.kind.name].rooms--
	if n.empty != nil && len(n.rooms) == 0 {
		close(n.empty)
		n.empty = nil
	}
}

func (n *node) room(id string) *core {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rooms[id]
}

// list returns the rooms of a kind that fit a filter, in its order. If free is true, it
// only returns rooms with a free seat. It omits private rooms.
func (n *node) list(k *kind, f Filter, free bool) []Info { return infos(n.ranked(k, f, free)) }

// ranked is list with the rank of each room.
func (n *node) ranked(k *kind, f Filter, free bool) []ranked {
	if k.options.private {
		return nil
	}
	var list []ranked
	for _, c := range n.cores(k) {
		if r, ok := c.rank(f, free); ok {
			list = append(list, r)
		}
	}
	return order(list)
}

// sit records the seat of a session. A session has one seat at a time.
func (n *node) sit(s *session.Session, p *Player) error {
	if err := n.take(s, p); err != nil {
		return err
	}
	n.bind(s, p.core.kind)
	return nil
}

// take is sit on this node alone.
func (n *node) take(s *session.Session, p *Player) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.sessions[s.ID()]
	if o == nil {
		o = &occupant{}
		n.sessions[s.ID()] = o
	}
	if o.player != nil && o.player != p {
		return ErrJoined
	}
	o.player = p
	if p.UID != 0 && !p.spectator {
		n.held[seatKey{p.core.kind, p.UID}] = p.core
	}
	return nil
}

// stand removes the seat of a session.
func (n *node) stand(s *session.Session, p *Player) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.sessions[s.ID()]
	if o == nil || o.player != p {
		return
	}
	setWill(s, "", nil)
	o.player = nil
	if !o.followed {
		delete(n.sessions, s.ID())
	}
}

// release removes the record that a user has a seat.
func (n *node) release(p *Player) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if key := (seatKey{p.core.kind, p.UID}); n.held[key] == p.core && !p.spectator {
		delete(n.held, key)
	}
}

// seat returns the seat of a session, nil if it has none.
func (n *node) seat(s *session.Session) *Player {
	n.mu.Lock()
	defer n.mu.Unlock()
	if o := n.sessions[s.ID()]; o != nil {
		return o.player
	}
	return nil
}

// follow updates the seat of a session when the session is suspended, resumed or closed.
func (n *node) follow(s *session.Session) {
	n.mu.Lock()
	o := n.sessions[s.ID()]
	known := o == nil || o.followed
	if !known {
		o.followed = true
	}
	n.mu.Unlock()
	if known {
		return
	}
	onSuspend(s, func() { n.onSeat(s, (*core).drop) }, func() { n.onSeat(s, (*core).returned) })
	s.OnClose(func(*session.Session, error) {
		n.onSeat(s, func(c *core, p *Player) {
			p.session = nil
			n.stand(s, p)
			c.drop(p)
		})
		n.mu.Lock()
		defer n.mu.Unlock()
		if o := n.sessions[s.ID()]; o != nil && o.player == nil {
			delete(n.sessions, s.ID())
		} else if o != nil {
			o.followed = false // stand deletes the record
		}
	})
}

// onSeat calls f with the seat of a session, on the scheduler of the seat's room.
func (n *node) onSeat(s *session.Session, f func(*core, *Player)) {
	p := n.seat(s)
	if p == nil {
		return
	}
	p.core.do(func() {
		if p.session == s && p.why == nil {
			f(p.core, p)
		}
	})
}

// drain stops accepting rooms, and returns when all rooms have ended, or at most closeTime
// after ctx.
func (n *node) drain(ctx context.Context) {
	n.lobby.close()
	n.lobby.handOver(ctx)
	n.mu.Lock()
	first := !n.draining // the components of several kinds call drain
	n.draining = true
	if len(n.rooms) == 0 {
		n.mu.Unlock()
		return
	}
	if n.empty == nil {
		n.empty = make(chan struct{})
	}
	empty := n.empty
	n.mu.Unlock()
	for _, c := range n.cores(nil) {
		c.do(c.endDeserted)
	}
	if first {
		var moves sync.WaitGroup
		defer moves.Wait()
		moving, stop := context.WithCancel(ctx)
		defer stop()
		moves.Go(func() { n.moveRooms(moving) })
	}
	select {
	case <-empty:
	case <-ctx.Done():
	}
	for _, c := range n.cores(nil) {
		c.do(func() { c.close("shutdown") })
	}
	select {
	case <-empty:
	case <-time.After(closeTime): // a room blocks its scheduler
	}
}

// closeTime is how long a server that shuts down waits for the rooms to close.
const closeTime = time.Second

func (n *node) isDraining() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.draining
}

// join gives a session a seat in a room. Then done runs on the scheduler of the room.
func (n *node) join(s *session.Session, id string, opts decoder, done func(*core, seated, error)) {
	c := n.room(id)
	if c == nil || !c.do(func() { c.joinWith(s, opts, done) }) {
		done(nil, seated{}, ErrNotFound)
	}
}

// spectate lets a session watch a room.
func (n *node) spectate(s *session.Session, id string, done func(*core, seated, error)) {
	c := n.room(id)
	if c == nil || !c.do(func() {
		p, err := c.spectate(s)
		done(c, seated{player: p}, err)
	}) {
		done(nil, seated{}, ErrNotFound)
	}
}

// joinWith is join on the scheduler of the room.
func (c *core) joinWith(s *session.Session, opts decoder, done func(*core, seated, error)) {
	o, err := opts(c.kind.join)
	if err != nil {
		done(c, seated{}, err)
		return
	}
	r, err := c.join(s, o)
	done(c, r, err)
}

func reasonBody(reason string) []byte {
	b, _ := json.Marshal(struct { // strings always encode
		Reason string `json:"reason"`
	}{reason})
	return b
}
