package room

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"slices"

	"github.com/lonng/nano"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

// Kind is a kind of rooms. Its methods may be called from any goroutine. Create, Join,
// JoinOrCreate, Spectate and Do run on the scheduler of the room. A caller on another
// goroutine waits until ctx ends. The methods return [ErrLogic] if the wait would block a
// scheduler that handlers or other rooms run on.
type Kind[R any] struct {
	kind   *kind
	server *nano.Server // the server of On
}

// Define describes a kind of rooms by the type of their struct. Call it once for each kind, as a package variable. All
// faults of the type, of its state and of the options are reported together when a server starts with the kind.
func Define[R any](name string, opts ...Option) *Kind[R] {
	return &Kind[R]{kind: define(name, reflect.TypeFor[R](), opts)}
}

// Err returns the faults of the definition, joined; nil if there are none.
func (k *Kind[R]) Err() error { return k.kind.err }

// Name returns the name of the kind: the first part of the routes of its messages.
func (k *Kind[R]) Name() string { return k.kind.name }

// Option makes a server serve the kind: the routes NAME.Message, and room.create, room.join, room.joinOrCreate,
// room.leave, room.list and room.spectate. Call it once for each server.
func (k *Kind[R]) Option() nano.Option { return k.kind.option() }

// On returns the kind on one server. Without On, the methods use the only running server of the process that was given
// the kind; it is [ErrServers] if there are several.
func (k *Kind[R]) On(srv *nano.Server) *Kind[R] { return &Kind[R]{k.kind, srv} }

// node returns the rooms of the server.
func (k *Kind[R]) node() (*node, error) {
	var found *node
	several := false
	nodes.Range(func(srv, v any) bool {
		n := v.(*node)
		switch {
		case ended(n.server.Scheduler()): // its start has failed
			nodes.Delete(srv)
		case k.server != nil && k.server != srv || !n.has(k.kind):
		default:
			several = found != nil
			found = n
		}
		return !several
	})
	switch {
	case found == nil:
		return nil, ErrNoServer
	case several:
		return nil, ErrServers
	}
	return found, nil
}

// await calls start, and waits until done was called or ctx ends. start calls done once.
// on is the scheduler that calls done, or nil if it is unknown.
func await[T any](ctx context.Context, n *node, on *scheduler.Scheduler, start func(done func(T, error))) (T, error) {
	var zero T
	if (on == nil || !onScheduler(on)) && n.onAny() {
		return zero, ErrLogic
	}
	return wait(ctx, start)
}

// on returns the scheduler on which a new room of the kind starts. It is nil if there are
// several, or if the room first waits for other nodes.
func (n *node) on(k *kind) *scheduler.Scheduler {
	if k.options.schedulers > 0 || k.options.private && len(n.peers("")) > 0 {
		return nil
	}
	return n.server.Scheduler()
}

// given returns the decoder of options that a program passes.
func given(opts any) decoder {
	return func(h *hook) (any, error) {
		if opts == nil {
			return nil, nil
		}
		if h == nil || h.options == nil {
			return nil, fmt.Errorf("room: options of type %T for a method that takes none", opts)
		}
		if want := reflect.PointerTo(h.options); reflect.TypeOf(opts) != want {
			return nil, fmt.Errorf("room: options of type %T, want %v", opts, want)
		}
		return opts, nil
	}
}

// Create makes a room and runs OnCreate with opts: a pointer to the type that OnCreate takes, or nil for its zero value.
// The errors are those of OnCreate, [ErrDraining] and [ErrTooMany].
func (k *Kind[R]) Create(ctx context.Context, opts any) (Info, error) {
	n, err := k.node()
	if err != nil {
		return Info{}, err
	}
	return await(ctx, n, n.on(k.kind), func(done func(Info, error)) {
		n.create(k.kind, draft{}, given(opts), func(c *core, err error) {
			if err != nil {
				done(Info{}, err)
				return
			}
			done(c.info(), nil)
		})
	})
}

// Place makes a room on the least loaded node of the cluster that has the kind. It holds a seat for each user until the
// user joins, for the time of the option [Reserve] at most. Clients join by the id at any gate. Create makes a room on
// this server. The errors are those of Create, and [ErrFull] if the room has fewer seats.
func (k *Kind[R]) Place(ctx context.Context, opts any, uids ...int64) (Info, error) {
	n, err := k.node()
	if err != nil {
		return Info{}, err
	}
	if slices.ContainsFunc(uids, func(uid int64) bool { return uid < 1 }) {
		return Info{}, session.ErrIllegalUID
	}
	p := &placement{Kind: k.kind.name, UIDs: uids}
	if p.Options, err = n.encodeGiven(k.kind.create, opts); err != nil {
		return Info{}, err
	}
	others := n.peers(k.kind.name)
	if len(others) == 0 {
		return await(ctx, n, n.on(k.kind), func(done func(Info, error)) { n.place(p, done) })
	}
	if n.onAny() {
		return Info{}, ErrLogic
	}
	return n.placeAnywhere(ctx, others, p)
}

// encodeGiven encodes the options of a program in the form that a client sends.
func (n *node) encodeGiven(h *hook, opts any) (json.RawMessage, error) {
	v, err := given(opts)(h)
	if err != nil || v == nil {
		return nil, err
	}
	return n.encode(v)
}

// Join gives a session a seat in the room with an id, on any node, and runs OnJoin with opts: a pointer to the type that
// OnJoin takes, or nil. A handler returns the result to the client, whose room it makes. The errors are those of OnJoin,
// [ErrNotFound], [ErrFull], [ErrLocked] and [ErrJoined].
func (k *Kind[R]) Join(ctx context.Context, s *session.Session, id string, opts any) (*Joined, error) {
	return k.enter(ctx, s, &request{Kind: k.kind.name, ID: id}, nil, opts, methodJoin)
}

// JoinCode is Join for the private room with a code, which people may type in small letters.
func (k *Kind[R]) JoinCode(ctx context.Context, s *session.Session, code string, opts any) (*Joined, error) {
	return k.enter(ctx, s, &request{Kind: k.kind.name, Code: code}, nil, opts, methodJoin)
}

// JoinOrCreate gives a session a seat. It takes the room where the user has a seat, else the best room that fits the
// filter, else a new room. OnCreate of a new room gets its options from create; OnJoin gets join.
func (k *Kind[R]) JoinOrCreate(ctx context.Context, s *session.Session, f Filter, create, join any) (*Joined, error) {
	return k.enter(ctx, s, &request{Kind: k.kind.name, Filter: f}, create, join, methodJoinOrCreate)
}

// Spectate lets a session watch the room with an id, on any node.
func (k *Kind[R]) Spectate(ctx context.Context, s *session.Session, id string) (*Joined, error) {
	return k.enter(ctx, s, &request{Kind: k.kind.name, ID: id}, nil, nil, methodSpectate)
}

// enter serves a request for a session as one of the client, without the limits of clients.
func (k *Kind[R]) enter(ctx context.Context, s *session.Session, req *request, create, join any, method string) (*Joined, error) {
	n, err := k.node()
	if err != nil {
		return nil, err
	}
	e := &entry{s: s, kind: k.kind, req: req, unlimited: true, opts: func(h *hook) (any, error) {
		if h == k.kind.create {
			return given(create)(h)
		}
		return given(join)(h)
	}}
	if req.Create, err = n.encodeGiven(k.kind.create, create); err == nil && method != methodSpectate {
		req.Options, err = n.encodeGiven(k.kind.join, join)
	}
	if err != nil {
		return nil, err
	}
	e.create = req.Create
	var on *scheduler.Scheduler
	if req.ID == "" { // joined by a code, or any room
		on = n.on(k.kind)
	} else if c := n.room(req.ID); c != nil && c.kind == k.kind {
		on = c.sched
	} else if _, other := n.peerOf(req.ID); !other && !n.astray(req.ID) {
		return nil, ErrNotFound
	}
	if _, other := n.home(s); other || req.ID == "" && len(n.peers("")) > 0 {
		on = nil // the join waits for other nodes
	}
	v, err := await(ctx, n, on, func(done func(any, error)) { n.serve(e, method, done) })
	if err != nil {
		return nil, err
	}
	if j, ok := v.(*Joined); ok {
		return j, nil
	}
	j := &Joined{}
	return j, json.Unmarshal(v.(json.RawMessage), j) // the answer of another node
}

// find returns a room of the kind.
func (k *Kind[R]) find(id string) (*node, *core, error) {
	n, err := k.node()
	if err != nil {
		return nil, nil, err
	}
	c := n.room(id)
	if c == nil || c.kind != k.kind {
		return nil, nil, ErrNotFound
	}
	return n, c, nil
}

// Do runs f with the room on the room's scheduler. The error is [ErrNotFound] if the server has no such room.
func (k *Kind[R]) Do(ctx context.Context, id string, f func(*R)) error {
	n, c, err := k.find(id)
	if err != nil {
		return err
	}
	_, err = await(ctx, n, c.sched, func(done func(struct{}, error)) {
		run := func() {
			err := ErrNotFound
			if !c.closed {
				err = nil
				if !c.call("Do", func() { f(c.value.Interface().(*R)) }) {
					err = errPanic
				}
				c.touch()
			}
			if err != nil {
				done(struct{}{}, err)
				return
			}
			done(struct{}{}, nil)
		}
		if !c.do(run) {
			done(struct{}{}, ErrNotFound)
		}
	})
	return err
}

// Reserve holds a seat in a room for each user until the user joins; see Base.Reserve. It does not wait.
func (k *Kind[R]) Reserve(id string, uids ...int64) error {
	_, c, err := k.find(id)
	if err != nil {
		return err
	}
	return c.reserve(uids)
}

// List returns the rooms of the server that fit a filter: the closest first, then the fullest. Rooms of a private kind are
// not listed.
func (k *Kind[R]) List(f Filter) iter.Seq[Info] {
	return func(yield func(Info) bool) {
		n, err := k.node()
		if err != nil {
			return
		}
		for _, i := range n.list(k.kind, f, false) {
			if !yield(i) {
				return
			}
		}
	}
}

// Seat returns the seat of a session in a room of the kind, nil if it has none. Its methods are for the room's scheduler.
func (k *Kind[R]) Seat(s *session.Session) *Player {
	n, err := k.node()
	if err != nil {
		return nil
	}
	if p := n.seat(s); p != nil && p.core.kind == k.kind {
		return p
	}
	return nil
}

// Stats returns the statistics of the kind's rooms on the server, those with the highest load first. See also
// [nano.Stats.Rooms].
func (k *Kind[R]) Stats() []Stats {
	n, err := k.node()
	if err != nil {
		return nil
	}
	return n.stats(k.kind)
}
