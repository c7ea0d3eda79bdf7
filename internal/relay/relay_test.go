package relay

import (
	"context"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/lonng/nano/internal/link/linktest"
	"github.com/lonng/nano/internal/mesh"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is the longest time that a test waits for an event.
const patience = 20 * time.Second

// quick shortens the periods that tests wait for.
func quick() mesh.Timing {
	t := mesh.DefaultTiming()
	t.Gossip.Probe = 200 * time.Millisecond
	t.Gossip.Gossip = 50 * time.Millisecond
	t.Heal = 500 * time.Millisecond
	t.Settle, t.Handshake = patience, patience/2 // a busy machine may delay members
	return t
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
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

// farNode is a second node. It sends and records frames.
type farNode struct {
	*mesh.Node
	*linktest.Recorder
	addr string
}

// startFar starts a node that serves a service and joins seed. traces says that it makes
// spans. The end of the test stops it.
func startFar(t *testing.T, id uint64, service, seed string, traces bool) *farNode {
	t.Helper()
	timing := quick()
	far := &farNode{Recorder: linktest.NewRecorder()}
	far.Node = mesh.NewNode(mesh.Config{
		ID: id, Services: []string{service}, Seeds: []string{seed}, Handler: far.Recorder, Logger: logger(t), Timing: &timing,
		Traces: traces,
	})
	l := listen(t)
	far.addr = l.Addr().String()
	t.Cleanup(func() { far.stop(t) })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := far.Start(ctx, l); err != nil {
		t.Fatal(err)
	}
	if !far.Wait(patience, far.HasUp(seed)) {
		t.Fatal("the link to the node under test is not up")
	}
	return far
}

func (far *farNode) stop(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := far.Stop(ctx); err != nil {
		t.Errorf("Stop = %v", err)
	}
}

var _ mesh.Handler = (*linktest.Recorder)(nil)
