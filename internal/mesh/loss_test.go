package mesh

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano/internal/link"

	"google.golang.org/grpc"
)

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

// TestHungMember checks that a stopped process is down within 3 s, and that its links are
// made again when it continues.
func TestHungMember(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
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
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
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
