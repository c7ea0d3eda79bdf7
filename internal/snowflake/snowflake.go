// Package snowflake generates session ids. The ids of one node increase, and no two nodes generate the same id.
package snowflake

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// An id is 41 bits of milliseconds since epoch, 16 bits of node and 6 bits of sequence, after Twitter's Snowflake. If a
// node needs more than 64 ids in a millisecond, it uses those of the following milliseconds.
const (
	nodeBits     = 16
	sequenceBits = 6

	// MaxNode is the largest node id.
	MaxNode = 1<<nodeBits - 1
)

var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// Generator generates the ids of one node. It may be used concurrently.
type Generator struct {
	node int64
	last atomic.Int64 // milliseconds and sequence of the last id
}

// The generators of this process by node. Servers with the same node id share one.
var (
	mu         sync.Mutex
	generators = map[uint64]*Generator{} // mu guards it
)

// New returns the generator of a node. All servers of a process with the same node id get the same generator, and so
// never use an id twice. A node id above MaxNode is an error.
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

// Next returns the next id. It is positive and larger than all ids before.
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
