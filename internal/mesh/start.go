package mesh

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/gossip"
	"github.com/lonng/nano/internal/nodeauth"

	"github.com/pkg/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Start serves on l and joins the cluster. It waits until a seed answered or every seed was tried. Then it waits at most
// 500 ms for the other seeds and for a link to every known member. The node keeps trying seeds that do not answer. Start
// fails if a seed refuses this node meanwhile, or if another member has its address or its fixed id. The node closes l,
// also if Start fails. A node starts once.
func (n *Node) Start(ctx context.Context, l net.Listener) error {
	if err := n.start(l); err != nil {
		_ = l.Close()
		return err
	}
	err := n.join(ctx)
	if err == nil {
		n.mu.Lock()
		switch {
		case n.failure != nil:
			err = n.failure
		case n.state == stopping:
			err = ErrStopped
		default:
			n.state = serving
			n.updateHello()
		}
		n.mu.Unlock()
	}
	if err != nil {
		_ = n.Stop(context.WithoutCancel(ctx))
		return errors.Wrapf(err, "cluster: join as %s", n.self.Addr)
	}
	if n.cfg.Secret == "" && !isLoopback(l.Addr().String()) && n.isOpen(ctx, l.Addr()) {
		level := slog.LevelWarn
		if isLoopback(n.self.Addr) { // all nodes run on this machine, as in development
			level = slog.LevelInfo
		}
		n.log.Log(ctx, level, "cluster: any node can join: set a cluster secret or TLS options", "address", l.Addr().String())
	}
	n.log.Info("cluster: started", "address", n.self.Addr, "node_id", n.ID(), "members", len(n.Links()))
	return nil
}

// start opens everything that does not need other nodes.
func (n *Node) start(l net.Listener) error {
	if n.cfg.Handler == nil {
		return errors.New("cluster: a Handler is required")
	}
	for _, s := range n.cfg.Seeds {
		if _, _, err := net.SplitHostPort(s); err != nil {
			return errors.Wrapf(err, "cluster: seed %q, host:port expected", s)
		}
	}
	addr := n.cfg.Addr
	if addr == "" {
		addr = listenAddr(l.Addr())
	}
	if !Dialable(addr) {
		return errors.Wrapf(ErrNoAddr, "cluster: address %q, host:port expected", addr)
	}

	n.opening.Lock()
	defer n.opening.Unlock()
	n.mu.Lock()
	if n.state != fresh {
		n.mu.Unlock()
		return errors.New("cluster: node was started or stopped before")
	}
	n.self = &nodeauth.Self{
		Addr: addr, Epoch: uint64(time.Now().UnixNano()), Secret: []byte(n.cfg.Secret),
		Refused: func(why string) {
			n.refusals.Do(func() { n.log.Warn("cluster: refused a node", "error", why) })
		},
	}
	n.updateHello()
	n.mu.Unlock()
	n.dial = append(dialDefaults(), n.cfg.DialOptions...)
	var err error
	n.gossip, err = gossip.New(gossip.Config{
		Self: n.self, Dial: n.dial, Timing: n.t.Gossip, Logger: n.log,
		Alive: n.alive, Gone: n.gone,
	})
	if err != nil {
		return err
	}
	n.server = grpc.NewServer(append(serverDefaults(), n.cfg.ServerOptions...)...)
	clusterpb.RegisterClusterServer(n.server, service{node: n})

	n.mu.Lock()
	defer n.mu.Unlock()
	n.state = starting
	n.wg.Go(func() {
		if err := n.server.Serve(sockets{l}); err != nil && n.ctx.Err() == nil {
			n.log.Error("cluster: serving ended", "error", err)
		}
	})
	return nil
}

// isOpen reports whether this node accepts nodes without credentials. The server options do not show what they require, so
// isOpen dials this node at addr without TLS, and with TLS but without a certificate.
func (n *Node) isOpen(ctx context.Context, addr net.Addr) bool {
	ctx, cancel := context.WithTimeout(ctx, n.t.Handshake)
	defer cancel()
	stranger := &nodeauth.Self{Addr: n.self.Addr, Epoch: n.self.Epoch}
	for _, creds := range []credentials.TransportCredentials{
		insecure.NewCredentials(),
		credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}), // the server is this node
	} {
		conn, err := grpc.NewClient("passthrough:///"+addr.String(), append(dialDefaults(), grpc.WithTransportCredentials(creds))...)
		if err != nil {
			continue
		}
		st, err := clusterpb.NewClusterClient(conn).Packets(ctx)
		if err == nil {
			_, err = stranger.Dial(st, nil)
		}
		_ = conn.Close()
		if err == nil {
			return true
		}
	}
	return false
}

// join waits until the node is part of the cluster, or until the other nodes have failed
// to answer.
func (n *Node) join(ctx context.Context) error {
	first := make(chan error, 1)
	n.mu.Lock()
	n.spawn(func() { n.maintain(first) })
	n.mu.Unlock()
	var deadline <-chan time.Time // set when a seed has answered, or every seed was tried
	tried := false                // every seed was tried
	for {
		n.mu.Lock()
		changed, err, joined, settled := n.changed, n.failure, n.joined, n.settled()
		n.mu.Unlock()
		if err != nil || tried && settled {
			return err
		}
		if deadline == nil && (joined || tried) {
			t := time.NewTimer(n.t.Settle)
			defer t.Stop()
			deadline = t.C
		}
		select {
		case err := <-first:
			if err != nil {
				return err
			}
			tried = true
		case <-changed:
		case <-deadline:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-n.ctx.Done():
			return ErrStopped
		}
	}
}

// settled reports whether every known member is linked, or dialing it has failed. The caller holds mu.
func (n *Node) settled() bool {
	for _, p := range n.peers {
		if !p.up && !p.tried && !p.left {
			return false
		}
	}
	return true
}

// fail makes Start return err. The caller holds mu.
func (n *Node) fail(err error) {
	if n.state == starting && n.failure == nil {
		n.failure = err
		n.notify()
	}
}
