package cluster

import (
	"sync/atomic"

	"github.com/lonng/nano/internal/link"
)

// Stats is what went between a node and the others. Counters only grow, over links that come and go; the rest is of this
// moment. A message is anything that the nodes tell each other but pings: one of a client or its answer, a push, a call, a
// note of who has logged in.
type Stats struct {
	Members  int // other nodes that are up
	Sessions int // of other nodes' clients, which this node knows

	MessagesIn  int64
	MessagesOut int64
	BytesIn     int64 // of MessagesIn, headers included
	BytesOut    int64 // likewise of MessagesOut

	Queued      int // messages that wait to be sent to other nodes
	QueuedBytes int // bytes of those

	Multicasts int64 // pushes that came from other nodes for many clients of this one: one for each group and node
	Unsent     int64 // pushes for many clients of another node that found the queue to it full
	Refused    int64 // messages of other nodes' clients that found too many of their session waiting
	Lost       int64 // answers and pushes of other nodes that could not be sent to a client of this one
	Late       int64 // answers and replies that came when nobody waited for them any more
}

// counts is the counters of a broker; those of its links are in traffic.
type counts struct {
	traffic    link.Counts
	multicasts atomic.Int64
	unsent     atomic.Int64
	refused    atomic.Int64
	lost       atomic.Int64
	late       atomic.Int64
}

// Stats returns what went between this node and the others; nil for a server on its own.
func (b *Broker) Stats() *Stats {
	if b.node == nil {
		return nil
	}
	c := &b.counts
	st := &Stats{
		MessagesIn: c.traffic.FramesIn.Load(), MessagesOut: c.traffic.FramesOut.Load(),
		BytesIn: c.traffic.BytesIn.Load(), BytesOut: c.traffic.BytesOut.Load(),
		Multicasts: c.multicasts.Load(), Unsent: c.unsent.Load(), Refused: c.refused.Load(), Lost: c.lost.Load(), Late: c.late.Load(),
	}
	for _, nb := range *b.neighbors.Load() {
		st.Members++
		frames, bytes := nb.link.Queued()
		st.Queued += frames
		st.QueuedBytes += bytes
		nb.mu.Lock()
		st.Sessions += len(nb.sessions)
		nb.mu.Unlock()
	}
	return st
}
