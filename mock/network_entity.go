package mock

import (
	"fmt"
	"net"
	"sync"
)

// NetworkEntity records the messages sent through it. It implements session.NetworkEntity. The
// zero value is ready to use, and its methods may be called concurrently. It stores
// values as they are, neither copied nor encoded.
type NetworkEntity struct {
	// mu guards all that follows.
	mu        sync.Mutex
	pushes    []sent
	rpcs      []sent
	responses []any          // of Response, in order
	answers   map[uint64]any // of ResponseMid, by message id
}

type sent struct {
	route string
	v     any
}

// NewNetworkEntity returns a NetworkEntity without records.
func NewNetworkEntity() *NetworkEntity { return &NetworkEntity{} }

// Push records v under route for FindResponseByRoute. It returns nil.
func (n *NetworkEntity) Push(route string, v any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pushes = append(n.pushes, sent{route, v})
	return nil
}

// RPC records v under route for FindRPCByRoute. It returns nil.
func (n *NetworkEntity) RPC(route string, v any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rpcs = append(n.rpcs, sent{route, v})
	return nil
}

// LastMid returns 1, as if the handler under test handled the first request of its
// client.
func (n *NetworkEntity) LastMid() uint64 { return 1 }

// Response records v for LastResponse. It returns nil.
func (n *NetworkEntity) Response(v any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.responses = append(n.responses, v)
	return nil
}

// ResponseMid records v as the answer to the request mid, for FindResponseByMID. Replies
// of a session.Responder are recorded here too, with the mid 1. A second answer to one
// request is an error and changes nothing.
func (n *NetworkEntity) ResponseMid(mid uint64, v any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, answered := n.answers[mid]; answered {
		return fmt.Errorf("mock: request %d was answered already, want one answer", mid)
	}
	if n.answers == nil {
		n.answers = map[uint64]any{}
	}
	n.answers[mid] = v
	return nil
}

// Close does nothing and returns nil. The records stay.
func (n *NetworkEntity) Close() error { return nil }

// RemoteAddr returns a NetAddr.
func (n *NetworkEntity) RemoteAddr() net.Addr { return NetAddr{} }

// LastResponse returns the value that Response recorded last, or nil. It ignores
// ResponseMid.
func (n *NetworkEntity) LastResponse() any {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.responses) == 0 {
		return nil
	}
	return n.responses[len(n.responses)-1]
}

// FindResponseByMID returns the value that ResponseMid recorded for mid, or nil.
func (n *NetworkEntity) FindResponseByMID(mid uint64) any {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.answers[mid]
}

// FindResponseByRoute returns the value that Push recorded first for route, or nil.
func (n *NetworkEntity) FindResponseByRoute(route string) any {
	n.mu.Lock()
	defer n.mu.Unlock()
	return first(n.pushes, route)
}

// FindRPCByRoute returns the value that RPC recorded first for route, or nil.
func (n *NetworkEntity) FindRPCByRoute(route string) any {
	n.mu.Lock()
	defer n.mu.Unlock()
	return first(n.rpcs, route)
}

func first(list []sent, route string) any {
	for _, s := range list {
		if s.route == route {
			return s.v
		}
	}
	return nil
}
