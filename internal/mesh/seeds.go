package mesh

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
	healPeriod    = time.Second     // between two calls of heal
	resolvePeriod = 5 * time.Second // between two lookups of a seed's name
	resolveTime   = 2 * time.Second
)

// seeds holds the nodes to join. The node tries a seed while no link to it is up. So it
// finds a restarted seed, and the parts of a cluster join again after a long partition.
type seeds struct {
	node  *Node
	names []*seedName
}

// seedName is a seed from the configuration.
type seedName struct {
	name     string
	targets  map[string]*seedTarget // by "ip:port"
	resolved time.Time
	failures int    // rounds without an answer since the last answer
	trouble  string // text of the last failure that was logged as a warning
}

// seedTarget is an address of a seed.
type seedTarget struct {
	addr string // the address that the node there announces; empty until it has answered
	self bool   // the node there is this node
}

// maintain joins the seeds, and repairs the membership until the node stops. It sends the result of the first round to
// first: an error means that another attempt has no use.
func (n *Node) maintain(first chan<- error) {
	s := &seeds{node: n}
	for _, name := range n.cfg.Seeds {
		s.names = append(s.names, &seedName{name: name, targets: make(map[string]*seedTarget)})
	}
	first <- s.join()
	retry := time.NewTicker(n.cfg.Retry)
	defer retry.Stop()
	tick := time.NewTicker(healPeriod)
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

// join tries every seed that is not linked, all at the same time. It returns the error of a seed that refused this node.
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
			s.report(name, err)
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

// report logs the result of a round for one seed: once for each cause. The first failure is not a warning, because nodes
// that start together do not answer each other at once.
func (s *seeds) report(seed *seedName, err error) {
	if err == nil {
		seed.failures, seed.trouble = 0, ""
		return
	}
	if s.node.ctx.Err() != nil {
		return
	}
	const text = "cluster: seed does not answer, trying again"
	seed.failures++
	switch cause := err.Error(); {
	case seed.failures == 1 && !errors.Is(err, ErrRefused):
		s.node.log.Info(text, "seed", seed.name, "error", err)
	case cause != seed.trouble:
		seed.trouble = cause
		s.node.log.Warn(text, "seed", seed.name, "error", err)
	}
}

// joinName tries the addresses of one seed. It fails if no node answers at any of them, or if one refused this node.
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

// resolve looks up the addresses of a seed that is given by name. It returns the name that TLS has to check; "" for an IP
// address.
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

// hasJoined records that the gossip has announced the members.
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

// heal joins a member that is linked but missing from the gossip, and forgets peers that have been gone for long.
func (n *Node) heal(now time.Time) {
	var missing string
	n.mu.Lock()
	n.forgetPeers(now)
	for _, p := range n.peers {
		if p.up && !p.known[p.epoch] && now.Sub(p.since) > n.t.Heal {
			missing = p.addr
			break
		}
	}
	n.mu.Unlock()
	if missing == "" {
		return
	}
	if _, err := n.gossip.Join(missing, ""); err != nil {
		n.log.Debug("cluster: linked member is missing from the gossip", "member", missing, "error", err)
	}
}
