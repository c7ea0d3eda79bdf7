package testkit

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
)

var errCut = errors.New("cut off")

// Node is a server of a cluster with its own address for players.
type Node struct {
	*nano.Server
	T       testing.TB
	Links   *Links
	Players string // the address for clients
}

// StartNode starts a node that joins seeds, and waits until all of them know each other.
// The end of the test shuts it down.
func StartNode(t testing.TB, comps Services, seeds []*Node, opts ...nano.Option) *Node {
	t.Helper()
	return StartNodeAt(t, "127.0.0.1:0", comps, seeds, opts...)
}

// StartNodeAt is StartNode with a given address for other nodes.
func StartNodeAt(t testing.TB, addr string, comps Services, seeds []*Node, opts ...nano.Option) *Node {
	t.Helper()
	list := &component.Components{}
	for name, c := range comps {
		list.Register(c, component.WithName(name))
	}
	n := &Node{T: t, Links: NewLinks()}
	all := []nano.Option{
		nano.WithComponents(list), nano.WithSerializer(json.NewSerializer()), nano.WithCluster(),
		nano.WithGrpcOptions(grpc.WithContextDialer(n.Links.Dial)), nano.WithSlog(slog.New(slog.DiscardHandler)),
	}
	for _, s := range seeds {
		all = append(all, nano.WithSeeds(s.ClusterAddr()), nano.WithSeedRetry(100*time.Millisecond))
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

// StartPair starts a gate without services and a backend with comps.
func StartPair(t testing.TB, comps Services, opts ...nano.Option) (gate, backend *Node) {
	t.Helper()
	gate = StartNode(t, nil, nil, opts...)
	return gate, StartNode(t, comps, []*Node{gate}, opts...)
}

// AwaitAlone waits until the node knows no other node that is up.
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

// Stop shuts the node down.
func (n *Node) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		n.T.Errorf("Shutdown = %v", err)
	}
}

// Kill cuts the links of the node. To other nodes this looks like the end of its process.
func (n *Node) Kill() { n.Links.Cut() }

// Connect connects a player to the node.
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

// AwaitUser waits until the node can push to the user.
func (n *Node) AwaitUser(uid int64) {
	n.T.Helper()
	Eventually(n.T, "the user is found", func() bool { return n.Push(uid, "onFound", []byte{}) == nil })
}

// Services maps names of services to their components.
type Services map[string]component.Component

// AwaitMembers waits until every node knows that every other one is up.
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
