package mesh

import (
	"slices"
	"strings"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/link"
)

// Member is a node of the cluster at one moment. Its fields are those of cluster.Member.
type Member struct {
	ID       uint64 // the node id
	Addr     string // where the node can be dialed, "host:port"
	Epoch    uint64 // start time of the process, Unix nanoseconds
	Label    string
	Services []string      // names of the services that the node serves
	Up       bool          // the link to the node is up
	RTT      time.Duration // smoothed round-trip time of the link; 0 if it was not measured

	Queued      int // messages that wait to be sent over the link
	QueuedBytes int // bytes of these messages
}

func member(addr string, epoch uint64, h *clusterpb.Hello, up bool, rtt time.Duration) Member {
	return Member{
		ID: h.GetId(), Addr: addr, Epoch: epoch,
		Label: h.GetInfo().GetLabel(), Services: slices.Clone(h.GetInfo().GetServices()),
		Up: up, RTT: rtt,
	}
}

// MemberOf returns the member at the other end of a link.
func MemberOf(l *link.Link) Member {
	return member(l.Addr, l.Epoch, l.Hello(), l.Err() == nil, l.RTT())
}

// Members returns the other members that this node has been linked to, sorted by address: those that are up, and those
// that went down without leaving, for as long as this node dials them.
func (n *Node) Members() []Member {
	all, links := n.members()
	for i, l := range links {
		if l != nil {
			all[i].Queued, all[i].QueuedBytes = l.Queued() // takes the lock of the link
		}
	}
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.Addr, b.Addr) })
	return all
}

// members returns the members of Members without their queues, and the link of each, nil for one that is down.
func (n *Node) members() (all []Member, links []*link.Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		switch {
		case p.up:
			all, links = append(all, member(p.addr, p.epoch, p.hello, p.link.Err() == nil, p.link.RTT())), append(links, p.link)
		case p.hello != nil && !p.left:
			all, links = append(all, member(p.addr, p.epoch, p.hello, false, 0)), append(links, nil)
		}
	}
	return all, links
}

// Links returns the links that are up, sorted by address. The slice must not be changed.
func (n *Node) Links() []*link.Link { return n.table.Load().links }

// LinksTo returns the links that are up to members with the service, sorted by address. The slice must not be changed.
func (n *Node) LinksTo(service string) []*link.Link { return n.table.Load().services[service] }

// Converged reports whether this node knows the members and their services: a seed has answered, and after that every
// member of the gossip was linked at the same time. It stays true. A node without seeds converges when it starts.
func (n *Node) Converged() bool { return n.converged.Load() }

// MayReturn reports whether a process that was linked is linked, or may be linked again soon: the gossip considers it alive,
// and no dial has failed since its link ended. The channel is closed when that may have changed.
func (n *Node) MayReturn(addr string, epoch uint64) (may bool, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[addr]
	may = p != nil && p.epoch == epoch && n.state != stopping && (p.up || p.known[epoch] && !p.left && !p.tried)
	return may, n.changed
}

// allLinked reports whether every member that the gossip considers alive is linked. The caller holds mu.
func (n *Node) allLinked() bool {
	for _, p := range n.peers {
		if !p.up && len(p.known) > 0 {
			return false
		}
	}
	return true
}

// table is a snapshot of the links that are up.
type table struct {
	links    []*link.Link
	services map[string][]*link.Link
}

// publish replaces the table. The caller holds mu.
func (n *Node) publish() {
	t := &table{services: make(map[string][]*link.Link)}
	for _, p := range n.peers {
		if p.up {
			t.links = append(t.links, p.link)
		}
	}
	slices.SortFunc(t.links, func(a, b *link.Link) int { return strings.Compare(a.Addr, b.Addr) })
	for _, l := range t.links {
		for _, s := range l.Hello().GetInfo().GetServices() {
			t.services[s] = append(t.services[s], l)
		}
	}
	n.table.Store(t)
	n.notify()
}

// notify wakes the goroutines that wait for the state of a peer to change. The caller holds mu.
func (n *Node) notify() {
	if n.joined && !n.converged.Load() && n.allLinked() {
		n.converged.Store(true)
	}
	close(n.changed)
	n.changed = make(chan struct{})
}
