package mesh

import (
	"context"
	"time"

	"github.com/lonng/nano/internal/link"
)

// Withdraw announces to the members that this node no longer serves anything.
func (n *Node) Withdraw() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state == starting || n.state == serving {
		n.cfg.Services = nil
		n.updateHello()
	}
}

// Stop leaves the cluster: it sends the queued frames, announces to the members that this node leaves, and waits for every
// goroutine. When ctx ends it closes what is still open, and returns the error of ctx if a goroutine did not end. A second
// call waits for the first one.
func (n *Node) Stop(ctx context.Context) error {
	n.opening.Lock()
	n.mu.Lock()
	was := n.state
	n.state = stopping
	links := n.allLinks()
	n.mu.Unlock()
	n.opening.Unlock()
	switch was {
	case stopping:
		select {
		case <-n.stopped:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	case fresh:
		n.cancel()
		close(n.stopped)
		return nil
	}
	left := make(chan struct{})
	n.leaving.Go(func() {
		defer close(left)
		n.gossip.Leave(2 * n.t.Gossip.Gossip)
	})
	for _, l := range links {
		l.Leave()
	}
	timeout := time.NewTimer(n.t.Leave)
	defer timeout.Stop()
	expired := false
	for _, l := range links {
		if !expired {
			select {
			case <-l.Finished():
				continue
			case <-timeout.C:
			case <-ctx.Done():
			}
			expired = true
		}
		l.Close(ErrStopped)
	}
	select {
	case <-left:
	case <-ctx.Done():
	}
	return n.end(ctx)
}

// end closes every link, and waits for the gossip, the server and every goroutine.
func (n *Node) end(ctx context.Context) error {
	n.mu.Lock()
	links := n.allLinks()
	n.mu.Unlock()
	for _, l := range links {
		l.Close(ErrStopped)
	}
	n.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.leaving.Wait() // memberlist must not be stopped while it leaves
		n.gossip.Stop()
		n.server.Stop()
		n.wg.Wait()
		n.gossip.Wait(ctx)
		close(n.stopped)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// allLinks returns every link, up or not. The caller holds mu.
func (n *Node) allLinks() []*link.Link {
	var links []*link.Link
	for _, p := range n.peers {
		if p.link != nil {
			links = append(links, p.link)
		}
	}
	return links
}
