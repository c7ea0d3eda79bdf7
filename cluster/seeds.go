package cluster

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/gossip"

	"github.com/pkg/errors"
)

const (
	tendPeriod    = time.Second     // between two looks at what there is to heal
	resolvePeriod = 5 * time.Second // for which the addresses of a seed's name are taken to be right
	resolveTime   = 2 * time.Second
)

// seeds are the nodes to join. They are tried until a link to the node that answered is up, and again when it is
// not any more: that finds a seed that was restarted, and heals a long partition.
type seeds struct {
	node  *Node
	names []*seedName
}

// seedName is a seed as it was given.
type seedName struct {
	name     string
	targets  map[string]*seedTarget // by "ip:port"
	resolved time.Time
	trouble  string // the failure that was last logged
}

// seedTarget is an address of a seed.
type seedTarget struct {
	addr string // that the node there advertises; empty until it answered
	self bool
}

// tend joins the seeds and then keeps the membership whole until the node stops. It reports how the first round went:
// an error is one that trying again won't change.
func (n *Node) tend(first chan<- error) {
	s := &seeds{node: n}
	for _, name := range n.cfg.Seeds {
		s.names = append(s.names, &seedName{name: name, targets: make(map[string]*seedTarget)})
	}
	first <- s.join()
	retry := time.NewTicker(n.cfg.Retry)
	defer retry.Stop()
	tick := time.NewTicker(tendPeriod)
	defer tick.Stop()
	for {
		select {
		case <-retry.C:
			_ = s.join() // logged
		case now := <-tick.C:
			n.heal(now)
		case <-n.ctx.Done():
			return
		}
	}
}

// join tries every seed that is not linked, all at once. The error is that of a seed that refused this node.
func (s *seeds) join() error {
	var wg sync.WaitGroup
	var answered atomic.Bool
	refusals := make([]error, len(s.names))
	for i, name := range s.names {
		wg.Go(func() {
			err := s.joinName(name)
			if errors.Is(err, ErrRefused) {
				refusals[i] = err
			}
			if err == nil {
				answered.Store(true)
			}
			if err == nil {
				name.trouble = ""
			} else if text := err.Error(); text != name.trouble && s.node.ctx.Err() == nil {
				name.trouble = text
				s.node.log.Warn("cluster: no seed there, trying on", "seed", name.name, "err", err)
			}
		})
	}
	wg.Wait()
	if answered.Load() || len(s.names) == 0 {
		s.node.hasJoined()
	}
	for _, err := range refusals {
		if err != nil {
			return err
		}
	}
	return nil
}

// joinName tries the addresses of one seed. It fails if none of them is a node's, or if one refused.
func (s *seeds) joinName(seed *seedName) error {
	authority, err := s.resolve(seed)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failure error
	for addr, target := range seed.targets {
		if target.self || s.node.linked(target.addr) {
			continue
		}
		wg.Go(func() {
			who, err := s.node.gossip.Join(addr, authority)
			switch {
			case errors.Is(err, gossip.ErrSelf):
				target.self = true
			case err == nil:
				target.addr = who.Addr
				s.node.hasJoined()
			default:
				target.addr = ""
				mu.Lock()
				defer mu.Unlock()
				if failure == nil || errors.Is(err, ErrRefused) {
					failure = err
				}
			}
		})
	}
	wg.Wait()
	if errors.Is(failure, ErrRefused) {
		return failure
	}
	for _, target := range seed.targets {
		if target.self || target.addr != "" {
			return nil
		}
	}
	return failure
}

// resolve looks up the addresses of a seed that is given by name. It returns the name for TLS to check, if it is one.
func (s *seeds) resolve(seed *seedName) (authority string, err error) {
	host, port, err := net.SplitHostPort(seed.name)
	if err != nil {
		return "", err
	}
	if net.ParseIP(host) != nil {
		if len(seed.targets) == 0 {
			seed.targets[seed.name] = new(seedTarget)
		}
		return "", nil
	}
	if time.Since(seed.resolved) < resolvePeriod && len(seed.targets) > 0 {
		return seed.name, nil
	}
	ctx, cancel := context.WithTimeout(s.node.ctx, resolveTime)
	defer cancel()
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return "", errors.WithMessage(err, "seed "+seed.name)
	}
	for i, ip := range ips {
		ips[i] = net.JoinHostPort(ip, port)
		if seed.targets[ips[i]] == nil {
			seed.targets[ips[i]] = new(seedTarget)
		}
	}
	for addr := range seed.targets {
		if !slices.Contains(ips, addr) {
			delete(seed.targets, addr)
		}
	}
	seed.resolved = time.Now()
	return seed.name, nil
}

// hasJoined notes that the gossip has told of the members.
func (n *Node) hasJoined() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.joined {
		n.joined = true
		n.notify()
	}
}

// linked reports whether a link to the node at addr is up.
func (n *Node) linked(addr string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, ok := n.peers[addr]
	return ok && p.up
}

// heal joins a member that is linked but that the gossip does not have, and forgets peers that are long gone.
func (n *Node) heal(now time.Time) {
	var missing string
	n.mu.Lock()
	n.forgetPeers(now)
	for _, p := range n.peers {
		if p.up && !p.known[p.epoch] && now.Sub(p.since) > n.t.heal {
			missing = p.addr
			break
		}
	}
	n.mu.Unlock()
	if missing == "" {
		return
	}
	if _, err := n.gossip.Join(missing, ""); err != nil {
		n.log.Debug("cluster: a linked member is not in the gossip", "addr", missing, "err", err)
	}
}
