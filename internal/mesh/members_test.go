package mesh

import (
	"testing"
	"time"
)

// A process may return while it is linked. It may not return after a dial has failed,
// another process has its address, or it has left.
func TestMayReturn(t *testing.T) {
	t.Parallel()
	one := start(t, 1)
	two := start(t, 2, one.addr)
	three := start(t, 3, one.addr)
	complete(t, one, two, three)
	gone := func(n *testNode) {
		t.Helper()
		self := n.Self()
		deadline := time.After(patience)
		for {
			may, changed := one.MayReturn(self.Addr, self.Epoch)
			if !may {
				return
			}
			select {
			case <-changed:
			case <-deadline:
				t.Fatalf("%s may return still", self.Addr)
			}
		}
	}
	for _, n := range []*testNode{two, three} {
		if may, _ := one.MayReturn(n.addr, n.Self().Epoch); !may {
			t.Errorf("MayReturn(%s) = false, and it is linked", n.addr)
		}
		if may, _ := one.MayReturn(n.addr, n.Self().Epoch+1); may {
			t.Errorf("MayReturn(%s) = true for another process", n.addr)
		}
	}
	if may, _ := one.MayReturn("192.0.2.1:1", 1); may {
		t.Error("MayReturn = true for an address that is not known")
	}
	two.kill()
	gone(two)
	three.stop()
	gone(three)
	again := newTestNode(t, Config{ID: 2, Seeds: []string{one.addr}})
	again.serve(listen(t, two.addr))
	one.within(patience, "linked again", one.HasUp(two.addr))
	gone(two)
}
