package mesh

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/link/linktest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if flag.Parse(); testing.Short() {
		_ = flag.Set("test.parallel", "4") // the tests wait more than they compute
	}
	goleak.VerifyTestMain(m)
}

// patience is the longest time that a test waits for an event.
const patience = 20 * time.Second

// testNode is a node with its recorder.
type testNode struct {
	*Node
	*linktest.Recorder
	tb   testing.TB
	addr string
}

// quick shortens the periods that tests wait for. The periods of links stay.
func quick(n *Node) {
	n.t.Gossip.Probe = 200 * time.Millisecond
	n.t.Gossip.Gossip = 50 * time.Millisecond
	n.t.Gossip.PushPull = 2 * time.Second
	n.t.Heal = 500 * time.Millisecond
	n.t.Settle, n.t.Handshake = patience, patience/2 // a busy machine may delay members
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func logger(t testing.TB) *slog.Logger {
	if testing.Verbose() && os.Getenv("NANO_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("test", t.Name())
	}
	return slog.New(slog.DiscardHandler)
}

// newTestNode returns a node that is not started.
func newTestNode(t testing.TB, cfg Config) *testNode {
	r := linktest.NewRecorder()
	cfg.Handler, cfg.Logger = r, logger(t)
	n := &testNode{Node: NewNode(cfg), Recorder: r, tb: t}
	quick(n.Node)
	return n
}

// serve starts the node on l. The end of the test stops it.
func (n *testNode) serve(l net.Listener) {
	n.tb.Helper()
	n.addr = l.Addr().String()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n.tb.Cleanup(n.stop)
	if err := n.Start(ctx, l); err != nil {
		n.tb.Fatalf("Start on %s: %v", n.addr, err)
	}
}

func (n *testNode) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		n.tb.Errorf("Stop of %s: %v", n.addr, err)
	}
}

// kill ends the node without notice to the others.
func (n *testNode) kill() {
	n.Node.mu.Lock()
	n.state = stopping
	n.Node.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.end(ctx); err != nil {
		n.tb.Errorf("end of %s: %v", n.addr, err)
	}
}

// nodeConfig returns the configuration that start uses.
func nodeConfig(id uint64, seeds ...string) Config {
	return Config{ID: id, Label: fmt.Sprint("node", id), Services: []string{fmt.Sprint("Service", id), "Shared"}, Seeds: seeds}
}

// start makes and starts a node that joins the seeds.
func start(t testing.TB, id uint64, seeds ...string) *testNode {
	t.Helper()
	n := newTestNode(t, nodeConfig(id, seeds...))
	n.serve(listen(t, "127.0.0.1:0"))
	return n
}

// within fails the test if cond does not become true before the timeout.
func (n *testNode) within(d time.Duration, what string, cond func() bool) {
	n.tb.Helper()
	begun := time.Now()
	if !n.Wait(d, cond) {
		n.Node.mu.Lock()
		defer n.Node.mu.Unlock()
		n.tb.Fatalf("%s: not %s within %v; events %v", n.addr, what, d, n.Events)
	}
	n.tb.Logf("%s: %s after %v", n.addr, what, time.Since(begun).Round(time.Millisecond))
}

func (n *testNode) isUp(addr string) bool {
	return n.Link(addr) != nil
}

func (n *testNode) link(addr string) *link.Link {
	l := n.Link(addr)
	if l == nil {
		n.tb.Fatalf("%s has no link to %s", n.addr, addr)
	}
	return l
}
