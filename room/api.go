package room

import (
	"context"
	"iter"

	"github.com/lonng/nano/session"
)

// Create makes a room and runs OnCreate with opts, a pointer to the type that OnCreate takes, or nil. It waits for the room's
// scheduler, until ctx ends.
func (k *Kind[R]) Create(ctx context.Context, srv Server, opts any) (Info, error) {
	n, err := nodeFor(srv)
	if err != nil {
		return Info{}, err
	}
	type result struct {
		info Info
		err  error
	}
	done := make(chan result, 1)
	n.create(k.kind, opts, func(c *core, err error) {
		if err != nil {
			done <- result{err: err}
			return
		}
		done <- result{info: c.info()}
	})
	select {
	case r := <-done:
		return r.info, r.err
	case <-ctx.Done():
		return Info{}, ctx.Err()
	}
}

// Do runs f with the room on the room's scheduler and waits for it, until ctx ends. On the room's own scheduler it runs f at
// once. The error is ErrNotFound if the node has no such room, ErrLogic if the caller is the logic goroutine and the room
// runs elsewhere, or the error of ctx.
func (k *Kind[R]) Do(ctx context.Context, srv Server, id string, f func(*R)) error {
	n, err := nodeFor(srv)
	if err != nil {
		return err
	}
	c := n.room(id)
	if c == nil || c.kind != k.kind {
		return ErrNotFound
	}
	return c.wait(ctx, func() error {
		if c.closed {
			return ErrNotFound
		}
		f(c.value.Interface().(*R))
		c.touch()
		return nil
	})
}

// List returns the rooms of the node that fit a filter: the closest first, then the fullest. Private rooms are not listed.
func (k *Kind[R]) List(srv Server, f Filter) iter.Seq[Info] {
	return func(yield func(Info) bool) {
		n, err := nodeFor(srv)
		if err != nil {
			return
		}
		for _, i := range f.order(n.list(k.kind)) {
			if !yield(i) {
				return
			}
		}
	}
}

// Stats returns what the rooms of the node have done, those that took the most time first.
func (k *Kind[R]) Stats(srv Server) []Stats {
	n, err := nodeFor(srv)
	if err != nil {
		return nil
	}
	return n.stats(k.kind)
}

// Seat returns the player that a session is, nil if it has no seat. The player is for the room's scheduler.
func Seat(srv Server, s *session.Session) *Player {
	n, err := nodeFor(srv)
	if err != nil {
		return nil
	}
	return n.seat(s)
}
