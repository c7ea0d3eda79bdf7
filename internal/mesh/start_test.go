package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano/internal/link"

	"google.golang.org/grpc"
)

func TestServicesVisibleAfterStart(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	steady := func(id uint64, seeds ...string) *testNode {
		n := newTestNode(t, nodeConfig(id, seeds...))
		n.t.Gossip.Probe = time.Second // a joining node does not learn of a member that is suspected at that moment
		n.serve(listen(t, "127.0.0.1:0"))
		return n
	}
	first := steady(1)
	nodes := []*testNode{first}
	for id := uint64(2); id <= 5; id++ {
		n := steady(id, first.addr)
		nodes = append(nodes, n)
		for _, other := range nodes[:len(nodes)-1] {
			service := fmt.Sprint("Service", other.ID())
			if links := n.LinksTo(service); len(links) != 1 || links[0].Addr != other.addr {
				t.Errorf("node %d: LinksTo(%s) = %v right after Start, want a link to %s", id, service, links, other.addr)
			}
		}
		if got, want := len(n.LinksTo("Shared")), len(nodes)-1; got != want {
			t.Errorf("node %d: %d links to the shared service, want %d", id, got, want)
		}
	}
	complete(t, nodes...)
	two := nodes[1]
	l := two.link(first.addr)
	poll(t, "the round trip was measured", func() bool { return l.RTT() > 0 })
	var members []string
	for _, m := range two.Members() {
		if !m.Up || m.RTT <= 0 && m.Addr == first.addr || m.Epoch == 0 {
			t.Errorf("member %+v, want one that is up", m)
		}
		members = append(members, fmt.Sprintf("%d %s %v", m.ID, m.Label, m.Services))
	}
	slices.Sort(members)
	want := []string{"1 node1 [Service1 Shared]", "3 node3 [Service3 Shared]", "4 node4 [Service4 Shared]", "5 node5 [Service5 Shared]"}
	if !slices.Equal(members, want) {
		t.Errorf("Members = %v, want %v", members, want)
	}
}

func TestStopLeaves(t *testing.T) {
	t.Parallel()
	one := start(t, 1)
	two := start(t, 2, one.addr)
	three := start(t, 3, one.addr)
	complete(t, one, two, three)
	for id := uint64(1); id <= 1000; id++ {
		two.send(one, id)
	}
	two.stop()
	one.within(time.Second, "told that two left", func() bool { return errors.Is(one.Downs[two.addr], link.ErrLeft) })
	three.within(time.Second, "told that two left", func() bool { return errors.Is(three.Downs[two.addr], link.ErrLeft) })
	if len(one.Frames) != 1000 {
		t.Errorf("%d of the frames that were queued when the node stopped came, want 1000", len(one.Frames))
	}
	if !errors.Is(two.Downs[one.addr], ErrStopped) {
		t.Errorf("the node that stopped got %v, want ErrStopped", two.Downs[one.addr])
	}
	for _, m := range one.Members() {
		if m.Addr == two.addr {
			t.Errorf("a member that left is still listed: %v", m)
		}
	}
	two.stop() // a second stop has no effect
	if err := two.Start(context.Background(), listen(t, "127.0.0.1:0")); err == nil {
		t.Error("Start after Stop succeeded")
	}
}

// TestLossOfTheSeed checks that the cluster works without its first node. After a restart
// at its address without seeds, the others find it within 5 s. They pass on nodes that
// joined in between.
func TestLossOfTheSeed(t *testing.T) {
	t.Parallel()
	seed := start(t, 1)
	two := start(t, 2, seed.addr)
	three := start(t, 3, seed.addr)
	complete(t, seed, two, three)
	seed.kill()
	two.within(3*time.Second, "told of the loss", func() bool { return two.Downs[seed.addr] != nil })
	two.send(three, 7)
	three.within(patience, "given a frame", func() bool { return len(three.Frames) == 1 })
	four := start(t, 4, seed.addr, three.addr)
	complete(t, two, three, four)

	seed = newTestNode(t, Config{ID: 1})
	l := listen(t, two.Node.cfg.Seeds[0])
	begun := time.Now()
	seed.serve(l)
	for _, n := range []*testNode{two, three, four} {
		n.within(5*time.Second-time.Since(begun), "linked with the new seed", n.HasUp(seed.addr))
	}
	complete(t, seed, two, three, four)
}

// TestSeedComesLater checks that a node starts even if a seed is not up yet, and finds
// the seed later.
func TestSeedComesLater(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	addr := l.Addr().String()
	_ = l.Close()
	two := start(t, 2, addr)
	one := newTestNode(t, Config{ID: 1})
	one.serve(listen(t, addr))
	two.within(5*time.Second, "linked with the seed", two.HasUp(addr))
	complete(t, one, two)
}

// TestSilentSeed checks that a seed that does not answer does not delay the start of a
// node that another seed has answered.
func TestSilentSeed(t *testing.T) {
	t.Parallel()
	one := start(t, 1)
	silent := listen(t, "127.0.0.1:0")
	defer silent.Close()
	cfg := nodeConfig(2, silent.Addr().String(), one.addr)
	cfg.DialOptions = []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 2 * patience})}
	two := newTestNode(t, cfg)
	two.t.Settle, two.t.Gossip.Stream = 500*time.Millisecond, 2*patience
	two.serve(listen(t, "127.0.0.1:0")) // fails the test after patience
	complete(t, one, two)
}

// TestSeedByName checks that every address of a seed's name is tried, and that the node
// skips its own address.
func TestSeedByName(t *testing.T) {
	t.Parallel()
	one := start(t, 1)
	_, port, _ := net.SplitHostPort(one.addr)
	two := start(t, 2, "localhost:"+port)
	complete(t, one, two)
	_, port, _ = net.SplitHostPort(two.addr)
	l := listen(t, "127.0.0.1:0")
	_, own, _ := net.SplitHostPort(l.Addr().String())
	three := newTestNode(t, Config{ID: 3, Seeds: []string{"localhost:" + own, "localhost:" + port}})
	three.serve(l)
	complete(t, one, two, three)
}

// TestStopWhileStarting checks that Stop ends a Start that waits.
func TestStopWhileStarting(t *testing.T) {
	t.Parallel()
	deaf := listen(t, "127.0.0.1:0")
	defer deaf.Close()
	n := newTestNode(t, Config{Seeds: []string{deaf.Addr().String()}})
	n.Node.t.Gossip.Stream = patience
	l := listen(t, "127.0.0.1:0")
	started := make(chan error, 1)
	go func() { started <- n.Start(context.Background(), l) }()
	c, err := deaf.Accept() // Start dials the seed
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n.stop()
	select {
	case err := <-started:
		if !errors.Is(err, ErrStopped) {
			t.Errorf("Start = %v, want ErrStopped", err)
		}
	case <-time.After(patience):
		t.Error("Start goes on after Stop")
	}
}

// TestStopKeepsItsDeadline checks that Stop returns when its context ends, even if gossip
// has messages left.
func TestStopKeepsItsDeadline(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	one := start(t, 1)
	two := newTestNode(t, nodeConfig(2, one.addr))
	two.t.Gossip.Gossip, two.t.Gossip.Probe = 2*time.Second, time.Second // leaving takes 4 s
	two.serve(listen(t, "127.0.0.1:0"))
	complete(t, one, two)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	begun := time.Now()
	if err := two.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop = %v, want %v", err, context.Canceled)
	}
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("Stop took %v", d)
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	deaf := l.Addr().String()
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		cfg  Config
		want string
	}{
		"seed without port":    {context.Background(), Config{Seeds: []string{"localhost"}}, "seed \"localhost\", host:port expected"},
		"address without port": {context.Background(), Config{Addr: "localhost"}, "address \"localhost\", host:port expected"},
		"canceled":             {canceled, Config{Seeds: []string{deaf}}, "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTestNode(t, c.cfg)
			l := listen(t, "127.0.0.1:0")
			err := n.Start(c.ctx, l)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Start = %v, want %s", err, c.want)
			}
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the listener is left open: %v", err)
			}
			n.stop()
		})
	}
	if err := NewNode(Config{}).Start(context.Background(), listen(t, "127.0.0.1:0")); err == nil {
		t.Error("Start without a Handler succeeded")
	}
}
