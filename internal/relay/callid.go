package relay

import (
	"hash/maphash"
	"sync/atomic"
)

// callIDs makes the ids of calls. A session's call runs as a request with the call's id, among the requests of the client,
// whose ids may be any number. So half of an id is a hash of the other half, which only this node can compute.
//
//	bit 63: set; bits 32 to 62: a counter; bits 0 to 31: its hash
type callIDs struct {
	seed maphash.Seed
	last atomic.Uint32
}

func (c *callIDs) next() uint64 { return c.id(c.last.Add(1)) }

func (c *callIDs) id(n uint32) uint64 {
	n &= 1<<31 - 1
	return 1<<63 | uint64(n)<<32 | uint64(uint32(maphash.Comparable(c.seed, n)))
}

// made reports whether id was made here.
func (c *callIDs) made(id uint64) bool { return isCall(id) && c.id(uint32(id>>32)) == id }

// isCall reports whether an id may be that of a call.
func isCall(id uint64) bool { return id>>63 != 0 }
