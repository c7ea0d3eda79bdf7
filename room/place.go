package room

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/lonng/nano/internal/message"
)

// This file finds a room for a join, and a node for a new room. Nodes describe their
// rooms in offers. An offer may be out of date when the join arrives, so the room's node
// decides.

// query asks a node for its rooms for a join or a list.
type query struct {
	Kind   string `json:"kind"`
	Filter Filter `json:"filter"`
	UID    int64  `json:"uid,omitempty"`
	Free   bool   `json:"free,omitempty"` // only rooms that accept a new player
	Max    int    `json:"max"`
}

// offer is the answer to a query.
type offer struct {
	Held   string   `json:"held,omitempty"` // the room where the user has a seat
	Rooms  []ranked `json:"rooms,omitempty"`
	Load   int      `json:"load"`   // load of the node
	Closed bool     `json:"closed"` // the node accepts no new rooms of the kind
}

// maxOffered is the maximum number of rooms that a node offers for a join.
const maxOffered = 8

// offer returns the rooms of this node that fit a query. A node that drains offers no room to new players.
func (n *node) offer(q *query) offer {
	n.mu.Lock()
	at := n.kinds[q.Kind]
	if at == nil {
		n.mu.Unlock()
		return offer{Closed: true}
	}
	draining := n.draining
	o := offer{Closed: draining || at.rooms >= at.options.maxRooms}
	if c := n.held[seatKey{at.kind, q.UID}]; c != nil && q.UID != 0 {
		o.Held = c.id
	}
	n.mu.Unlock()
	o.Load = n.load()
	if q.Max > 0 && (!draining || !q.Free) {
		list := n.ranked(at.kind, q.Filter, q.Free)
		o.Rooms = list[:min(len(list), q.Max)]
	}
	return o
}

// load returns the number of rooms of the node plus the number of their taken seats.
func (n *node) load() int {
	all := n.cores(nil)
	load := len(all)
	for _, c := range all {
		load += c.seatsTaken()
	}
	return load
}

func (c *core) seatsTaken() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken
}

// offered is the offer of one node.
type offered struct {
	node string // name of the node
	offer
}

// askTime is the time limit of a node's answer to a query. A node without an answer is
// treated as having no room for the join.
const askTime = time.Second

// ask sends a query to this node and to others, and returns the offers.
func (n *node) ask(ctx context.Context, others []peer, q *query) []offered {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answers := make([]*offered, len(others))
	var wg sync.WaitGroup
	for i, p := range others {
		wg.Go(func() {
			o := &offered{node: p.name}
			if n.call(ctx, p.name, methodOffer, q, &o.offer) == nil {
				answers[i] = o
			}
		})
	}
	list := []offered{{n.name, n.offer(q)}}
	wg.Wait()
	for _, o := range answers {
		if o != nil {
			list = append(list, *o)
		}
	}
	return list
}

// rooms returns the rooms of offers in the order of a filter.
func rooms(offers []offered) []Info {
	var list []ranked
	for _, o := range offers {
		list = append(list, o.Rooms...)
	}
	return infos(order(list))
}

// places returns the nodes that accept new rooms, the least loaded first. The order of
// nodes with equal loads depends only on the kind and the filter. So concurrent joins at
// several nodes create a single room.
func places(offers []offered, kind string, f Filter) []offered {
	list := slices.DeleteFunc(slices.Clone(offers), func(o offered) bool { return o.Closed })
	key, _ := json.Marshal(f) // a client's filter always encodes; otherwise the order depends on the kind
	slices.SortFunc(list, func(a, b offered) int {
		return cmp.Or(cmp.Compare(a.Load, b.Load), cmp.Compare(weight(b.node, kind+string(key)), weight(a.node, kind+string(key))))
	})
	return list
}

// weight returns the weight of a node for a key in rendezvous hashing. The node with the
// largest weight is chosen.
func weight(node, key string) uint64 {
	sum := sha256.Sum256([]byte(node + "\x00" + key))
	return binary.BigEndian.Uint64(sum[:])
}

// placement asks a node for a room with reserved seats.
type placement struct {
	Kind    string          `json:"kind"`
	Filter  Filter          `json:"filter"`
	Options json.RawMessage `json:"options"`           // options for OnCreate
	Session int64           `json:"session,omitempty"` // session to reserve a seat for
	UIDs    []int64         `json:"uids,omitempty"`    // users to reserve a seat for
	Teams   map[int64]int   `json:"teams,omitempty"`   // the teams of users
	Reuse   bool            `json:"reuse,omitempty"`   // an existing room of the node that fits the filter may be used
	Most    int             `json:"most,omitempty"`    // maximum load at which the node creates a room; 0 for no bound
}

// If many rooms are created at once, the load of a node may be higher than in its offer.
// If it is higher by more than loadSlack, the node refuses with errLoaded. Then the nodes
// are asked again, at most maxAsks times.
const (
	loadSlack = 2
	maxAsks   = 4
)

var errLoaded = message.Errorf("ROOM-LOADED", "the node has more load than before")

func (p *placement) claims() []claim {
	var list []claim
	if p.Session != 0 {
		list = append(list, claim{session: p.Session})
	}
	for _, uid := range p.UIDs {
		list = append(list, claim{uid: uid})
	}
	return list
}

// place finds or makes a room on this node and reserves the seats. done is called once, on any goroutine.
func (n *node) place(p *placement, done func(Info, error)) {
	k, err := n.kindOf(p.Kind)
	if err != nil {
		done(Info{}, err)
		return
	}
	claims := p.claims()
	if p.Reuse {
		for _, i := range n.list(k, p.Filter, true) {
			if c := n.room(i.ID); c != nil && c.claim(claims) == nil {
				done(i, nil)
				return
			}
		}
	}
	if p.Most > 0 && n.load() > p.Most {
		done(Info{}, errLoaded)
		return
	}
	n.create(k, draft{p.Filter.Equal, claims, p.Teams}, n.decoder(p.Options), func(c *core, err error) {
		if err != nil {
			done(Info{}, err)
			return
		}
		done(c.info(), nil)
	})
}

// placeAnywhere calls place on the least loaded node, and waits for the result.
func (n *node) placeAnywhere(ctx context.Context, others []peer, p *placement) (i Info, err error) {
	for asks := 1; ; asks++ {
		i, err = n.placeAt(ctx, places(n.ask(ctx, others, &query{Kind: p.Kind}), p.Kind, p.Filter), p, asks < maxAsks)
		if !errors.Is(err, errLoaded) {
			return i, err
		}
	}
}

// placeAt calls place on the first of the nodes that accepts a room. If bounded is true,
// the error may be errLoaded.
func (n *node) placeAt(ctx context.Context, nodes []offered, p *placement, bounded bool) (Info, error) {
	var err error = ErrDraining
	for _, o := range nodes {
		ask := *p
		if bounded {
			ask.Most = o.Load + loadSlack
		}
		var i Info
		if o.node == n.name {
			i, err = wait(ctx, func(done func(Info, error)) { n.place(&ask, done) })
		} else {
			err = n.call(ctx, o.node, methodPlace, &ask, &i)
		}
		if err == nil || !unavailable(err) && !errors.Is(err, ErrDraining) && !errors.Is(err, ErrTooMany) {
			return i, err
		}
	}
	return Info{}, err
}

// wait calls start, and waits until done was called or ctx ends. start calls done at most
// once, on any goroutine.
func wait[T any](ctx context.Context, start func(done func(T, error))) (T, error) {
	type result struct {
		v   T
		err error
	}
	results := make(chan result, 1)
	start(func(v T, err error) { results <- result{v, err} })
	select {
	case r := <-results:
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}
