package mesh

import (
	"fmt"
	"log/slog"
	"math/rand/v2"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/link"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// updateHello replaces the hello, and sends it to the members. The caller holds mu.
func (n *Node) updateHello() {
	n.hello = &clusterpb.Hello{
		Id: n.id.Load(), Fixed: n.cfg.FixedID, Serving: n.state == serving,
		Info:   &clusterpb.MemberInfo{Label: n.cfg.Label, ServiceAddr: n.self.Addr, Services: n.cfg.Services},
		Traces: n.cfg.Traces,
	}
	for _, p := range n.peers {
		if p.link != nil {
			n.sendHello(p.link)
		}
	}
}

// sendHello sends the hello on a link. The caller holds mu.
func (n *Node) sendHello(l *link.Link) {
	if err := l.SendHello(n.hello); err != nil {
		l.Close(err)
	}
}

// resolveID decides which of two nodes keeps an id that both have. A fixed id wins over one that is not fixed, then a node
// that serves over one that starts, then the older node. Both nodes come to the same result. newID is the new id of this
// node, or 0 if it does not change. err is a status for the peer. The caller holds mu.
func (n *Node) resolveID(mine, theirs *clusterpb.Hello, l *link.Link) (newID uint64, err error) {
	if mine.GetId() != theirs.GetId() {
		return 0, nil
	}
	var loses bool // this node loses the id
	switch {
	case mine.GetFixed() != theirs.GetFixed():
		loses = theirs.GetFixed()
	case mine.GetServing() != theirs.GetServing():
		loses = theirs.GetServing()
	case n.self.Epoch != l.Epoch:
		loses = n.self.Epoch > l.Epoch
	default:
		loses = n.self.Addr > l.Addr
	}
	switch {
	case mine.GetFixed() && theirs.GetFixed():
		err := fmt.Errorf("%w: %d, by %s and %s", ErrDuplicateID, mine.GetId(), n.self.Addr, l.Addr)
		n.note(slog.LevelError, "cluster: refused a link", "member", l.Addr, "error", err)
		if !loses {
			return 0, status.Errorf(codes.AlreadyExists, "%d is the id of %s", mine.GetId(), n.self.Addr)
		}
		n.fail(fmt.Errorf("%w: %d is the id of %s", ErrDuplicateID, mine.GetId(), l.Addr))
		return 0, status.Error(codes.Unavailable, err.Error())
	case !loses || mine.GetId() != n.id.Load():
		return 0, nil // the peer takes another id, or this node already has another one
	}
	id, ok := n.freeID()
	if !ok {
		n.note(slog.LevelError, "cluster: every node id is in use", "node_id", mine.GetId(), "max", n.cfg.MaxID)
		return 0, nil
	}
	return id, nil
}

// replaceID changes the node id to id, unless id is 0. The caller holds mu.
func (n *Node) replaceID(id uint64) {
	if id == 0 {
		return
	}
	n.note(slog.LevelInfo, "cluster: node id was in use, took another", "was", n.id.Swap(id), "node_id", id)
	n.updateHello()
}

// freeID returns an id that no known member has. The caller holds mu.
func (n *Node) freeID() (uint64, bool) {
	taken := map[uint64]bool{n.id.Load(): true}
	for _, p := range n.peers {
		if p.hello != nil {
			taken[p.hello.GetId()] = true
		}
	}
	first := rand.Uint64N(n.cfg.MaxID)
	for i := range n.cfg.MaxID {
		if id := 1 + (first+i)%n.cfg.MaxID; !taken[id] {
			return id, true
		}
	}
	return 0, false
}
