package relay

import (
	"sync/atomic"

	"github.com/lonng/nano/internal/link"
)

// Stats counts the traffic between this node and the others. Its fields are those of
// cluster.Stats.
type Stats struct {
	Members  int // other nodes that are up
	Sessions int // proxy sessions
	Carried  int // clients of this node that resume sessions of other nodes, or have resumed them

	MessagesIn  int64
	MessagesOut int64
	BytesIn     int64
	BytesOut    int64

	Queued      int
	QueuedBytes int

	Multicasts int64
	Unsent     int64
	Refused    int64
	Lost       int64
	Late       int64
}

// counts holds the counters of a broker.
type counts struct {
	traffic    link.Counts // traffic of the links
	multicasts atomic.Int64
	unsent     atomic.Int64
	refused    atomic.Int64
	lost       atomic.Int64
	late       atomic.Int64
}

// Stats returns the statistics of the node; nil for a server without a cluster.
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
	for _, pc := range *b.peers.Load() {
		st.Members++
		frames, bytes := pc.link.Queued()
		st.Queued += frames
		st.QueuedBytes += bytes
		pc.mu.Lock()
		st.Sessions += len(pc.sessions)
		st.Carried += len(pc.streams.opened)
		pc.mu.Unlock()
	}
	return st
}
