package nano

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pkg/errors"

	"github.com/lonng/nano/internal/inspect"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/session"
)

var errNotRunning = errors.New("the server is not running")

func init() {
	inspect.Of = func(srv any) inspect.Server { return inspected{srv.(*Server)} }
}

// inspected gives package console access to a server.
type inspected struct{ s *Server }

func (i inspected) Sessions() []*session.Session {
	if i.s.hub == nil {
		return nil
	}
	return i.s.broker.AppendSessions(i.s.hub.Sessions())
}

// Groups finds the groups by the watches with which they follow the end of a member.
func (i inspected) Groups(s *session.Session) []inspect.Group {
	k, ok := s.NetworkEntity().(sessionctl.Keeper)
	if !ok {
		return nil
	}
	var groups []inspect.Group
	for _, key := range k.Control().WatchKeys(nil) {
		if g, ok := key.(*Group); ok {
			groups = append(groups, inspectedGroup{g})
		}
	}
	return groups
}

func (i inspected) Rooms() inspect.Rooms {
	if !i.s.begun.Load() {
		return nil
	}
	for _, c := range i.s.opts.components {
		if r, ok := c.Comp.(inspect.RoomsHolder); ok {
			return r.InspectRooms()
		}
	}
	return nil
}

func (i inspected) Routes() []inspect.Route {
	var list []inspect.Route
	if i.s.dispatch == nil {
		return nil
	}
	for _, service := range i.s.dispatch.Services() {
		for h := range service.All() {
			if h.Sessionless() {
				continue
			}
			r := inspect.Route{Route: h.Route, Reply: h.Reply()}
			if !h.IsRawArg {
				r.Request = h.Type
			}
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b inspect.Route) int { return strings.Compare(a.Route, b.Route) })
	return list
}

func (i inspected) Serializer() serialize.Serializer { return i.s.opts.serializer }

func (i inspected) Connect(conn net.Conn) error {
	if !i.s.ready.Load() {
		_ = conn.Close()
		return errNotRunning
	}
	i.s.hub.AcceptLocal(conn)
	return nil
}

func (i inspected) NodeID() string {
	if i.s.broker == nil || !i.s.broker.Clustered() {
		return ""
	}
	return strconv.FormatUint(i.s.broker.Node().ID(), 10)
}

func (i inspected) ServeNodes(f func(ctx context.Context, data []byte) []byte) {
	if i.s.broker != nil {
		i.s.broker.ServeQueries(f)
	}
}

func (i inspected) AskNode(ctx context.Context, id string, data []byte) ([]byte, error) {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil || i.s.broker == nil || !i.s.broker.Clustered() {
		return nil, inspect.ErrNoNode
	}
	for _, m := range i.s.broker.Node().Members() {
		switch {
		case m.ID != n:
		case !m.Up:
			return nil, inspect.ErrNodeDown
		default:
			return i.s.broker.Query(ctx, m.Addr, data)
		}
	}
	return nil, inspect.ErrNoNode
}

func (i inspected) Closing() bool {
	select {
	case <-i.s.closing:
		return true
	default:
		return false
	}
}

func (i inspected) StuckStack(limit time.Duration) string {
	if i.s.loop.Load().Running <= limit {
		return ""
	}
	return i.s.loop.Stack()
}

func (i inspected) Log() *slog.Logger        { return i.s.inner }
func (i inspected) Stopped() <-chan struct{} { return i.s.stopped }

// inspectedGroup gives package console access to a group.
type inspectedGroup struct{ g *Group }

func (i inspectedGroup) Name() string { return i.g.name }

func (i inspectedGroup) Sessions(limit int) (list []*session.Session, count int) {
	i.g.mu.RLock()
	defer i.g.mu.RUnlock()
	return append(list, i.g.members[:min(limit, len(i.g.members))]...), len(i.g.members)
}
