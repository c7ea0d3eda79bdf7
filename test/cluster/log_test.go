package cluster_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// TestLogOfNodes checks that the log of each node names the node, and that the session, the
// user and the route of a message have the same keys and values at all of them.
func TestLogOfNodes(t *testing.T) {
	ids := make(chan *session.Session, 1)
	game := testkit.NewGame(func(s *session.Session, _ []byte) error {
		ids <- s
		if err := s.Bind(77); err != nil {
			return err
		}
		return testkit.ErrSecret
	})
	gateLog, backendLog := &jsonLog{}, &jsonLog{}
	gate := testkit.StartNode(t, nil, nil, gateLog.option(), nano.WithDebugMode())
	backend := testkit.StartNode(t, testkit.Services{"Game": game}, []*testkit.Node{gate}, backendLog.option(), nano.WithDebugMode())
	p := gate.Connect()
	p.ExpectError("Game.Do", "", nano.CodeInternal)
	s := testkit.Receive(t, ids, "the session")
	p.ExpectError("Game.Echoes", "", nano.CodeNotFound)

	for _, c := range []struct {
		log     *jsonLog
		node    string
		message string
		want    map[string]any
	}{
		{gateLog, gate.ClusterAddr(), "nano: message", map[string]any{"session": s.ID(), "route": "Game.Do", "uid": 0}},
		{gateLog, gate.ClusterAddr(), "cluster: member up", map[string]any{"member": backend.ClusterAddr()}},
		{backendLog, backend.ClusterAddr(), "nano: message", map[string]any{"session": s.ID(), "route": "Game.Do", "uid": 0}},
		{backendLog, backend.ClusterAddr(), "nano: handler failed", map[string]any{"session": s.ID(), "route": "Game.Do", "uid": 77}},
		{backendLog, backend.ClusterAddr(), "nano: message refused", map[string]any{"route": "Game.Echoes"}},
		{backendLog, backend.ClusterAddr(), "cluster: member up", map[string]any{"member": gate.ClusterAddr()}},
	} {
		c.want["node"] = c.node
		testkit.Eventually(t, c.message+" is logged by "+c.node, func() bool { return c.log.has(t, c.message, c.want) })
	}
	for _, log := range []*jsonLog{gateLog, backendLog} {
		for _, r := range log.all(t) {
			if r["node"] == nil && r["msg"] != "nano: route" { // before it has an address
				t.Errorf("a record of a node has no node: %v", r)
			}
		}
	}
}

// jsonLog keeps a log as lines of JSON.
type jsonLog struct {
	mu  sync.Mutex
	buf bytes.Buffer // mu guards it
}

func (l *jsonLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *jsonLog) option() nano.Option {
	return nano.WithSlog(slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

// all returns the records.
func (l *jsonLog) all(t *testing.T) (records []map[string]any) {
	t.Helper()
	l.mu.Lock()
	text := bytes.Clone(l.buf.Bytes())
	l.mu.Unlock()
	for line := range bytes.Lines(text) {
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		r := map[string]any{}
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		records = append(records, r)
	}
	return records
}

// has reports whether a record has a message and these attributes.
func (l *jsonLog) has(t *testing.T, message string, attrs map[string]any) bool {
	t.Helper()
next:
	for _, r := range l.all(t) {
		if r["msg"] != message {
			continue
		}
		for key, want := range attrs {
			if n, ok := r[key].(json.Number); ok && n.String() == slog.AnyValue(want).String() || r[key] == want {
				continue
			}
			continue next
		}
		return true
	}
	return false
}
