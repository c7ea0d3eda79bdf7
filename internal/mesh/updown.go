package mesh

import (
	"errors"
	"log/slog"
	"time"

	"github.com/lonng/nano/internal/link"
)

// run runs a link until it has ended.
func (n *Node) run(p *peer, l *link.Link) {
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

// lost removes a link that has ended from the table. Only its first call has an effect.
func (n *Node) lost(p *peer, l *link.Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.link != l || p.lost {
		return
	}
	if errors.Is(l.Err(), link.ErrLeft) {
		p.left = true
		clear(p.known)
	}
	if p.up && time.Since(p.since) > n.t.RedialMax {
		p.dialNow()
	} else {
		p.backOff(n.t.RedialMin, n.t.RedialMax)
	}
	p.up, p.lost, p.tried, p.broken = false, true, false, true
	n.publish()
	n.gossip.Reset(p.addr)
}

// receiver is the link.Handler of a node.
type receiver Node

func (r *receiver) Up(l *link.Link) {
	n := (*Node)(r)
	n.cfg.Handler.Up(l)
	var broken, listed bool
	n.locked(func() {
		p := n.peers[l.Addr]
		broken, listed = p.broken, p.link == l && l.Err() == nil
		if !listed {
			return
		}
		p.up, p.since, p.broken, p.trouble = true, time.Now(), false, ""
		n.publish()
		n.note(slog.LevelInfo, "cluster: member up", "member", l.Addr, "member_id", l.Hello().GetId(), "label", l.Hello().GetInfo().GetLabel())
	})
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
	n.locked(func() { n.helloChanged(l) })
}

// helloChanged handles a new hello of a peer. The caller holds mu.
func (n *Node) helloChanged(l *link.Link) {
	p := n.peers[l.Addr]
	if p.link != l {
		return
	}
	p.hello = l.Hello()
	newID, err := n.resolveID(n.hello, p.hello, l)
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
		r.log.Warn("cluster: member down", "member", l.Addr, "error", err)
	} else {
		r.log.Info("cluster: member left", "member", l.Addr)
	}
	r.cfg.Handler.Down(l, err)
}
