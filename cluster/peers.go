package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/nodeauth"
	"github.com/lonng/nano/internal/link"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// peer is what a node knows of an address: of the process that answers there, and of those that did before. The
// node's mu guards it.
type peer struct {
	addr string

	// What the gossip says.
	known map[uint64]bool // epochs of the processes that it takes for alive
	seen  time.Time       // when known, or link, last became empty

	// What the last process to greet said.
	epoch uint64
	hello *clusterpb.Hello
	left  bool // it said goodbye

	// At most one of attempt and link is set, but for the time in which a new attempt waits for the old link to finish.
	attempt *attempt
	link    *Link     // from the greeting until it is finished
	up      bool      // link is in the table
	lost    bool      // link has ended, and was taken out
	since   time.Time // when it came up
	broken  bool      // a link or a dial failed since the last link came up

	// Dialing.
	pursued bool          // a goroutine runs pursue
	tried   bool          // dialing has failed, or need not be waited for
	next    time.Time     // when to dial again
	backoff time.Duration // the time between the last two dials
	trouble string        // the text of the last failure that was logged
	poke    chan struct{} // holds a token when pursue is to look again
}

// attempt is a link in the making. Whoever finds that the peer's attempt is not theirs any more gives up; the node that
// dialed looks before it sends its hello, so that it never gives up one link for another that is given up too.
type attempt struct {
	dialing bool // by this node
	greeted bool // this node has dialed and sent its hello: the peer may have made the link already
	started time.Time
	cancel  context.CancelFunc
}

// peerAt returns the peer at addr, made if need be. It is called under mu.
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

// hurry has a new process dialed at once. It is called under mu.
func (p *peer) hurry() {
	p.next, p.backoff = time.Time{}, 0
	p.wake()
}

// backOff doubles the time until the next dial, within bounds. It is called under mu.
func (p *peer) backOff(least, most time.Duration) {
	p.backoff = min(max(p.backoff*2, least), most)
	p.next = time.Now().Add(p.backoff/2 + rand.N(p.backoff/2+1))
}

// alive is told by the gossip, under memberlist's lock, that a process has appeared.
func (n *Node) alive(addr string, epoch uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peerAt(addr)
	if p.left && epoch <= p.epoch {
		return // the gossip lags behind the goodbye
	}
	p.known[epoch] = true
	p.left = false
	if epoch != p.epoch {
		p.hurry()
	}
	n.pursue(p)
}

// gone is told by the gossip, under memberlist's lock, that a process left or died.
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

// pursue keeps a link to the peer for as long as it is worth trying. It is called under mu.
func (n *Node) pursue(p *peer) {
	if p.pursued {
		return
	}
	p.pursued = n.spawn(func() {
		for {
			a, wait, ok := n.chance(p)
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
	})
}

// chance decides what pursue does next: dial, wait for at most a time, or give up.
func (n *Node) chance(p *peer) (a *attempt, wait time.Duration, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	const long = time.Hour // until poked
	now := time.Now()
	switch {
	case n.state == stopping:
		p.pursued = false
		return nil, 0, false
	case p.link != nil || p.attempt != nil:
		return nil, long, true
	case p.left || len(p.known) == 0 && now.Sub(p.seen) > n.t.forget:
		p.pursued = false
		n.notify()
		return nil, 0, false
	case now.Before(p.next):
		return nil, p.next.Sub(now), true
	}
	p.attempt = &attempt{dialing: true, started: now}
	return p.attempt, 0, true
}

// forgetPeers removes the peers that nobody pursues. It is called under mu.
func (n *Node) forgetPeers(now time.Time) {
	for addr, p := range n.peers {
		if !p.pursued && p.link == nil && p.attempt == nil && now.Sub(p.seen) > n.t.recent {
			delete(n.peers, addr)
		}
	}
}

var (
	errCrossed = errors.New("cluster: the peer dials this node at the same time")
	errForeign = errors.New("cluster: another node answered at the address")
)

// dialLink dials the peer, and runs the link until it ends.
func (n *Node) dialLink(p *peer, a *attempt) {
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	n.mu.Lock()
	a.cancel = cancel
	n.mu.Unlock()

	var sent *clusterpb.Hello
	l, conn, err := n.greetAt(ctx, cancel, p, func() (*clusterpb.Hello, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if p.attempt != a {
			return nil, errCrossed
		}
		a.greeted, sent = true, n.hello
		return sent, nil
	})
	if conn != nil {
		defer conn.Close()
	}
	if err == nil {
		err = n.engage(p, a, l, sent)
	}
	if err != nil {
		n.failed(p, a, err)
		return
	}
	n.run(p, l)
	cancel()
	<-l.Finished()
}

// greetAt opens a stream to the peer and greets.
func (n *Node) greetAt(ctx context.Context, cancel context.CancelFunc, p *peer, hello func() (*clusterpb.Hello, error)) (*Link, *grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///"+p.addr, n.dial...)
	if err != nil {
		return nil, nil, err
	}
	expire := time.AfterFunc(n.t.greet, cancel)
	var who nodeauth.Peer
	st, err := clusterpb.NewClusterClient(conn).Link(ctx)
	if err == nil {
		who, err = n.self.Dial(st, hello)
	}
	switch {
	case !expire.Stop():
		return nil, conn, fmt.Errorf("cluster: no answer within %v", n.t.greet)
	case err != nil:
		return nil, conn, err
	case who.Addr != p.addr:
		return nil, conn, fmt.Errorf("%w: %s", errForeign, who.Addr)
	}
	return n.newLink(st, who), conn, nil
}

func (n *Node) newLink(st link.Stream, who nodeauth.Peer) *Link {
	return link.New(st, who.Addr, who.Epoch, who.Hello, n.t.link, (*receiver)(n))
}

// engage makes a link that this node dialed the peer's. sent is the hello that the peer got.
func (n *Node) engage(p *peer, a *attempt, l *Link, sent *clusterpb.Hello) error {
	n.mu.Lock()
	defer n.unlock()
	if n.state == stopping {
		return ErrStopped
	}
	if p.attempt != a {
		return errCrossed
	}
	newID, err := n.contest(sent, l.Hello(), l)
	if err != nil {
		return err
	}
	n.attach(p, l, sent)
	n.replaceID(newID)
	return nil
}

// attach makes l the link of its peer. It is called under mu.
func (n *Node) attach(p *peer, l *Link, sent *clusterpb.Hello) {
	p.attempt = nil
	p.link, p.epoch, p.hello, p.left, p.lost = l, l.Epoch, l.Hello(), false, false
	if sent != n.hello {
		n.tell(l)
	}
	n.pursue(p)
}

// failed notes that dialing did not lead to a link, and when to try again.
func (n *Node) failed(p *peer, a *attempt, err error) {
	n.mu.Lock()
	defer n.unlock()
	if p.attempt != a {
		return // the peer's own attempt took over
	}
	p.attempt = nil
	if n.state == stopping {
		return
	}
	p.broken = true
	pause := n.t.redialMax
	switch {
	case errors.Is(err, errCrossed) || status.Code(err) == codes.Aborted:
		p.backOff(n.t.redialMin, n.t.redialMax)
		return
	case status.Code(err) == codes.AlreadyExists:
		err = fmt.Errorf("%w: %s", ErrDuplicateID, status.Convert(err).Message())
		n.fail(err)
		p.backoff, pause = n.t.refused, n.t.refused
	case status.Code(err) == codes.PermissionDenied:
		err = fmt.Errorf("%w: %s", ErrRefused, status.Convert(err).Message())
		n.fail(err)
		p.backoff, pause = n.t.refused, n.t.refused
	case errors.Is(err, ErrRefused), errors.Is(err, ErrDuplicateID), errors.Is(err, errForeign):
		p.backoff, pause = n.t.refused, n.t.refused
	default:
		if len(p.known) == 0 && time.Since(p.seen) > n.t.recent {
			pause = n.t.redialOld
		}
		if st, ok := status.FromError(err); ok {
			err = errors.New(st.Message())
		}
	}
	p.backOff(n.t.redialMin, pause)
	p.tried = true
	if text := err.Error(); text != p.trouble {
		p.trouble = text
		n.note(slog.LevelWarn, "cluster: no link to member, trying on", "addr", p.addr, "err", err)
	}
	n.notify()
}

// fail has Start return err. It is called under mu.
func (n *Node) fail(err error) {
	if n.state == starting && n.failure == nil {
		n.failure = err
		n.notify()
	}
}

// accept serves the Link call of a peer. Returning from it is the only way to break off its sends and receives, so
// another goroutine does the work.
func (n *Node) accept(st clusterpb.Cluster_LinkServer) error {
	done := make(chan error, 1)
	greeted := make(chan struct{})
	n.mu.Lock()
	started := n.spawn(func() { done <- n.acceptLink(st, greeted) })
	n.mu.Unlock()
	if !started {
		return errStopping
	}
	expire := time.NewTimer(n.t.greet)
	defer expire.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-expire.C:
			select {
			case <-greeted:
			default:
				return status.Error(codes.DeadlineExceeded, "cluster: no greeting in time")
			}
		case <-n.ctx.Done():
			return errStopping
		}
	}
}

var errStopping = status.Error(codes.Unavailable, "cluster: node is stopping")

// acceptLink greets, and runs the link until it ends. The error is a status for the peer.
func (n *Node) acceptLink(st clusterpb.Cluster_LinkServer, greeted chan<- struct{}) error {
	who, err := n.self.Accept(st)
	if err == nil {
		who.Hello, err = nodeauth.Hear(st)
	}
	close(greeted)
	if err != nil {
		return err
	}
	l := n.newLink(st, who)
	p, a, err := n.claim(l)
	if err != nil {
		return err
	}
	n.mu.Lock()
	if n.state == stopping || p.attempt != a {
		n.mu.Unlock()
		return status.Error(codes.Aborted, "cluster: the peer dialed again")
	}
	sent := n.hello
	n.mu.Unlock()
	if err := nodeauth.Hello(st, sent); err != nil {
		n.release(p, a)
		return err
	}
	n.mu.Lock()
	if n.state == stopping || p.attempt != a {
		n.mu.Unlock()
		return status.Error(codes.Aborted, "cluster: the peer dialed again")
	}
	n.attach(p, l, sent)
	n.mu.Unlock()
	n.run(p, l)
	return nil
}

// claim decides whether a peer that dialed gets its link. It returns when the link before is finished.
func (n *Node) claim(l *Link) (*peer, *attempt, error) {
	n.mu.Lock()
	if n.state == stopping {
		n.unlock()
		return nil, nil, errStopping
	}
	if l.Addr == n.self.Addr {
		n.unlock()
		return nil, nil, status.Errorf(codes.FailedPrecondition, "cluster: address %s is that of the node that was dialed", l.Addr)
	}
	newID, err := n.contest(n.hello, l.Hello(), l)
	if err != nil {
		n.unlock()
		return nil, nil, err
	}
	p := n.peerAt(l.Addr)
	old := p.link
	switch a := p.attempt; {
	case old != nil && old.Err() == nil && old.Epoch == l.Epoch:
		// Both dialed, and one link is made already. If it is the peer that has lost it, this node will know soon.
		err = status.Error(codes.Aborted, errCrossed.Error())
	case old != nil && old.Err() == nil && old.Epoch > l.Epoch:
		err = status.Errorf(codes.FailedPrecondition, "cluster: a newer process is linked under the address %s", l.Addr)
	case a != nil && a.dialing && n.self.Addr < l.Addr && (a.greeted || time.Since(a.started) < n.t.cross):
		// Of two that dial each other the one with the smaller address goes on, unless the peer is hard to reach from here.
		err = status.Error(codes.Aborted, errCrossed.Error())
	case a != nil && a.cancel != nil:
		a.cancel()
	}
	if err != nil {
		n.unlock()
		return nil, nil, err
	}
	a := &attempt{started: time.Now()}
	p.attempt = a
	n.replaceID(newID)
	n.unlock()
	if old == nil {
		return p, a, nil
	}
	if n.answers(old) {
		n.release(p, a)
		return nil, nil, status.Errorf(codes.PermissionDenied, "the address %s is that of another node, which is up", l.Addr)
	}
	old.Close(errReplaced)
	t := time.NewTimer(n.t.greet)
	defer t.Stop()
	select {
	case <-old.Finished():
		return p, a, nil
	case <-t.C:
		n.release(p, a)
		return nil, nil, status.Error(codes.Unavailable, "cluster: the link before has not ended")
	case <-n.ctx.Done():
		n.release(p, a)
		return nil, nil, errStopping
	}
}

// answers reports whether the process at the other end of a link is there. One that was restarted is not: its link broke
// already, or is about to.
func (n *Node) answers(l *Link) bool {
	ctx, cancel := context.WithTimeout(n.ctx, n.t.alive)
	defer cancel()
	return l.Ping(ctx) == nil
}

// release gives an attempt up.
func (n *Node) release(p *peer, a *attempt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.attempt == a {
		p.attempt = nil
		p.wake()
	}
}

// contest settles which of two nodes keeps an id that both have: one that is fixed before one that is not, one that
// serves before one that starts, and the older before the younger. Both sides come to the same end. newID is what
// this node's id is to become, or 0; err is a status for the peer. It is called under mu.
func (n *Node) contest(mine, theirs *clusterpb.Hello, l *Link) (newID uint64, err error) {
	if mine.GetId() != theirs.GetId() {
		return 0, nil
	}
	var yield bool
	switch {
	case mine.GetFixed() != theirs.GetFixed():
		yield = theirs.GetFixed()
	case mine.GetServing() != theirs.GetServing():
		yield = theirs.GetServing()
	case n.self.Epoch != l.Epoch:
		yield = n.self.Epoch > l.Epoch
	default:
		yield = n.self.Addr > l.Addr
	}
	switch {
	case mine.GetFixed() && theirs.GetFixed():
		err := fmt.Errorf("%w: %d, by %s and %s", ErrDuplicateID, mine.GetId(), n.self.Addr, l.Addr)
		n.note(slog.LevelError, "cluster: refused a link", "err", err)
		if !yield {
			return 0, status.Errorf(codes.AlreadyExists, "%d is the id of %s", mine.GetId(), n.self.Addr)
		}
		n.fail(fmt.Errorf("%w: %d is the id of %s", ErrDuplicateID, mine.GetId(), l.Addr))
		return 0, status.Error(codes.Unavailable, err.Error())
	case !yield || mine.GetId() != n.id.Load():
		return 0, nil // the peer takes another id, or this node has taken one
	}
	id, ok := n.freeID()
	if !ok {
		n.note(slog.LevelError, "cluster: every node id is in use", "id", mine.GetId(), "max", n.cfg.MaxID)
		return 0, nil
	}
	return id, nil
}

// replaceID takes another id, if id is one. It is called under mu.
func (n *Node) replaceID(id uint64) {
	if id == 0 {
		return
	}
	n.note(slog.LevelInfo, "cluster: node id was in use, took another", "was", n.id.Swap(id), "id", id)
	n.renew()
}

// run runs a link until it has ended.
func (n *Node) run(p *peer, l *Link) {
	l.Run()
	n.lost(p, l)
	n.wg.Go(func() {
		<-l.Finished()
		n.mu.Lock()
		defer n.mu.Unlock()
		if p.link == l {
			p.link = nil
			p.seen = time.Now()
		}
		p.wake()
	})
}

// lost takes a link that has ended out of the table. It is called once more, to no effect, before Down.
func (n *Node) lost(p *peer, l *Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.link != l || p.lost {
		return
	}
	if errors.Is(l.Err(), link.ErrLeft) {
		p.left = true
		clear(p.known)
	}
	if p.up && time.Since(p.since) > n.t.redialMax {
		p.hurry()
	} else {
		p.backOff(n.t.redialMin, n.t.redialMax)
	}
	p.up, p.lost, p.tried, p.broken = false, true, false, true
	n.publish()
	n.gossip.Reset(p.addr)
}

// receiver is the node as its links see it.
type receiver Node

func (r *receiver) Up(l *link.Link) {
	n := (*Node)(r)
	n.cfg.Handler.Up(l)
	n.mu.Lock()
	p := n.peers[l.Addr]
	broken := p.broken
	listed := p.link == l && l.Err() == nil
	if listed {
		p.up, p.since, p.broken, p.trouble = true, time.Now(), false, ""
		n.publish()
		n.note(slog.LevelInfo, "cluster: member up", "addr", l.Addr, "id", l.Hello().GetId(), "label", l.Hello().GetInfo().GetLabel())
	}
	n.unlock()
	if broken {
		n.gossip.Reset(l.Addr)
	}
	if n.cfg.Listed != nil && listed {
		n.cfg.Listed(l)
	}
}

func (r *receiver) Received(l *link.Link, frames []link.Frame) { r.cfg.Handler.Received(l, frames) }

func (r *receiver) Changed(l *link.Link) {
	n := (*Node)(r)
	n.mu.Lock()
	defer n.unlock()
	p := n.peers[l.Addr]
	if p.link != l {
		return
	}
	p.hello = l.Hello()
	newID, err := n.contest(n.hello, p.hello, l)
	if err != nil {
		l.Close(err)
		return
	}
	n.replaceID(newID)
	n.publish()
}

func (r *receiver) Down(l *link.Link, err error) {
	n := (*Node)(r)
	n.mu.Lock()
	p := n.peers[l.Addr]
	n.mu.Unlock()
	n.lost(p, l)
	if !errors.Is(err, link.ErrLeft) && !errors.Is(err, ErrStopped) {
		r.log.Warn("cluster: member down", "addr", l.Addr, "err", err)
	} else {
		r.log.Info("cluster: member left", "addr", l.Addr)
	}
	r.cfg.Handler.Down(l, err)
}
