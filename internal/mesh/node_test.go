package mesh

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano/internal/link"

	"google.golang.org/grpc"
)

func TestServicesVisibleAfterStart(t *testing.T) {
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

// complete waits until every node is linked to every other one.
func complete(t *testing.T, nodes ...*testNode) {
	t.Helper()
	for _, n := range nodes {
		for _, other := range nodes {
			if n != other {
				n.within(patience, "up with "+other.addr, n.HasUp(other.addr))
			}
		}
	}
}

// TestOneLinkForEachPair checks that nodes that dial each other at the same time keep one
// stream for each pair, and that it carries frames both ways. Each node has all others as
// seeds.
func TestOneLinkForEachPair(t *testing.T) {
	t.Parallel()
	const size = 5
	var open atomic.Int64 // number of Link calls being served
	count := grpc.ChainStreamInterceptor(func(srv any, st grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		if strings.HasSuffix(info.FullMethod, "/Link") {
			open.Add(1)
			defer open.Add(-1)
		}
		return handle(srv, st)
	})
	var listeners []net.Listener
	var addrs []string
	for range size {
		l := listen(t, "127.0.0.1:0")
		listeners, addrs = append(listeners, l), append(addrs, l.Addr().String())
	}
	nodes := make([]*testNode, size)
	var wg sync.WaitGroup
	for i := range nodes {
		nodes[i] = newTestNode(t, Config{ID: uint64(i + 1), Seeds: addrs, ServerOptions: []grpc.ServerOption{count}})
		nodes[i].t.Link.Dead = patience // must not expire on a busy machine
		wg.Go(func() { nodes[i].serve(listeners[i]) })
	}
	wg.Wait()
	complete(t, nodes...)
	for _, n := range nodes {
		for _, other := range nodes {
			if n != other {
				n.send(other, n.ID()<<8|other.ID())
			}
		}
	}
	for _, n := range nodes {
		n.within(patience, "told by all others", func() bool { return len(n.Frames) == size-1 })
		for _, e := range n.Events {
			if strings.HasPrefix(e, "down") {
				t.Errorf("%s: links went down while the cluster formed: %v", n.addr, n.Events)
				break
			}
		}
	}
	// Of two nodes that dial each other at once, one may still be closing its stream.
	const want = size * (size - 1) / 2
	for deadline := time.Now().Add(patience); open.Load() != want && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if got := open.Load(); got != want {
		t.Errorf("%d streams are open, want one for each of %d pairs", got, want)
	}
}

// send sends a frame with an id to another node.
func (n *testNode) send(to *testNode, id uint64) {
	n.tb.Helper()
	if err := n.link(to.addr).Send(&link.Frame{Kind: link.FirstKind, ID: id}); err != nil {
		n.tb.Errorf("Send from %s to %s: %v", n.addr, to.addr, err)
	}
}

func TestOrderUnderLoad(t *testing.T) {
	t.Parallel()
	const count = 100_000
	one := newTestNode(t, Config{ID: 1})
	two := newTestNode(t, Config{ID: 2})
	var taken [2]atomic.Int64
	full := make(chan struct{}, 2)
	checker := func(i int) func(*link.Link, []link.Frame) {
		return func(_ *link.Link, frames []link.Frame) {
			n := taken[i].Load()
			for _, f := range frames {
				n++
				if f.ID != uint64(n) || len(f.Data) != int(n%300) || len(f.Data) > 8 && binary.BigEndian.Uint64(f.Data) != uint64(n) {
					t.Errorf("frame %d came as number %d with %d bytes", f.ID, n, len(f.Data))
				}
			}
			taken[i].Store(n)
			if n == count {
				full <- struct{}{}
			}
		}
	}
	one.Got, two.Got = checker(0), checker(1)
	one.t.Link.Dead, two.t.Link.Dead = patience, patience // must not expire on a busy machine
	one.serve(listen(t, "127.0.0.1:0"))
	two.cfg.Seeds = []string{one.addr}
	two.serve(listen(t, "127.0.0.1:0"))
	complete(t, one, two)
	deadline := time.Now().Add(patience)
	for _, l := range []*link.Link{one.link(two.addr), two.link(one.addr)} {
		go func() {
			data := make([]byte, 300)
			for i := 1; i <= count; {
				binary.BigEndian.PutUint64(data, uint64(i))
				err := l.Send(&link.Frame{Kind: link.FirstKind, ID: uint64(i), Data: data[:i%300]})
				switch {
				case err == nil:
					i++
				case !errors.Is(err, link.ErrQueueFull) || time.Now().After(deadline):
					t.Errorf("Send of frame %d: %v", i, err)
					return
				}
			}
		}()
	}
	for range 2 {
		select {
		case <-full:
		case <-time.After(patience):
			t.Fatalf("%d and %d of %d frames came", taken[0].Load(), taken[1].Load(), count)
		}
	}
}

func TestLargeFrame(t *testing.T) {
	t.Parallel()
	one := newTestNode(t, Config{ID: 1})
	one.t.Link.Dead = patience // a busy machine needs time for so many bytes
	one.serve(listen(t, "127.0.0.1:0"))
	two := newTestNode(t, Config{ID: 2, Seeds: []string{one.addr}})
	two.t.Link.Dead = patience
	two.serve(listen(t, "127.0.0.1:0"))
	complete(t, one, two)
	data := bytes.Repeat([]byte("nano"), 4<<20)
	for _, c := range []struct{ from, to *testNode }{{one, two}, {two, one}} {
		if err := c.from.link(c.to.addr).Send(&link.Frame{Kind: link.FirstKind, Data: data}); err != nil {
			t.Fatal(err)
		}
		c.to.within(patience, "given 16 MiB", func() bool { return len(c.to.Frames) == 1 })
		if !bytes.Equal(c.to.Frames[0].Data, data) {
			t.Errorf("16 MiB came as %d other bytes", len(c.to.Frames[0].Data))
		}
	}
}

// TestSlowMemberBlocksNobody checks that a member that reads nothing fills only its own
// queue. Other members are served, and Send does not block.
func TestSlowMemberBlocksNobody(t *testing.T) {
	t.Parallel()
	one := newTestNode(t, Config{ID: 1})
	one.t.Link.QueueBytes = 256 << 10
	one.t.Link.Dead = 5 * time.Second
	one.serve(listen(t, "127.0.0.1:0"))
	slow := newTestNode(t, Config{ID: 2, Seeds: []string{one.addr}})
	release := make(chan struct{})
	slow.Got = func(*link.Link, []link.Frame) { <-release }
	slow.serve(listen(t, "127.0.0.1:0"))
	t.Cleanup(func() { close(release) })
	fast := newTestNode(t, nodeConfig(3, one.addr))
	fast.t.Link.Dead = one.t.Link.Dead
	fast.serve(listen(t, "127.0.0.1:0"))
	complete(t, one, slow, fast)

	toSlow := one.link(slow.addr)
	big := &link.Frame{Kind: link.FirstKind, Data: make([]byte, 10_000)}
	var err error
	for deadline := time.Now().Add(patience); err == nil && time.Now().Before(deadline); {
		err = toSlow.Send(big)
	}
	if !errors.Is(err, link.ErrQueueFull) {
		t.Fatalf("Send to a member that takes nothing = %v, want link.ErrQueueFull", err)
	}
	for id := uint64(1); id <= 100; id++ {
		one.send(fast, id)
		fast.within(patience, "given a frame", func() bool { return len(fast.Frames) == int(id) })
		begun := time.Now()
		_ = toSlow.Send(big)
		if d := time.Since(begun); d > time.Second {
			t.Fatalf("Send to a slow member took %v", d)
		}
	}
	one.within(patience, "rid of the slow member", func() bool { return one.Downs[slow.addr] != nil })
	if one.link(fast.addr).Err() != nil {
		t.Error("the link to the fast member went down with the other")
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

// TestKillAndRestart checks that a killed member is down on every node within 3 s, and up
// within 1 s after a restart at its address.
func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	one := start(t, 1)
	two := start(t, 2, one.addr)
	three := start(t, 3, one.addr)
	complete(t, one, two, three)
	before := two.Self()
	two.kill()
	for _, n := range []*testNode{one, three} {
		n.within(3*time.Second, "told of the loss", func() bool { return n.Downs[two.addr] != nil })
		if err := n.Downs[two.addr]; !errors.Is(err, link.ErrDown) && !errors.Is(err, link.ErrSilent) {
			t.Errorf("the reason was %v", err)
		}
		if links := n.LinksTo("Service2"); len(links) != 0 {
			t.Errorf("%v serves still, after it was killed", links[0].Addr)
		}
		if i := slices.IndexFunc(n.Members(), func(m Member) bool { return m.Addr == two.addr && !m.Up }); i < 0 {
			t.Errorf("Members = %v, want %s as down", n.Members(), two.addr)
		}
	}
	again := newTestNode(t, Config{ID: 2, Services: []string{"Service2"}, Seeds: []string{one.addr}})
	again.serve(listen(t, two.addr))
	for _, n := range []*testNode{one, three} {
		n.within(time.Second, "linked again", n.HasUp(two.addr))
		if l := n.link(two.addr); l.Epoch <= before.Epoch {
			t.Errorf("the restarted process has epoch %d, the one before had %d", l.Epoch, before.Epoch)
		}
		n.send(again, n.ID())
	}
	again.within(patience, "told by both", func() bool { return len(again.Frames) == 2 })
}

// TestSameAddr checks that a node does not start if another node has its address,
// whichever node it joins. The other node is not affected.
func TestSameAddr(t *testing.T) {
	t.Parallel()
	one := newTestNode(t, Config{ID: 1})
	one.t.Alive = patience // a busy machine answers slowly
	one.serve(listen(t, "127.0.0.1:0"))
	two := start(t, 2, one.addr)
	complete(t, one, two)
	for name, seed := range map[string]string{"another node": one.addr, "the one with its address": two.addr} {
		three := newTestNode(t, Config{ID: 3, Addr: two.addr, Seeds: []string{seed}})
		err := three.Start(context.Background(), listen(t, "127.0.0.1:0"))
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "has the address "+two.addr) {
			t.Errorf("joining by %s: Start = %v, want ErrRefused: another node has the address", name, err)
		}
		three.stop()
	}
	one.send(two, 1)
	two.within(patience, "given a frame", func() bool { return len(two.Frames) == 1 })
	if want := []string{"up " + two.addr}; !slices.Equal(one.Events, want) {
		t.Errorf("the others were told %v, want %v", one.Events, want)
	}
}

// TestSuccessorOfHungMember checks that a stopped or disconnected process does not keep
// its replacement from joining.
func TestSuccessorOfHungMember(t *testing.T) {
	t.Parallel()
	one := newTestNode(t, Config{ID: 1})
	one.t.Link.Dead = patience
	one.serve(listen(t, "127.0.0.1:0"))
	g := newGate()
	two := newTestNode(t, Config{ID: 2, Seeds: []string{one.addr}, DialOptions: []grpc.DialOption{g.dialOption()}})
	two.serve(gatedListener{listen(t, "127.0.0.1:0"), g})
	one.within(patience, "linked", one.HasUp(two.addr))
	g.shut()
	t.Cleanup(g.reopen) // the node could not stop otherwise
	three := newTestNode(t, Config{ID: 3, Addr: two.addr, Seeds: []string{one.addr}})
	three.serve(listen(t, "127.0.0.1:0"))
	one.within(patience, "linked with the successor", func() bool {
		l := one.ByAddr[two.addr]
		return l != nil && l.Epoch == three.Self().Epoch
	})
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

// TestConverged checks that Converged waits until a seed has answered and every member
// that it reported is linked or dead.
func TestConverged(t *testing.T) {
	t.Parallel()
	alone := start(t, 1)
	if !alone.Converged() {
		t.Error("a node without seeds has not converged")
	}
	late := listen(t, "127.0.0.1:0")
	_ = late.Close()
	one := start(t, 2, late.Addr().String())
	if one.Converged() {
		t.Error("a node whose seed does not answer has converged")
	}
	seed := newTestNode(t, Config{ID: 3})
	seed.serve(listen(t, late.Addr().String()))
	poll(t, "the node has converged", one.Converged)

	// Neither of the next two nodes can reach the other.
	onlySeed := grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		if addr != seed.addr {
			return nil, errors.New("walled off")
		}
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	})
	two := newTestNode(t, Config{ID: 4, Seeds: []string{seed.addr}, DialOptions: []grpc.DialOption{onlySeed}})
	two.serve(listen(t, "127.0.0.1:0"))
	poll(t, "the seed's gossip has the second", func() bool {
		seed.Node.mu.Lock()
		defer seed.Node.mu.Unlock()
		p := seed.peers[two.addr]
		return p != nil && len(p.known) > 0
	})
	three := newTestNode(t, Config{ID: 5, Seeds: []string{seed.addr}, DialOptions: []grpc.DialOption{onlySeed}})
	three.serve(listen(t, "127.0.0.1:0"))
	three.within(patience, "linked with the seed", three.HasUp(seed.addr))
	if three.Converged() {
		t.Error("a node has converged, although it does not reach one member")
	}
	two.kill()
	poll(t, "the node has converged with those that are alive", three.Converged)
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

// TestHungMember checks that a stopped process is down within 3 s, and that its links are
// made again when it continues.
func TestHungMember(t *testing.T) {
	t.Parallel()
	one := start(t, 1)
	three := start(t, 3, one.addr)
	g := newGate()
	two := newTestNode(t, Config{ID: 2, Seeds: []string{one.addr}, DialOptions: []grpc.DialOption{g.dialOption()}})
	two.serve(gatedListener{listen(t, "127.0.0.1:0"), g})
	complete(t, one, two, three)
	g.shut()
	for _, n := range []*testNode{one, three} {
		n.within(3*time.Second, "told of the loss", func() bool { return n.Downs[two.addr] != nil })
	}
	one.send(three, 1)
	three.within(patience, "given a frame meanwhile", func() bool { return len(three.Frames) == 1 })
	g.reopen()
	for _, n := range []*testNode{one, three} {
		n.within(5*time.Second, "linked again", n.HasUp(two.addr))
	}
	complete(t, one, two, three)
	two.within(patience, "linked with all", func() bool { return len(two.ByAddr) == 2 })
	two.send(three, 2)
	three.within(patience, "given a frame afterwards", func() bool { return len(three.Frames) == 2 })
}

// TestLongPartition checks that two parts that were separated until gossip declared the
// other part dead join again without a live seed.
func TestLongPartition(t *testing.T) {
	t.Parallel()
	seed := start(t, 1)
	g := newGate()
	two := newTestNode(t, Config{ID: 2, Seeds: []string{seed.addr}, DialOptions: []grpc.DialOption{g.dialOption()}})
	two.serve(gatedListener{listen(t, "127.0.0.1:0"), g})
	three := start(t, 3, seed.addr)
	complete(t, seed, two, three)
	seed.kill()
	g.shut()
	dead := func(n *testNode, addr string) func() bool {
		return func() bool {
			n.Node.mu.Lock()
			defer n.Node.mu.Unlock()
			return len(n.peers[addr].known) == 0
		}
	}
	poll(t, "three takes two for dead", dead(three, two.addr))
	poll(t, "two takes three for dead", dead(two, three.addr))
	g.reopen()
	three.within(5*time.Second, "linked again", three.HasUp(two.addr))
	two.within(5*time.Second, "linked again", two.HasUp(three.addr))
	poll(t, "three knows two", func() bool { return !dead(three, two.addr)() })
	poll(t, "two knows three", func() bool { return !dead(two, three.addr)() })
}

// poll waits until cond is true. It is for states without an event.
func poll(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so within %v: %s", patience, what)
		}
	}
}

// TestOneWayReach checks that two nodes are linked if only one of them can reach the
// other, whichever it is.
func TestOneWayReach(t *testing.T) {
	t.Parallel()
	walled := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	var listeners []net.Listener
	for range 2 {
		listeners = append(listeners, listen(t, "127.0.0.1:0"))
	}
	for range 2 { // with the two addresses in either order
		one := newTestNode(t, Config{ID: 1, DialOptions: []grpc.DialOption{walled}})
		one.serve(listeners[0])
		two := newTestNode(t, Config{ID: 2, Seeds: []string{one.addr}})
		two.serve(listeners[1])
		one.within(5*time.Second, "linked", one.HasUp(two.addr))
		two.within(5*time.Second, "linked", two.HasUp(one.addr))
		two.stop()
		one.stop()
		listeners = []net.Listener{listen(t, two.addr), listen(t, one.addr)}
	}
	for _, l := range listeners {
		_ = l.Close()
	}
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

// asking is a log handler that calls the node, as a program's handler may.
type asking struct {
	slog.Handler
	ask func(r slog.Record)
}

func (h asking) Enabled(context.Context, slog.Level) bool { return true }

func (h asking) Handle(_ context.Context, r slog.Record) error {
	h.ask(r)
	return nil
}

// TestLogHandlerAsksTheNode checks that a log handler may call the node.
func TestLogHandlerAsksTheNode(t *testing.T) {
	t.Parallel()
	lines := make(chan string, 1000)
	node := func(cfg Config) *testNode {
		n := newTestNode(t, cfg)
		n.log = slog.New(asking{slog.DiscardHandler, func(r slog.Record) {
			n.Members()
			n.Self()
			select {
			case lines <- r.Message:
			default:
			}
		}})
		return n
	}
	one := node(Config{ID: 1, FixedID: true})
	one.serve(listen(t, "127.0.0.1:0"))
	two := node(Config{ID: 1, Seeds: []string{one.addr}}) // changes its id
	two.serve(listen(t, "127.0.0.1:0"))
	complete(t, one, two)
	same := node(Config{ID: 1, FixedID: true, Seeds: []string{one.addr}})
	if err := same.Start(context.Background(), listen(t, "127.0.0.1:0")); !errors.Is(err, ErrDuplicateID) {
		t.Errorf("Start with an id that is in use = %v, want ErrDuplicateID", err)
	}
	two.kill() // the other node dials it in vain
	missing := map[string]bool{
		"cluster: member up":                        true,
		"cluster: member down":                      true,
		"cluster: node id was in use, took another": true,
		"cluster: refused a link":                   true,
		"cluster: no link to member, dialing again": true,
	}
	for deadline := time.After(patience); len(missing) > 0; {
		select {
		case line := <-lines:
			delete(missing, line)
		case <-deadline:
			t.Fatalf("not logged: %v", slices.Collect(maps.Keys(missing)))
		}
	}
}

func TestReachable(t *testing.T) {
	for _, c := range []struct {
		addrs string
		six   bool
		want  string
	}{
		{"127.0.0.1/8 ::1/128 fe80::1/64 10.0.0.5/24 10.0.0.6/24", true, "10.0.0.5"},
		{"127.0.0.1/8 ::1/128 fe80::1/64 2001:db8::5/64 10.0.0.5/24", true, "10.0.0.5"},
		{"127.0.0.1/8 ::1/128 fe80::1/64 2001:db8::5/64 2001:db8::6/64", true, "2001:db8::5"},
		{"::1/128 fd00::5/64", true, "fd00::5"},
		{"127.0.0.1/8 2001:db8::5/64", false, "127.0.0.1"}, // the node listens on IPv4 only
		{"127.0.0.1/8 169.254.1.1/16 fe80::1/64", true, "127.0.0.1"},
		{"", true, "127.0.0.1"},
	} {
		var addrs []net.Addr
		for text := range strings.FieldsSeq(c.addrs) {
			ip, n, err := net.ParseCIDR(text)
			if err != nil {
				t.Fatal(err)
			}
			n.IP = ip
			addrs = append(addrs, n)
		}
		if got := reachable(addrs, c.six).String(); got != c.want {
			t.Errorf("reachable(%s, %v) = %s, want %s", c.addrs, c.six, got, c.want)
		}
	}
}
