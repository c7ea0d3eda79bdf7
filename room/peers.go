package room

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// This file accesses the rooms of other nodes. It uses public features: the members of
// the cluster with their services, calls without a session, and bindings of a session.
// Each node has a service of its own, room@NAME, by which it is addressed. NAME is the
// prefix of the ids of its rooms.

// peer is another node that has rooms and is up.
type peer struct {
	name string // prefix of the ids of its rooms
	addr string
}

// nodeService returns the service that only the node with a name has.
func nodeService(name string) string { return service + "@" + name }

// peers returns the other nodes that have a kind of rooms. The kind "" means any kind.
func (n *node) peers(kind string) []peer {
	var list []peer
	for _, m := range n.server.Members() {
		if !m.Up || kind != "" && !slices.Contains(m.Services, kind) {
			continue
		}
		for _, s := range m.Services {
			if name, ok := strings.CutPrefix(s, service+"@"); ok {
				list = append(list, peer{name, m.Addr})
			}
		}
	}
	return list
}

// peerNamed returns the other node with a name.
func (n *node) peerNamed(name string) (peer, bool) {
	list := n.peers("")
	i := slices.IndexFunc(list, func(p peer) bool { return p.name == name })
	if i < 0 {
		return peer{}, false
	}
	return list[i], true
}

// These are the methods that a node serves for other nodes.
const (
	methodOffer = "offer"
	methodPlace = "place"
	methodClaim = "claim"
	methodFind  = "find"

	// These are the steps of a move; see move.go.
	methodMove   = "move"
	methodArrive = "arrive"
	methodCommit = "commit"
	methodAbort  = "abort"
	methodAsked  = "asked" // abort with a session; see indoubt.go
	methodDrop   = "drop"
	methodAdopt  = "adopt" // with a session
	methodTurn   = "turn"  // with a session
	// These find rooms that have moved; see locate.go.
	methodLocate = "locate"
	methodForget = "forget"
)

// nodeRequests returns the handlers of the node's own service. Clients cannot call them.
func (s *server) nodeRequests() []handler.Func {
	own := func(name string, f handler.NodesFunc) handler.Func {
		return handler.Func{Service: nodeService(s.env.Instance), Name: name, Nodes: f}
	}
	return []handler.Func{
		own(methodOffer, serveNodes(func(q *query, done func(any, error)) { done(s.node.offer(q), nil) })),
		own(methodPlace, serveNodes(func(p *placement, done func(any, error)) {
			s.node.place(p, func(i Info, err error) { done(i, err) })
		})),
		own(methodClaim, serveNodes(func(c *codeClaims, done func(any, error)) {
			done(codeAnswer{Taken: s.node.codes.claim(c.IDs)}, nil)
		})),
		own(methodFind, serveNodes(func(q *codeQuery, done func(any, error)) {
			done(codeAnswer{ID: s.node.codes.find(q.Code)}, nil)
		})),
		own(methodMove, serveNodes(func(o *moveOrder, done func(any, error)) { s.node.moveFor(o, done) })),
		own(methodArrive, serveNodes(func(i *image, done func(any, error)) { s.node.arrive(i, done) })),
		own(methodCommit, serveNodes(func(d *departure, done func(any, error)) { s.node.commit(d, done) })),
		own(methodAbort, serveNodes(func(a *moveToken, done func(any, error)) { s.node.abort(a, done) })),
		own(methodDrop, serveNodes(func(d *copyDrop, done func(any, error)) { s.node.dropFor(d, done) })),
		own(methodLocate, serveNodes(func(l *location, done func(any, error)) {
			done(location{l.ID, s.node.room(l.ID) != nil}, nil)
		})),
		own(methodForget, serveNodes(func(l *location, done func(any, error)) {
			s.node.forget(l.ID)
			done(struct{}{}, nil)
		})),
		{Service: nodeService(s.env.Instance), Name: methodAdopt, Call: s.adopt},
		{Service: nodeService(s.env.Instance), Name: methodTurn, Call: s.turn},
		{Service: nodeService(s.env.Instance), Name: methodAsked, Call: s.asked},
	}
}

// serveNodes returns the handler of calls with a request of type T in JSON, whose replies are JSON.
func serveNodes[T any](f func(in *T, done func(any, error))) handler.NodesFunc {
	return func(_ context.Context, data []byte, done func(any, error)) {
		in := new(T)
		if err := json.Unmarshal(data, in); err != nil {
			done(nil, badRequest("%v", err))
			return
		}
		f(in, func(v any, err error) {
			if err != nil {
				done(nil, err)
				return
			}
			body, err := json.Marshal(v)
			done(body, err)
		})
	}
}

// call calls a method of the node with a name, and waits for its reply.
func (n *node) call(ctx context.Context, name, method string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var reply []byte
	if err := n.server.Call(ctx, nodeService(name)+"."+method, body, &reply); err != nil {
		return err
	}
	return json.Unmarshal(reply, out)
}

// unavailable reports whether the error means that the node could not be reached.
func unavailable(err error) bool {
	for _, code := range []string{message.CodeUnavailable, message.CodeDeadline, message.CodeNotFound} {
		if errors.Is(err, &message.Error{Code: code}) {
			return true
		}
	}
	return false
}

// goTime is how long a request of a client may wait for other nodes.
const goTime = 10 * time.Second

// async runs f, which waits for other nodes, on a new goroutine. It returns false if the
// server has shut down. The context of f ends when the server shuts down or the time
// goTime has passed.
func (n *node) async(f func(ctx context.Context)) bool {
	return n.spawn(func() {
		ctx, cancel := context.WithTimeout(n.ctx, goTime)
		defer cancel()
		f(ctx)
	})
}

// spawn runs f on a goroutine that must end with the context of the node. It returns
// false if the server has shut down.
func (n *node) spawn(f func()) bool {
	n.tasksMu.Lock()
	defer n.tasksMu.Unlock()
	if n.ctx.Err() != nil {
		return false
	}
	n.tasks.Go(f)
	return true
}

// address returns the address at which other nodes dial this one, or "" without a
// cluster.
func (n *node) address() string {
	if a := n.addr.Load(); a != nil {
		return *a
	}
	a := n.server.ClusterAddr()
	if a != "" {
		n.addr.Store(&a)
	}
	return a
}

// home returns the other node that serves the room requests of a session, because the session has or had a seat there.
func (n *node) home(s *session.Session) (peer, bool) {
	addr, ok := s.Router().Find(service)
	if !ok || addr == n.address() {
		return peer{}, false
	}
	list := n.peers("")
	i := slices.IndexFunc(list, func(p peer) bool { return p.addr == addr })
	if i < 0 {
		return peer{}, false
	}
	return list[i], true
}

// bind makes this node serve the room requests of a session, and the session's messages
// to a kind.
func (n *node) bind(s *session.Session, k *kind) {
	addr := n.address()
	if addr == "" {
		return
	}
	for _, name := range []string{service, k.name} {
		if bound, _ := s.Router().Find(name); bound != addr {
			s.Router().Bind(name, addr)
		}
	}
	setWill(s, routeClosed, nodeDown)
}

// nodeDown is the body of the will of a session with a seat.
var nodeDown = reasonBody("node down")
