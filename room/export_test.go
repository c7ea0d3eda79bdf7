package room

import (
	"context"
	"time"

	"github.com/lonng/nano"
)

// MoveFrom is Move for the room of one server. Move takes any server of the process that
// has the room.
func MoveFrom(ctx context.Context, srv *nano.Server, id, to string) error {
	n, ok := nodes.Load(srv)
	if !ok {
		return ErrNoServer
	}
	return n.(*node).move(ctx, id, to)
}

// EndDoubt ends the time in which a room does not move because of a copy on another node.
func EndDoubt(ctx context.Context, srv *nano.Server, id string) error {
	n, ok := nodes.Load(srv)
	if !ok {
		return ErrNoServer
	}
	c := n.(*node).room(id)
	return c.onRoom(ctx, func() error {
		c.doubt = time.Time{}
		return nil
	})
}
