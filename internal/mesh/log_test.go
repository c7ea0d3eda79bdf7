package mesh

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// logRecorder is a slog.Handler that keeps records of every level.
type logRecorder struct {
	mu      sync.Mutex
	records []string // "LEVEL text"
}

func (r *logRecorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *logRecorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *logRecorder) WithGroup(string) slog.Handler            { return r }

func (r *logRecorder) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, rec.Level.String()+" "+rec.Message)
	return nil
}

// with returns the records that contain text.
func (r *logRecorder) with(text string) (found []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.records {
		if strings.Contains(rec, text) {
			found = append(found, rec)
		}
	}
	return found
}

// newLoggedNode returns a node whose log is recorded.
func newLoggedNode(t *testing.T, cfg Config) (*testNode, *logRecorder) {
	t.Helper()
	n, r := newTestNode(t, cfg), &logRecorder{}
	n.log = slog.New(r)
	return n, r
}

// TestRestartLogsQuietly checks that memberlist's messages about a restarted member are
// logged at level Debug. Other members ping the old process for a while.
func TestRestartLogsQuietly(t *testing.T) {
	t.Parallel()
	one := newTestNode(t, Config{ID: 1})
	one.t.Gossip.Probe = time.Second // a suspect is pinged for seconds, until it counts as dead
	one.serve(listen(t, "127.0.0.1:0"))
	two := start(t, 2, one.addr)
	complete(t, one, two)
	two.kill()
	again, log := newLoggedNode(t, Config{ID: 2, Seeds: []string{one.addr}})
	again.serve(listen(t, two.addr))
	poll(t, "a ping for the previous process came", func() bool { return len(log.with("unexpected node")) > 0 })
	for _, rec := range log.with("memberlist") {
		if !strings.HasPrefix(rec, "DEBUG") {
			t.Errorf("logged %q, want level DEBUG", rec)
		}
	}
}

// TestLoopbackClusterStartsQuietly checks that nodes that start together on one machine,
// each with all others as seeds, log no warnings.
func TestLoopbackClusterStartsQuietly(t *testing.T) {
	t.Parallel()
	var listeners []net.Listener
	var addrs []string
	for range 3 {
		l := listen(t, "127.0.0.1:0")
		listeners, addrs = append(listeners, l), append(addrs, l.Addr().String())
	}
	var logs []*logRecorder
	var nodes []*testNode
	var wg sync.WaitGroup
	for i, l := range listeners {
		n, log := newLoggedNode(t, Config{ID: uint64(i + 1), Seeds: addrs})
		nodes, logs = append(nodes, n), append(logs, log)
		wg.Go(func() { n.serve(l) })
	}
	wg.Wait()
	complete(t, nodes...)
	for i, log := range logs {
		if found := log.with("WARN"); len(found) > 0 {
			t.Errorf("node %d logged %q, want no warning", i+1, found)
		}
	}
}

// TestSeedWarning checks that a warning is logged once, when a seed has failed to answer
// for the second time.
func TestSeedWarning(t *testing.T) {
	t.Parallel()
	absent := listen(t, "127.0.0.1:0")
	_ = absent.Close()
	n, log := newLoggedNode(t, Config{ID: 1, Seeds: []string{absent.Addr().String()}, Retry: time.Hour})
	n.serve(listen(t, "127.0.0.1:0"))
	s := &seeds{node: n.Node, names: []*seedName{{name: absent.Addr().String(), targets: make(map[string]*seedTarget)}}}
	for round, want := range []int{0, 1, 1} {
		_ = s.join()
		if found := log.with("WARN"); len(found) != want {
			t.Errorf("%d warnings after round %d: %q, want %d", len(found), round+1, found, want)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "127.8.8.8:1": true, "[::ffff:127.0.0.1]:1": true,
		"[::]:1": false, "0.0.0.0:1": false, ":1": false, "10.0.0.1:1": false, "example.com:1": false, "bufconn": false, "": false,
	} {
		if got := isLoopback(addr); got != want {
			t.Errorf("isLoopback(%q) = %v, want %v", addr, got, want)
		}
	}
}
