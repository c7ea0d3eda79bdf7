package testkit

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// Mend lets a node that was cut off dial, and be dialed, again.
func (w *Links) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = false
	clear(w.conns)
}

// AwaitAlone waits until a node has given up every other one.
func (n *Node) AwaitAlone() {
	n.T.Helper()
	Eventually(n.T, "the node has lost the others", func() bool {
		for _, m := range n.Members() {
			if m.Up {
				return false
			}
		}
		return true
	})
}

// Node is a server of a cluster, with players of its own.
type Node struct {
	*nano.Server
	T       testing.TB
	Links   *Links
	Players string // where clients connect
}

// Services are the components of a node by the names of their services.
type Services map[string]component.Component

// StartNode starts a node that joins the nodes given; the first of a cluster is given none.
func StartNode(t testing.TB, comps Services, seeds []*Node, opts ...nano.Option) *Node {
	t.Helper()
	return StartNodeAt(t, "127.0.0.1:0", comps, seeds, opts...)
}

func StartNodeAt(t testing.TB, addr string, comps Services, seeds []*Node, opts ...nano.Option) *Node {
	t.Helper()
	list := &component.Components{}
	for name, c := range comps {
		list.Register(c, component.WithName(name))
	}
	n := &Node{T: t, Links: NewLinks()}
	all := []nano.Option{
		nano.WithComponents(list), nano.WithSerializer(json.NewSerializer()), nano.WithMaster(),
		nano.WithGrpcOptions(grpc.WithContextDialer(n.Links.Dial)), nano.WithSlog(slog.New(slog.DiscardHandler)),
	}
	for _, s := range seeds {
		all = append(all, nano.WithAdvertiseAddr(s.ClusterAddr(), 100*time.Millisecond))
	}
	n.Server = nano.New(append(all, opts...)...)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.StartCluster(n.Links.Listener(l)); err != nil {
		t.Fatalf("StartCluster = %v", err)
	}
	players, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.Players = players.Addr().String()
	served := make(chan error, 1)
	go func() { served <- n.Serve(players) }()
	t.Cleanup(func() {
		n.Stop()
		if err := Receive(t, served, "the end of Serve"); err != nil && !errors.Is(err, nano.ErrServerClosed) {
			t.Errorf("Serve = %v", err)
		}
	})
	AwaitMembers(t, append(slices.Clone(seeds), n)...)
	return n
}

func (n *Node) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		n.T.Errorf("Shutdown = %v", err)
	}
}

// AwaitMembers waits until every node sees every other one up.
func AwaitMembers(t testing.TB, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		Eventually(t, "the nodes know each other", func() bool {
			up := 0
			for _, m := range n.Members() {
				if m.Up && slices.ContainsFunc(nodes, func(o *Node) bool { return o.ClusterAddr() == m.Addr }) {
					up++
				}
			}
			return up == len(nodes)-1
		})
	}
}

// Kill breaks off every connection to other nodes, and lets no new one be made: as the end of its process would look to
// them.
func (n *Node) Kill() { n.Links.Cut() }

// Links are the connections between one node and others.
type Links struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
	dead  bool
}

// NewLinks returns Links without connections.
func NewLinks() *Links { return &Links{conns: map[net.Conn]bool{}} }

// Listener returns l with every connection that it accepts among the links.
func (w *Links) Listener(l net.Listener) net.Listener { return linksListener{l, w} }

// Cut closes every connection, and refuses new ones until Mend.
func (w *Links) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
	for c := range w.conns {
		_ = c.Close()
	}
}

var errCut = errors.New("cut off")

// add takes a connection into care, or closes it if the node was killed.
func (w *Links) add(c net.Conn) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		_ = c.Close()
		return nil, errCut
	}
	w.conns[c] = true
	return c, nil
}

func (w *Links) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return w.add(c)
}

type linksListener struct {
	net.Listener
	links *Links
}

func (l linksListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, err = l.links.add(c); err == nil {
			return c, nil
		}
	}
}

func (n *Node) Connect(opts ...client.Option) *Player {
	n.T.Helper()
	p := &Player{t: n.T, Pushes: make(chan *client.Message, 1000)}
	opts = append([]client.Option{client.WithFallback(func(m *client.Message) { p.Pushes <- m })}, opts...)
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	c, err := client.Dial(ctx, n.Players, opts...)
	if err != nil {
		n.T.Fatal(err)
	}
	p.Client = c
	n.T.Cleanup(func() { _ = c.Close() })
	return p
}

// NewGame is a component whose Do does f.
func NewGame(f func(s *session.Session, data []byte) error) *Game { return &Game{OnDo: f} }

// NewNamedGame answers with a name.
func NewNamedGame(name string) *Game {
	return NewGame(func(s *session.Session, _ []byte) error { return s.Response([]byte(name)) })
}

// StartPair is a gate and one backend with the services given.
func StartPair(t testing.TB, comps Services, opts ...nano.Option) (gate, backend *Node) {
	t.Helper()
	gate = StartNode(t, nil, nil, opts...)
	return gate, StartNode(t, comps, []*Node{gate}, opts...)
}

// AwaitUser waits until a node knows where a user is.
func (n *Node) AwaitUser(uid int64) {
	n.T.Helper()
	Eventually(n.T, "the user is found", func() bool { return n.Push(uid, "onFound", []byte{}) == nil })
}
