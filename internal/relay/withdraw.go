package relay

import (
	"context"
	"sync"
	"time"

	"github.com/lonng/nano/internal/link"
)

// withdrawTimeout is how long Withdraw waits for the other nodes, or half of the time until its deadline if that is
// shorter: accepted messages have to run afterwards.
const withdrawTimeout = time.Second

// Withdraw announces that this node does not serve anything any more. It waits until the other nodes know, and what they
// sent before is here.
func (b *Broker) Withdraw(ctx context.Context) {
	if b.node == nil {
		return
	}
	b.node.Withdraw()
	ctx, cancel := context.WithTimeout(ctx, min(withdrawTimeout, timeLeft(ctx)/2))
	defer cancel()
	var wg sync.WaitGroup
	for _, pc := range *b.peers.Load() {
		wg.Go(func() { pc.flush(ctx) })
	}
	wg.Wait()
}

// flush returns when the peer has handled all frames sent to it, and this node all frames
// that the peer sent until then. It sends a call without a route. After answering that
// call, the peer sends nothing more that this node would serve: see peerConn.withdrew.
func (pc *peerConn) flush(ctx context.Context) {
	_ = pc.b.await(ctx, nil, "", nil, nil, func(ctx context.Context, c *outCall, _ []byte) error {
		pc.b.at(c, pc)
		return pc.link.Send(&link.Frame{Kind: kindCall, ID: c.id, Meta: appendTimeLeft(nil, ctx)})
	})
}

// withdrew stops sending the peer messages to serve. A goroutine that has chosen the peer
// and not sent yet chooses again.
func (pc *peerConn) withdrew() {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	pc.down = true
}
