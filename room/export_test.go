package room

import (
	"context"

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
