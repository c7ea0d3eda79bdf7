package mesh

import (
	"context"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/nodeauth"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// accept serves the Link call of a peer. Only returning from it ends a send or receive that blocks, so another goroutine
// does the work.
func (n *Node) accept(st clusterpb.Cluster_LinkServer) error {
	done := make(chan error, 1)
	ready := make(chan struct{}) // closed when the handshake has ended
	n.mu.Lock()
	started := n.spawn(func() { done <- n.acceptLink(st, ready) })
	n.mu.Unlock()
	if !started {
		return errStopping
	}
	expire := time.NewTimer(n.t.Handshake)
	defer expire.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-expire.C:
			select {
			case <-ready:
			default:
				return status.Error(codes.DeadlineExceeded, "cluster: no handshake in time")
			}
		case <-n.ctx.Done():
			return errStopping
		}
	}
}

var errStopping = status.Error(codes.Unavailable, "cluster: node is stopping")

// acceptLink completes the handshake, and runs the link until it ends. The error is a status for the peer.
func (n *Node) acceptLink(st clusterpb.Cluster_LinkServer, ready chan<- struct{}) error {
	who, err := n.self.Accept(st)
	if err == nil {
		who.Hello, err = nodeauth.ReceiveHello(st)
	}
	close(ready)
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
	if err := nodeauth.SendHello(st, sent); err != nil {
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

// claim decides whether a peer that dialed gets its link. It returns when the previous link has finished.
func (n *Node) claim(l *link.Link) (p *peer, a *attempt, err error) {
	var old *link.Link
	n.locked(func() { p, a, old, err = n.admit(l) })
	if err != nil || old == nil {
		return p, a, err
	}
	if n.answers(old) {
		n.release(p, a)
		return nil, nil, status.Errorf(codes.PermissionDenied, "another node that is up has the address %s", l.Addr)
	}
	old.Close(errReplaced)
	t := time.NewTimer(n.t.Handshake)
	defer t.Stop()
	select {
	case <-old.Finished():
		return p, a, nil
	case <-t.C:
		n.release(p, a)
		return nil, nil, status.Error(codes.Unavailable, "cluster: the previous link has not ended")
	case <-n.ctx.Done():
		n.release(p, a)
		return nil, nil, errStopping
	}
}

// admit is the part of claim that decides. old is the previous link of the peer, or nil. The caller holds mu.
func (n *Node) admit(l *link.Link) (p *peer, a *attempt, old *link.Link, err error) {
	if n.state == stopping {
		return nil, nil, nil, errStopping
	}
	if l.Addr == n.self.Addr {
		return nil, nil, nil, status.Errorf(codes.FailedPrecondition, "cluster: the dialing node has the address %s of the dialed node", l.Addr)
	}
	newID, err := n.resolveID(n.hello, l.Hello(), l)
	if err != nil {
		return nil, nil, nil, err
	}
	p = n.peerAt(l.Addr)
	old = p.link
	switch a := p.attempt; {
	case old != nil && old.Err() == nil && old.Epoch == l.Epoch:
		// Both nodes dialed, and one link is already up. If the peer has lost that link,
		// this node will detect the loss soon.
		err = status.Error(codes.Aborted, errCrossed.Error())
	case old != nil && old.Err() == nil && old.Epoch > l.Epoch:
		err = status.Errorf(codes.FailedPrecondition, "cluster: a newer process is linked under the address %s", l.Addr)
	case a != nil && a.dialing && n.self.Addr < l.Addr && (a.sentHello || time.Since(a.started) < n.t.Crossing):
		// If two nodes dial each other, the one with the smaller address continues, unless its dial takes too long.
		err = status.Error(codes.Aborted, errCrossed.Error())
	case a != nil && a.cancel != nil:
		a.cancel()
	}
	if err != nil {
		return nil, nil, nil, err
	}
	a = &attempt{started: time.Now()}
	p.attempt = a
	n.replaceID(newID)
	return p, a, old, nil
}

// answers reports whether the process at the other end of a link answers a ping. After a restart the old process does not.
func (n *Node) answers(l *link.Link) bool {
	ctx, cancel := context.WithTimeout(n.ctx, n.t.Alive)
	defer cancel()
	return l.Ping(ctx) == nil
}

// release gives up an attempt.
func (n *Node) release(p *peer, a *attempt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.attempt == a {
		p.attempt = nil
		p.wake()
	}
}
