package room

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/pprof"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/session"
)

// server is the component of one kind on one server.
type server struct {
	component.Base
	kind *kind
	env  handler.Env
	node *node
}

var (
	_ handler.Provider     = (*server)(nil)
	_ nano.ServerComponent = (*server)(nil)
	_ nano.Drainer         = (*server)(nil)
	_ nano.RoomsReporter   = (*server)(nil)
)

// option returns the server option that serves the kind.
func (k *kind) option() nano.Option {
	cs := &component.Components{}
	cs.Register(&server{kind: k}, component.WithName(k.name))
	return nano.WithComponents(cs)
}

// Provide returns the handlers of the kind and those that all kinds share.
func (s *server) Provide(env handler.Env) ([]handler.Func, error) {
	switch {
	case s.kind.err != nil:
		return nil, s.kind.err
	case s.kind.name == service:
		return nil, fmt.Errorf("room %s: the name is reserved for the routes of all rooms", service)
	case s.env.Serializer != nil:
		return nil, errors.New("the Option of a kind was given to two servers: call Option for each")
	}
	s.env = env
	funcs := s.requests()
	for _, h := range s.kind.messages {
		funcs = append(funcs, handler.Func{
			Name:    h.name,
			Request: h.request,
			Call:    func(s2 *session.Session, msg any) (any, error) { return s.serve(h, s2, msg) },
		})
	}
	return funcs, nil
}

// InitServer registers the kind with the server's other kinds.
func (s *server) InitServer(srv *nano.Server) {
	s.node = nodeOf(srv, s.env)
	s.node.add(s.kind)
}

// Drain waits for the rooms of all kinds to end.
func (s *server) Drain(ctx context.Context) { s.node.drain(ctx) }

// Shutdown closes the remaining rooms.
func (s *server) Shutdown() { s.node.close() }

// maxHops is how many messages of one player may be queued for a room on another
// scheduler.
const maxHops = 256

// serve runs a message on the scheduler of the player's room.
func (s *server) serve(h *method, from *session.Session, msg any) (any, error) {
	p := s.node.seat(from)
	if p == nil || p.core.kind != s.kind {
		return nil, ErrNotJoined
	}
	c, in := p.core, reflect.ValueOf(msg)
	if c.sched == s.node.server.Scheduler() { // handlers run there
		if c.parked != nil {
			return nil, c.hold(&incoming{h, p, from, in, from.Defer()})
		}
		reply, err := c.serve(h, p, from, in)
		if reply == nil && err == nil {
			_ = from.Response([]byte{}) // fails for a notify
		}
		return reply, err
	}
	if p.hops.Add(1) > maxHops {
		p.hops.Add(-1)
		return nil, ErrBusy
	}
	r := from.Defer()
	if !c.sched.Invoke(func() {
		pprof.SetGoroutineLabels(h.labels)
		defer pprof.SetGoroutineLabels(context.Background())
		p.hops.Add(-1)
		c.receive(incoming{h, p, from, in, r})
	}) {
		p.hops.Add(-1)
		return nil, ErrNotJoined
	}
	return nil, nil
}

// answer answers a deferred request, if there is one.
func (c *core) answer(r *session.Responder, reply any, err error) {
	if err == nil {
		if err = r.Reply(reply); err == nil || errors.Is(err, session.ErrSessionOnNotify) || errors.Is(err, session.ErrBrokenPipe) {
			return
		}
	}
	if e := r.Fail(err); errors.Is(e, session.ErrSessionOnNotify) {
		c.log.Debug("nano: a message to a room failed", "room", c.id, "error", err)
	}
}
