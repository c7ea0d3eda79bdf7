package mesh

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
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
	poll(t, "one stream is open for each pair", func() bool { return open.Load() == want })
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
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
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

// TestConverged checks that Converged waits until a seed has answered and every member
// that it reported is linked or dead.
func TestConverged(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
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
