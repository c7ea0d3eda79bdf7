package mesh

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestDefaultIDIsReplaced checks that a node with a generated id gets another one before
// Start returns, if the id is taken.
func TestDefaultIDIsReplaced(t *testing.T) {
	t.Parallel()
	one := start(t, 1)
	two := start(t, 1, one.addr)
	if one.ID() != 1 {
		t.Errorf("the first node's id became %d", one.ID())
	}
	if two.ID() == 1 || two.ID() > 1023 {
		t.Errorf("the second node has id %d after Start, want a free one", two.ID())
	}
	three := start(t, two.ID(), one.addr)
	distinct(t, one, two, three)
}

// distinct waits until the ids of the nodes differ and every node knows all of them.
func distinct(t *testing.T, nodes ...*testNode) {
	t.Helper()
	complete(t, nodes...)
	poll(t, "all ids are different and known", func() bool {
		ids := make(map[string]uint64)
		seen := make(map[uint64]bool)
		for _, n := range nodes {
			ids[n.addr] = n.ID()
			seen[n.ID()] = true
		}
		for _, n := range nodes {
			for _, m := range n.Members() {
				if ids[m.Addr] != m.ID {
					return false
				}
			}
		}
		return len(seen) == len(nodes)
	})
}

// TestIDsWhenPartsMeet checks that parts of a cluster that started separately resolve
// equal ids when they join.
func TestIDsWhenPartsMeet(t *testing.T) {
	t.Parallel()
	one, two := start(t, 1), start(t, 1)
	three := start(t, 1, one.addr, two.addr)
	distinct(t, one, two, three)
	if one.ID() != 1 {
		t.Errorf("the oldest node's id became %d", one.ID())
	}
}

// TestFixedIDStays checks that a configured id is kept. The node with the generated id
// changes its own, even if it started first.
func TestFixedIDStays(t *testing.T) {
	t.Parallel()
	one := start(t, 7)
	two := newTestNode(t, Config{ID: 7, FixedID: true, Seeds: []string{one.addr}})
	two.serve(listen(t, "127.0.0.1:0"))
	distinct(t, one, two)
	if two.ID() != 7 {
		t.Errorf("the id that was asked for became %d", two.ID())
	}
}

func TestFixedDuplicateIsRefused(t *testing.T) {
	t.Parallel()
	one := newTestNode(t, Config{ID: 7, FixedID: true})
	one.serve(listen(t, "127.0.0.1:0"))
	other := start(t, 8, one.addr)
	for range 3 {
		two := newTestNode(t, Config{ID: 7, FixedID: true, Seeds: []string{other.addr}})
		err := two.Start(context.Background(), listen(t, "127.0.0.1:0"))
		if !errors.Is(err, ErrDuplicateID) || !strings.Contains(err.Error(), "7 is the id of "+one.addr) {
			t.Errorf("Start = %v, want ErrDuplicateID: 7 is the id of %s", err, one.addr)
		}
		two.stop()
	}
	if l := one.link(other.addr); l.Err() != nil || one.ID() != 7 {
		t.Errorf("the node that had the id first is %d, its link %v", one.ID(), l.Err())
	}
}

// TestFixedDuplicatesMeet checks that two nodes with the same configured id keep it and
// are not linked.
func TestFixedDuplicatesMeet(t *testing.T) {
	t.Parallel()
	one := newTestNode(t, Config{ID: 7, FixedID: true})
	one.serve(listen(t, "127.0.0.1:0"))
	two := newTestNode(t, Config{ID: 7, FixedID: true})
	two.serve(listen(t, "127.0.0.1:0"))
	three := start(t, 1, one.addr, two.addr)
	complete(t, three, one)
	complete(t, three, two)
	tried := func(n *testNode, addr string) func() bool {
		return func() bool {
			n.Node.mu.Lock()
			defer n.Node.mu.Unlock()
			p := n.peers[addr]
			return p != nil && p.tried
		}
	}
	poll(t, "one of the two was refused", func() bool { return tried(one, two.addr)() || tried(two, one.addr)() })
	if one.isUp(two.addr) || two.isUp(one.addr) {
		t.Error("two nodes with the same id are linked")
	}
}
