package cluster_test

import (
	"errors"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/internal/testkit"
)

// TestClusterSingleLoginHeals lets a user log in on both sides of a divided network. The
// later login must remain after the network is whole again, on whichever side it was.
func TestClusterSingleLoginHeals(t *testing.T) {
	t.Parallel()
	one := testkit.StartNode(t, testkit.Services{"Door": login()}, nil, nano.WithSingleLogin())
	two := testkit.StartNode(t, testkit.Services{"Door": login()}, []*testkit.Node{one}, nano.WithSingleLogin())
	back := testkit.StartNode(t, testkit.Services{"Hall": login()}, []*testkit.Node{one}, nano.WithSingleLogin())
	for i, order := range [][2]*testkit.Node{{one, two}, {two, one}} {
		testkit.AwaitMembers(t, one, two, back)
		two.Links.Cut()
		two.AwaitAlone()
		testkit.Eventually(t, "the others have lost the node", func() bool {
			for _, n := range []*testkit.Node{one, back} {
				for _, m := range n.Members() {
					if m.Addr == two.ClusterAddr() && m.Up {
						return false
					}
				}
			}
			return true
		})
		early, late := order[0].Connect(), order[1].Connect()
		early.Expect("Door.Do", "7", "7")
		late.Expect("Door.Do", "7", "7")
		early.Expect("Door.Echo", "me", "me") // no node knows of the other login yet

		two.Links.Mend()
		testkit.Receive(t, early.Done(), "the end of the earlier login")
		if _, ok := errors.AsType[*client.KickError](early.Err()); !ok {
			t.Errorf("round %d: the earlier login ended with %v, want a kick", i, early.Err())
		}
		testkit.AwaitMembers(t, one, two, back)
		for _, n := range []*testkit.Node{one, two, back} {
			n.AwaitUser(7)
		}
		testkit.Eventually(t, "the user is found at one gate", func() bool {
			return len(order[0].SessionsByUID(7)) == 0 && len(order[1].SessionsByUID(7)) == 1
		})
		// A push is lost that back sends to the gate of the earlier login before it knows of its end.
		testkit.Eventually(t, "a push comes to the later login", func() bool {
			if err := back.Push(7, "onNumber", &testkit.Number{N: i}); err != nil {
				t.Fatalf("round %d: Push = %v", i, err)
			}
			for {
				select {
				case m := <-late.Pushes:
					if m.Route == "onNumber" {
						return true
					}
				case <-time.After(50 * time.Millisecond):
					return false
				}
			}
		})
		late.Expect("Door.Echo", "still there", "still there")
		_ = late.Close()
		testkit.Eventually(t, "the user is gone", func() bool {
			return errors.Is(back.Push(7, "onFound", []byte{}), nano.ErrUserNotFound)
		})
	}
}
