package room

import (
	"context"
	"slices"
	"strings"

	"github.com/lonng/nano/internal/inspect"
	"github.com/lonng/nano/internal/runloop"
)

var _ inspect.RoomsHolder = (*server)(nil)

// InspectRooms returns the rooms of all kinds of the server, for package console.
func (s *server) InspectRooms() inspect.Rooms { return inspected{s.node} }

// inspected gives package console access to the rooms of a node.
type inspected struct{ n *node }

func (i inspected) Kinds() []inspect.RoomKind {
	i.n.mu.Lock()
	defer i.n.mu.Unlock()
	var list []inspect.RoomKind
	for _, k := range i.n.kinds {
		o := &k.options
		list = append(list, inspect.RoomKind{
			Name: k.name, Type: k.typ.String(), TickRate: o.tickRate, Seats: o.seats, Spectators: o.spectators,
			MaxRooms: o.maxRooms, Schedulers: o.schedulers, Private: o.private,
		})
	}
	slices.SortFunc(list, func(a, b inspect.RoomKind) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (i inspected) List(kind string) []inspect.Room {
	var list []inspect.Room
	for _, c := range i.n.cores(nil) {
		if kind == "" || c.kind.name == kind {
			list = append(list, c.inspect())
		}
	}
	return list
}

// inspect returns the figures of the room. It may be called from any goroutine.
func (c *core) inspect() inspect.Room {
	s := c.read()
	return inspect.Room{
		ID: s.ID, Kind: s.Kind, Code: s.Code, Labels: s.Label, Age: s.Age,
		Taken: s.Players, Seats: s.Seats, Spectators: s.Spectators, Locked: s.Locked,
		Ticks: s.Ticks, Skipped: s.Skipped, LagP50: s.LagP50, LagP99: s.LagP99, Busy: s.Busy, Load: s.Load,
		Panics: s.Panics, SlowClients: s.SlowClients, Bytes: s.Bytes, BytesPerPlayer: s.BytesPerPlayer,
	}
}

func (i inspected) Room(ctx context.Context, id string) (*inspect.RoomDetail, error) {
	return onRoom(ctx, i.n, id, func(c *core) *inspect.RoomDetail {
		d := &inspect.RoomDetail{Room: c.inspect(), Members: []inspect.RoomMember{}}
		for _, p := range c.players {
			m := inspect.RoomMember{
				ID: uint32(p.ID), UID: p.UID, Team: p.Team, Spectator: p.spectator, RTT: p.RTT(), Bytes: p.sent,
				Connected: p.session != nil && !p.dropped,
			}
			if p.session != nil {
				m.Session = p.session.ID()
			}
			d.Members = append(d.Members, m)
		}
		c.call("state", func() { d.State, d.Cut = stateTree(c.value.Interface().(embedded).state()) })
		return d
	})
}

func (i inspected) Close(ctx context.Context, id, reason string) error {
	_, err := onRoom(ctx, i.n, id, func(c *core) struct{} {
		c.close(reason)
		return struct{}{}
	})
	return err
}

// onRoom runs f on the scheduler of a room, and waits for its result until ctx ends. If
// ctx ends first, f does not run later.
func onRoom[T any](ctx context.Context, n *node, id string, f func(*core) T) (T, error) {
	var zero T
	c := n.room(id)
	if c == nil {
		return zero, inspect.ErrNoRoom
	}
	return wait(ctx, func(done func(T, error)) {
		if !c.do(func() {
			switch {
			case ctx.Err() != nil:
			case c.closed:
				done(zero, inspect.ErrNoRoom)
			default:
				done(f(c), nil)
			}
		}) {
			done(zero, inspect.ErrNoRoom)
		}
	})
}

// maxTree is how many values of a state the console gets. They take about a millisecond
// of the room's scheduler.
const maxTree = 5000

// labelTime makes the time of the running task count for the kind of the room.
func (c *core) labelTime() {
	if l, ok := runloop.Of(c.sched); ok {
		l.Label("rooms of kind ", c.kind.name)
	}
}
