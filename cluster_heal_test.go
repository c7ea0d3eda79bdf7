package nano_test

import (
	"errors"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
)

// mend lets a node that was cut off dial, and be dialed, again.
func (w *wires) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = false
	clear(w.conns)
}

// alone waits until a node has given up every other one.
func (n *node) alone() {
	n.t.Helper()
	eventually(n.t, "the node has lost the others", func() bool {
		for _, m := range n.Members() {
			if m.Up {
				return false
			}
		}
		return true
	})
}

// A user who logs in on both sides of a network that is cut in two is left with the later login when it is whole again,
// whichever side that was on.
func TestClusterSingleLoginHeals(t *testing.T) {
	t.Parallel()
	one := startNode(t, services{"Door": login()}, nil, nano.WithSingleLogin())
	two := startNode(t, services{"Door": login()}, []*node{one}, nano.WithSingleLogin())
	back := startNode(t, services{"Hall": login()}, []*node{one}, nano.WithSingleLogin())
	for i, order := range [][2]*node{{one, two}, {two, one}} {
		meet(t, one, two, back)
		two.wires.cut()
		two.alone()
		eventually(t, "the others have lost the node", func() bool {
			for _, n := range []*node{one, back} {
				for _, m := range n.Members() {
					if m.Addr == two.ClusterAddr() && m.Up {
						return false
					}
				}
			}
			return true
		})
		early, late := order[0].connect(), order[1].connect()
		early.must("Door.Do", "7", "7")
		late.must("Door.Do", "7", "7")
		early.must("Door.Echo", "me", "me") // nobody knows better yet

		two.wires.mend()
		receive(t, early.Done(), "the end of the earlier login")
		var kick *client.KickError
		if !errors.As(early.Err(), &kick) {
			t.Errorf("round %d: the earlier login ended with %v, want a kick", i, early.Err())
		}
		meet(t, one, two, back)
		for _, n := range []*node{one, two, back} {
			n.found(7)
		}
		eventually(t, "the user is found at one gate", func() bool {
			return len(order[0].SessionsByUID(7)) == 0 && len(order[1].SessionsByUID(7)) == 1
		})
		if err := back.Push(7, "onNumber", &Number{i}); err != nil {
			t.Errorf("round %d: Push = %v", i, err)
		}
		for receive(t, late.pushes, "the push").Route != "onNumber" {
		}
		late.must("Door.Echo", "still there", "still there")
		_ = late.Close()
		eventually(t, "the user is gone", func() bool {
			return errors.Is(back.Push(7, "onFound", []byte{}), nano.ErrUserNotFound)
		})
	}
}
