package room

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/lonng/nano/internal/message"
)

// This file finds rooms that have moved. The id of a room names the node that made it.
// Each node that moved a room knows where it went, until the room ends. If that node is
// gone, the others are asked.

// location asks a node whether it has a room, and is the answer.
type location struct {
	ID   string `json:"id"`
	Here bool   `json:"here,omitempty"`
}

// whereabouts returns the name of the node that probably has the room, and whether the
// room is on this node.
func (n *node) whereabouts(id string) (name string, here bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.rooms[id] != nil {
		return n.name, true
	}
	if name = n.moved[id]; name == "" {
		name, _, _ = strings.Cut(id, "-")
	}
	return name, false
}

// peerOf returns the other node that has the room with an id, as far as this node knows.
func (n *node) peerOf(id string) (peer, bool) {
	name, here := n.whereabouts(id)
	if here || name == n.name {
		return peer{}, false
	}
	return n.peerNamed(name)
}

// astray reports whether other nodes have to be asked for a room, because the one that
// made it or got it is gone.
func (n *node) astray(id string) bool {
	name, here := n.whereabouts(id)
	if here || name == n.name || !strings.Contains(id, "-") {
		return false
	}
	_, up := n.peerNamed(name)
	return !up && len(n.peers("")) > 0
}

// locate asks all other nodes for a room.
func (n *node) locate(ctx context.Context, id string) (peer, bool) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var mu sync.Mutex
	var found peer
	var wg sync.WaitGroup
	for _, p := range n.peers("") {
		wg.Go(func() {
			var l location
			if n.call(ctx, p.name, methodLocate, &location{ID: id}, &l) == nil && l.Here {
				mu.Lock()
				defer mu.Unlock()
				found = p
				cancel() // no other node has it
			}
		})
	}
	wg.Wait()
	return found, found.name != ""
}

// codeMoved is the code of the answer to a forwarded request for a room that has moved.
const codeMoved = "ROOM-MOVED"

// errMovedTo returns the answer to a forwarded request for a room that is on the node
// with a name.
func errMovedTo(name string) error {
	return &message.Error{Code: codeMoved, Message: "the room has moved to another node", Metadata: map[string]string{"node": name}}
}

// movedTo returns the name in an error of errMovedTo.
func movedTo(err error) (name string, ok bool) {
	var e *message.Error
	if errors.As(err, &e) && e.Code == codeMoved {
		return e.Metadata["node"], true
	}
	return "", false
}

// forget drops the record that this node moved a room, because the room has ended.
func (n *node) forget(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.moved, id)
}

// forgetAt makes the nodes that moved a room forget it.
func (n *node) forgetAt(names []string, id string) {
	if len(names) == 0 {
		return
	}
	n.async(func(ctx context.Context) {
		for _, name := range names {
			if _, up := n.peerNamed(name); up {
				_ = n.call(ctx, name, methodForget, &location{ID: id}, &struct{}{}) // the record only costs memory
			}
		}
	})
}
