package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/nodeauth"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

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
	l, conn, err := n.openLink(ctx, cancel, p, func() (*clusterpb.Hello, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if p.attempt != a {
			return nil, errCrossed
		}
		a.sentHello, sent = true, n.hello
		return sent, nil
	})
	if conn != nil {
		defer conn.Close()
	}
	if err == nil {
		err = n.adopt(p, a, l, sent)
	}
	if err != nil {
		n.failed(p, a, err)
		return
	}
	n.run(p, l)
	cancel()
	<-l.Finished()
}

// openLink opens a stream to the peer and completes the handshake.
func (n *Node) openLink(ctx context.Context, cancel context.CancelFunc, p *peer, hello func() (*clusterpb.Hello, error)) (*link.Link, *grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///"+p.addr, n.dial...)
	if err != nil {
		return nil, nil, err
	}
	expire := time.AfterFunc(n.t.Handshake, cancel)
	var who nodeauth.Peer
	st, err := clusterpb.NewClusterClient(conn).Link(ctx)
	if err == nil {
		who, err = n.self.Dial(st, hello)
	}
	switch {
	case !expire.Stop():
		return nil, conn, fmt.Errorf("cluster: no answer within %v", n.t.Handshake)
	case err != nil:
		return nil, conn, err
	case who.Addr != p.addr:
		return nil, conn, fmt.Errorf("%w: %s", errForeign, who.Addr)
	}
	return n.newLink(st, who), conn, nil
}

func (n *Node) newLink(st link.Stream, who nodeauth.Peer) *link.Link {
	return link.New(st, who.Addr, who.Epoch, who.Hello, n.t.Link, (*receiver)(n))
}

// adopt makes l, which this node dialed, the link of its peer. sent is the hello that the peer received.
func (n *Node) adopt(p *peer, a *attempt, l *link.Link, sent *clusterpb.Hello) (err error) {
	n.locked(func() { err = n.adoptLocked(p, a, l, sent) })
	return err
}

// adoptLocked is adopt. The caller holds mu.
func (n *Node) adoptLocked(p *peer, a *attempt, l *link.Link, sent *clusterpb.Hello) error {
	if n.state == stopping {
		return ErrStopped
	}
	if p.attempt != a {
		return errCrossed
	}
	newID, err := n.resolveID(sent, l.Hello(), l)
	if err != nil {
		return err
	}
	n.attach(p, l, sent)
	n.replaceID(newID)
	return nil
}

// attach makes l the link of its peer. The caller holds mu.
func (n *Node) attach(p *peer, l *link.Link, sent *clusterpb.Hello) {
	p.attempt = nil
	p.link, p.epoch, p.hello, p.left, p.lost = l, l.Epoch, l.Hello(), false, false
	if sent != n.hello {
		n.sendHello(l)
	}
	n.startDialing(p)
}

// failed records that a dial did not lead to a link, and when to dial again.
func (n *Node) failed(p *peer, a *attempt, err error) {
	n.locked(func() { n.failedLocked(p, a, err) })
}

// failedLocked is failed. The caller holds mu.
func (n *Node) failedLocked(p *peer, a *attempt, err error) {
	if p.attempt != a {
		return // the peer's own attempt has replaced it
	}
	p.attempt = nil
	if n.state == stopping {
		return
	}
	p.broken = true
	longest := n.t.RedialMax
	switch {
	case errors.Is(err, errCrossed) || status.Code(err) == codes.Aborted:
		p.backOff(n.t.RedialMin, n.t.RedialMax)
		return
	case status.Code(err) == codes.AlreadyExists:
		err = fmt.Errorf("%w: %s", ErrDuplicateID, status.Convert(err).Message())
		n.fail(err)
		p.backoff, longest = n.t.Refused, n.t.Refused
	case status.Code(err) == codes.PermissionDenied:
		err = fmt.Errorf("%w: %s", ErrRefused, status.Convert(err).Message())
		n.fail(err)
		p.backoff, longest = n.t.Refused, n.t.Refused
	case errors.Is(err, ErrRefused), errors.Is(err, ErrDuplicateID), errors.Is(err, errForeign):
		p.backoff, longest = n.t.Refused, n.t.Refused
	default:
		if len(p.known) == 0 && time.Since(p.seen) > n.t.Recent {
			longest = n.t.RedialOld
		}
		if st, ok := status.FromError(err); ok {
			err = errors.New(st.Message())
		}
	}
	p.backOff(n.t.RedialMin, longest)
	p.tried = true
	if text := err.Error(); text != p.trouble {
		p.trouble = text
		n.note(slog.LevelWarn, "cluster: no link to member, dialing again", "member", p.addr, "error", err)
	}
	n.notify()
}
