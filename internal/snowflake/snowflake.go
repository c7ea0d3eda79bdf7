// Package snowflake numbers sessions: the numbers of a node grow, and no two nodes give the same.
package snowflake

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// An id is 41 bits of milliseconds since epoch, 16 bits of node and 6 bits of sequence, after Twitter's Snowflake.
// More than 64 ids in a millisecond borrow from those to come.
const (
	nodeBits     = 16
	sequenceBits = 6

	// MaxNode is the largest number of a node.
	MaxNode = 1<<nodeBits - 1
)

var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// Generator gives the ids of one node. It may be used concurrently.
type Generator struct {
	node int64
	last atomic.Int64 // milliseconds and sequence of the last id
}

// The generators of this process, by node: servers that bear one number have to share one.
var (
	mu         sync.Mutex
	generators = map[uint64]*Generator{} // mu guards it
)

// New returns the generator for a node, the same one to all servers of a process that bear the number, so that no two
// of their sessions are given one id. A number over MaxNode is an error.
func New(node uint64) (*Generator, error) {
	if node > MaxNode {
		return nil, fmt.Errorf("node id %d is too large, want %d at most", node, MaxNode)
	}
	mu.Lock()
	defer mu.Unlock()
	g := generators[node]
	if g == nil {
		g = &Generator{node: int64(node)}
		generators[node] = g
	}
	return g, nil
}

// Next returns an id that is above 0 and above the one before.
func (g *Generator) Next() int64 {
	now := time.Since(epoch).Milliseconds() << sequenceBits
	for {
		last := g.last.Load()
		next := max(now, last+1)
		if g.last.CompareAndSwap(last, next) {
			return next>>sequenceBits<<(sequenceBits+nodeBits) | g.node<<sequenceBits | next&(1<<sequenceBits-1)
		}
	}
}
