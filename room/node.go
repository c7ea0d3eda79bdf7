package room

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/lonng/nano"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/session"
)

// node is the rooms of one server.
type node struct {
	server     *nano.Server
	serializer serialize.Serializer
	log        *slog.Logger

	mu       sync.Mutex
	kinds    map[string]*kindAt // mu guards it and what follows
	rooms    map[string]*core
	seats    map[int64]*Player // by session
	draining bool
	empty    chan struct{} // closed when no room is left; made by drain
}

// kindAt is a kind on one node.
type kindAt struct {
	*kind
	scheds []*scheduler.Scheduler
	rooms  int
	next   int
}

// nodes are the nodes of this process, by server.
var nodes sync.Map

// nodeOf returns the node of a server.
func nodeOf(srv *nano.Server, log *slog.Logger) *node {
	n, _ := nodes.LoadOrStore(srv, &node{
		server: srv,
		log:    log,
		kinds:  map[string]*kindAt{},
		rooms:  map[string]*core{},
		seats:  map[int64]*Player{},
	})
	return n.(*node)
}

func (n *node) name() string { return nodeName(n.server) }

// add makes the node serve a kind.
func (n *node) add(k *kind) {
	at := &kindAt{kind: k}
	for range k.options.schedulers {
		at.scheds = append(at.scheds, scheduler.New())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kinds[k.name] = at
}

// close ends what add has made.
func (n *node) close() {
	n.mu.Lock()
	kinds := slices.Collect(maps.Values(n.kinds))
	n.mu.Unlock()
	for _, k := range kinds {
		for _, s := range k.scheds {
			s.Close()
		}
	}
	nodes.Delete(n.server)
}

// create makes a room. OnCreate runs on the room's scheduler, and then done does; the caller gives an error that happens
// before.
func (n *node) create(k *kind, opts any, done func(*core, error)) {
	n.mu.Lock()
	at := n.kinds[k.name]
	var err error
	switch {
	case at == nil:
		err = fmt.Errorf("room: the server was not given the kind %s: pass its Option", k.name)
	case n.draining:
		err = ErrDraining
	case at.rooms >= k.options.maxRooms:
		err = ErrTooMany
	}
	if err != nil {
		n.mu.Unlock()
		done(nil, err)
		return
	}
	sched := n.server.Scheduler()
	if len(at.scheds) > 0 {
		sched = at.scheds[at.next%len(at.scheds)]
		at.next++
	}
	at.rooms++
	c := newCore(k, n, sched)
	n.rooms[c.id] = c
	n.mu.Unlock()
	c.do(func() {
		if err := c.start(opts); err != nil {
			c.closed = true
			n.remove(c)
			done(nil, err)
			return
		}
		done(c, nil)
	})
}

func (n *node) remove(c *core) {
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

// list returns the rooms of a kind that are not private, sorted by id.
func (n *node) list(k *kind) []Info {
	n.mu.Lock()
	var cores []*core
	for _, c := range n.rooms {
		if c.kind == k && !k.options.private {
			cores = append(cores, c)
		}
	}
	n.mu.Unlock()
	list := make([]Info, len(cores))
	for i, c := range cores {
		list[i] = c.info()
	}
	slices.SortFunc(list, func(a, b Info) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// sit notes the seat of a session. A session has one seat at a time.
func (n *node) sit(s *session.Session, p *Player) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if other := n.seats[s.ID()]; other != nil && other != p {
		return ErrJoined
	}
	n.seats[s.ID()] = p
	return nil
}

// stand forgets the seat of a session.
func (n *node) stand(s *session.Session, p *Player) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seats[s.ID()] == p {
		delete(n.seats, s.ID())
	}
}

// seat returns the seat of a session, nil if it has none.
func (n *node) seat(s *session.Session) *Player {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seats[s.ID()]
}

// drain takes no new rooms, and returns when all rooms have ended or ctx has.
func (n *node) drain(ctx context.Context) {
	n.mu.Lock()
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
	select {
	case <-empty:
	case <-ctx.Done():
	}
	n.mu.Lock()
	left := slices.Collect(maps.Values(n.rooms))
	n.mu.Unlock()
	for _, c := range left {
		c.do(func() { c.close("shutdown") })
	}
}

// joinOrCreate gives a session a seat in the best room that has one, or in a new one. Then done runs on the scheduler of
// that room.
func (n *node) joinOrCreate(s *session.Session, k *kind, f Filter, opts func(create bool) (any, error), done func(*core, seated, error)) {
	list := f.order(n.list(k))
	var try func(i int)
	try = func(i int) {
		for ; i < len(list); i++ {
			if c := n.room(list[i].ID); c != nil && (list[i].open() || s.UID() != 0) {
				c.do(func() {
					n.joinWith(c, s, opts, func(r seated, err error) {
						if isBusy(err) {
							try(i + 1)
							return
						}
						done(c, r, err)
					})
				})
				return
			}
		}
		create, err := opts(true)
		if err != nil {
			done(nil, seated{}, err)
			return
		}
		n.create(k, create, func(c *core, err error) {
			if err != nil {
				done(nil, seated{}, err)
				return
			}
			for key, v := range f.Equal {
				if c.info().Label[key] == nil {
					c.setLabel(key, v)
				}
			}
			n.joinWith(c, s, opts, func(r seated, err error) { done(c, r, err) })
		})
	}
	try(0)
}

func (n *node) joinWith(c *core, s *session.Session, opts func(bool) (any, error), done func(seated, error)) {
	o, err := opts(false)
	if err != nil {
		done(seated{}, err)
		return
	}
	done(c.join(s, o))
}

// isBusy reports whether another room may still take the player.
func isBusy(err error) bool { return err == ErrFull || err == ErrLocked || err == ErrNotFound }

func reasonBody(reason string) []byte {
	b, _ := json.Marshal(struct {
		Reason string `json:"reason"`
	}{reason})
	return b
}
