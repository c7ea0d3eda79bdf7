package cluster

import (
	"fmt"
	"testing"
)

func TestServicesVisibleAfterStart(t *testing.T) {
	first := start(t, 1)
	nodes := []*testNode{first}
	for id := uint64(2); id <= 5; id++ {
		n := start(t, id, first.addr)
		nodes = append(nodes, n)
		for _, other := range nodes[:len(nodes)-1] {
			service := fmt.Sprint("Service", other.ID())
			if links := n.LinksTo(service); len(links) != 1 || links[0].Addr != other.addr {
				t.Errorf("node %d: LinksTo(%s) = %v right after Start, want a link to %s", id, service, links, other.addr)
			}
		}
		if got, want := len(n.LinksTo("Shared")), len(nodes)-1; got != want {
			t.Errorf("node %d: %d links to the shared service, want %d", id, got, want)
		}
	}
	for _, n := range nodes {
		for _, other := range nodes {
			if n != other {
				n.within(patience, "up "+other.addr, n.hasUp(other.addr))
			}
		}
	}
}
