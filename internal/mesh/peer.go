package mesh

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/link"
)

// peer is the state of an address: of the process that answers there, and of the
// processes before it. Node.mu guards it.
type peer struct {
	addr string

	// These fields come from the gossip.
	known map[uint64]bool // epochs of the processes that it considers alive
	seen  time.Time       // when known or link last became empty

	// These fields come from the last process that completed a handshake.
	epoch uint64
	hello *clusterpb.Hello
	left  bool // it has left the cluster

	// At most one of attempt and link is set, except while a new attempt waits for the old link to finish.
	attempt *attempt
	link    *link.Link // from the handshake until it has finished
	up      bool       // link is in the table
	lost    bool       // link has ended and is not in the table any more
	since   time.Time  // when link came up
	broken  bool       // a link or a dial has failed since the last link came up

	// These fields control dialing.
	dialed  bool          // a goroutine runs keepDialing
	tried   bool          // a dial has failed; Start does not wait for this peer
	next    time.Time     // when to dial again
	backoff time.Duration // the time between the last two dials
	trouble string        // text of the last failure that was logged
	poke    chan struct{} // holds a token when keepDialing has to check again
}

// attempt is a link that is not up yet. A goroutine gives up when the peer has another
// attempt. The dialed node checks this before it sends its hello. So no link is given up
// for another one that is given up too.
type attempt struct {
	dialing   bool // by this node
	sentHello bool // this node has sent its hello: the link may already exist at the peer
	started   time.Time
	cancel    context.CancelFunc
}

// peerAt returns the peer at addr, and creates it if it is missing. The caller holds mu.
func (n *Node) peerAt(addr string) *peer {
	p, ok := n.peers[addr]
	if !ok {
		p = &peer{addr: addr, known: make(map[uint64]bool), seen: time.Now(), poke: make(chan struct{}, 1)}
		n.peers[addr] = p
	}
	return p
}

func (p *peer) wake() {
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

// dialNow makes the next dial start at once. The caller holds mu.
func (p *peer) dialNow() {
	p.next, p.backoff = time.Time{}, 0
	p.wake()
}

// backOff doubles the time until the next dial, within bounds. The caller holds mu.
func (p *peer) backOff(least, most time.Duration) {
	p.backoff = min(max(p.backoff*2, least), most)
	p.next = time.Now().Add(p.backoff/2 + rand.N(p.backoff/2+1))
}

// alive is called by the gossip, under memberlist's lock, when a process has appeared.
func (n *Node) alive(addr string, epoch uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peerAt(addr)
	if p.left && epoch <= p.epoch {
		return // the gossip does not know yet that it left
	}
	p.known[epoch] = true
	p.left = false
	if epoch != p.epoch {
		p.dialNow()
	}
	n.startDialing(p)
}

// gone is called by the gossip, under memberlist's lock, when a process left or died.
func (n *Node) gone(addr string, epoch uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p, ok := n.peers[addr]; ok && p.known[epoch] {
		delete(p.known, epoch)
		p.seen = time.Now()
		p.wake()
		n.notify()
	}
}

// startDialing starts the goroutine that keeps a link to the peer until the peer is forgotten. The caller holds mu.
func (n *Node) startDialing(p *peer) {
	if p.dialed {
		return
	}
	p.dialed = n.spawn(func() { n.keepDialing(p) })
}

// keepDialing dials the peer whenever it has no link, until the peer is forgotten or the node stops.
func (n *Node) keepDialing(p *peer) {
	for {
		a, wait, ok := n.nextDial(p)
		if !ok {
			return
		}
		if a != nil {
			n.dialLink(p, a)
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-p.poke:
		case <-n.ctx.Done():
		}
		t.Stop()
	}
}

// nextDial decides what keepDialing does next: dial (a), wait for at most a time, or end (not ok).
func (n *Node) nextDial(p *peer) (a *attempt, wait time.Duration, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	const long = time.Hour // until poked
	now := time.Now()
	switch {
	case n.state == stopping:
		p.dialed = false
		return nil, 0, false
	case p.link != nil || p.attempt != nil:
		return nil, long, true
	case p.left || len(p.known) == 0 && now.Sub(p.seen) > n.t.Forget:
		p.dialed = false
		n.notify()
		return nil, 0, false
	case now.Before(p.next):
		return nil, p.next.Sub(now), true
	}
	p.attempt = &attempt{dialing: true, started: now}
	return p.attempt, 0, true
}

// forgetPeers removes the peers that are not dialed any more. The caller holds mu.
func (n *Node) forgetPeers(now time.Time) {
	for addr, p := range n.peers {
		if !p.dialed && p.link == nil && p.attempt == nil && now.Sub(p.seen) > n.t.Recent {
			delete(n.peers, addr)
		}
	}
}
