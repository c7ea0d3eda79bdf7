package room

import (
	"cmp"
	"context"
	"crypto/rand"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lonng/nano/session"
)

// This file gives private rooms codes that people can type. Each code belongs to the two
// nodes that rendezvous hashing ranks first for it. These nodes know the room of the
// code, and do not give the code to another room. The room's node renews this, so that
// codes survive when a node leaves. When one node joins or leaves, one of the two owners
// stays.

// codeLetters are the characters of codes. 0, O, 1 and I look alike, so they are left out.
const codeLetters = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"

const (
	codeLength = 6
	codeOwners = 2
	codeTries  = 5 // number of random codes that a room tries

	leaseTime  = 30 * time.Second // how long an owner keeps a code without a renewal
	renewTime  = 10 * time.Second
	memberTime = time.Second // interval at which a node with codes checks whether their owners have changed
)

// These constants limit wrong codes. A session may send guessBurst at once and one more
// per guessEvery. The same applies to all sessions of one address.
const (
	guessBurst   = 5
	guessEvery   = 6 * time.Second
	addressBurst = 30
	addressEvery = 10 * time.Second
)

// newCode returns a random code.
func newCode() string {
	var b [codeLength]byte
	_, _ = rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = codeLetters[int(b[i])%len(codeLetters)]
	}
	return string(b[:])
}

// parseCode returns the canonical form of a code. It returns false if the text is not a
// valid code.
func parseCode(text string) (string, bool) {
	code := strings.ToUpper(strings.TrimSpace(text))
	if len(code) != codeLength || strings.Trim(code, codeLetters) != "" {
		return "", false
	}
	return code, true
}

// codes holds the codes of a node's rooms and the codes that the node owns. Its methods
// may be called concurrently.
type codes struct {
	mu      sync.Mutex
	mine    map[string]string // the codes of this node's rooms, with the room ids; mu guards it and the following fields
	owned   map[string]lease  // the codes that this node owns
	sweep   int               // number of leases at which expired ones are deleted
	renewal bool              // a goroutine renews mine
}

// lease is an owner's record of a code.
type lease struct {
	id    string // id of the room
	until time.Time
}

func newCodes() *codes {
	return &codes{mine: map[string]string{}, owned: map[string]lease{}, sweep: minSweep}
}

// claim assigns codes to rooms, or renews them. It returns the codes that belong to other
// rooms.
func (c *codes) claim(ids map[string]string) (taken []string) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for code, id := range ids {
		if l, ok := c.owned[code]; ok && l.id != id && now.Before(l.until) {
			taken = append(taken, code)
			continue
		}
		c.owned[code] = lease{id, now.Add(leaseTime)}
	}
	if len(c.owned) >= c.sweep {
		for code, l := range c.owned {
			if now.After(l.until) {
				delete(c.owned, code)
			}
		}
		c.sweep = max(minSweep, 2*len(c.owned))
	}
	return taken
}

// keep records the code of a room of this node. It reports whether the caller must start
// the renewal of codes.
func (c *codes) keep(code, id string) (renew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mine[code] = id
	renew = !c.renewal
	c.renewal = true
	return renew
}

// toRenew returns the codes of this node's rooms. It returns nil if there are none, and
// then the renewal ends.
func (c *codes) toRenew() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mine) == 0 {
		c.renewal = false
		return nil
	}
	return maps.Clone(c.mine)
}

// find returns the room with a code, or "" if this node does not know it.
func (c *codes) find(code string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id := c.mine[code]; id != "" {
		return id
	}
	if l := c.owned[code]; time.Now().Before(l.until) {
		return l.id
	}
	return ""
}

// leave records that a room with a code has moved to another node, which renews the code.
func (c *codes) leave(code, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mine[code] == id {
		delete(c.mine, code)
	}
}

// release removes the code of a room of this node.
func (c *codes) release(code, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mine[code] == id {
		delete(c.mine, code)
	}
	if c.owned[code].id == id {
		delete(c.owned, code)
	}
}

// owners returns the names of the nodes that own a code, given all nodes.
func owners(nodes []string, code string) []string {
	list := slices.Clone(nodes)
	slices.SortFunc(list, func(a, b string) int { return cmp.Compare(weight(b, code), weight(a, code)) })
	return list[:min(len(list), codeOwners)]
}

// roomNodes returns the names of this node and of all others that have rooms.
func (n *node) roomNodes() []string {
	list := []string{n.name}
	for _, p := range n.peers("") {
		list = append(list, p.name)
	}
	return list
}

// codeClaims is a request to assign codes to rooms.
type codeClaims struct {
	IDs map[string]string `json:"ids"` // the rooms by code
}

// codeAnswer is the answer to codeClaims and to codeQuery.
type codeAnswer struct {
	Taken []string `json:"taken,omitempty"`
	ID    string   `json:"id,omitempty"`
}

// codeQuery is a request for the room with a code.
type codeQuery struct {
	Code string `json:"code"`
}

// claimAt calls codes.claim at a node.
func (n *node) claimAt(ctx context.Context, name string, ids map[string]string) (taken []string, err error) {
	if name == n.name {
		return n.codes.claim(ids), nil
	}
	var a codeAnswer
	err = n.call(ctx, name, methodClaim, &codeClaims{ids}, &a)
	return a.Taken, err
}

// assignCode gives a room a code. done is called once, on this goroutine or another one.
func (n *node) assignCode(c *core, done func(error)) {
	nodes := n.roomNodes()
	if len(nodes) == 1 {
		done(n.pickCode(n.ctx, c, nodes))
		return
	}
	if !n.async(func(ctx context.Context) { done(n.pickCode(ctx, c, nodes)) }) {
		done(ErrDraining)
	}
}

// pickCode tries random codes until the owners of one assign it to the room.
func (n *node) pickCode(ctx context.Context, c *core, nodes []string) error {
	var last error
	for range codeTries {
		code := newCode()
		given, taken := 0, false
		for _, name := range owners(nodes, code) {
			list, err := n.claimAt(ctx, name, map[string]string{code: c.id})
			if err != nil {
				last = err
				continue
			}
			given++
			taken = taken || len(list) > 0
		}
		if given == 0 || taken {
			continue
		}
		c.setCode(code)
		if n.codes.keep(code, c.id) && n.server.Members() != nil { // nil: it is not a node of a cluster
			n.spawn(n.renewCodes)
		}
		return nil
	}
	return cmp.Or(last, error(ErrBusy))
}

// renewCodes renews the codes of this node until it has none.
func (n *node) renewCodes() {
	tick := time.NewTicker(memberTime)
	defer tick.Stop()
	nodes, renewed := n.roomNodes(), time.Now()
	for {
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			return
		}
		now := n.roomNodes()
		if slices.Equal(now, nodes) && time.Since(renewed) < renewTime {
			continue
		}
		nodes, renewed = now, time.Now()
		mine := n.codes.toRenew()
		if mine == nil || ended(n.server.Scheduler()) {
			return
		}
		byOwner := map[string]map[string]string{}
		for code, id := range mine {
			for _, name := range owners(nodes, code) {
				if byOwner[name] == nil {
					byOwner[name] = map[string]string{}
				}
				byOwner[name][code] = id
			}
		}
		n.renewAt(byOwner)
	}
}

// renewAt renews codes at their owners.
func (n *node) renewAt(byOwner map[string]map[string]string) {
	ctx, cancel := context.WithTimeout(n.ctx, renewTime/2)
	defer cancel()
	var wg sync.WaitGroup
	for name, ids := range byOwner {
		wg.Go(func() {
			taken, err := n.claimAt(ctx, name, ids)
			if err != nil && ctx.Err() == nil {
				n.log.Warn("nano: the codes of rooms were not renewed", "room_node", name, "error", err)
			}
			for _, code := range taken { // after a partition of the cluster
				n.log.Warn("nano: the code of a room belongs to another room", "room", ids[code])
			}
		})
	}
	wg.Wait()
}

// findCode returns the id of the room with a code, "" if there is none.
func (n *node) findCode(ctx context.Context, code string, nodes []string) string {
	if id := n.codes.find(code); id != "" {
		return id
	}
	ctx, cancel := context.WithTimeout(ctx, 2*askTime)
	defer cancel()
	for _, name := range owners(nodes, code) {
		var a codeAnswer
		if name != n.name && n.call(ctx, name, methodFind, &codeQuery{code}, &a) == nil && a.ID != "" {
			return a.ID
		}
	}
	return ""
}

// enterCode joins the room with the code of the request. Wrong codes are limited.
func (n *node) enterCode(e *entry, method string, answer func(any, error)) {
	code, ok := parseCode(e.req.Code)
	if !ok {
		answer(nil, ErrNotFound)
		return
	}
	refund := func() {}
	if !e.unlimited {
		if refund, ok = n.guess(e.s); !ok {
			answer(nil, ErrRate)
			return
		}
	}
	nodes := n.roomNodes()
	enter := func(id string) (*entry, bool) {
		if id == "" {
			return nil, false
		}
		refund()
		return e.withID(id), true
	}
	if len(nodes) == 1 {
		if with, ok := enter(n.codes.find(code)); ok {
			n.enterHere(with, method, answer)
		} else {
			answer(nil, ErrNotFound)
		}
		return
	}
	n.later(answer, func(ctx context.Context) (any, error) {
		with, ok := enter(n.findCode(ctx, code, nodes))
		if !ok {
			return nil, ErrNotFound
		}
		return n.enterAt(ctx, with, method)
	})
}

// guess counts an attempt of a session and of its address. It returns false if there were
// too many. refund undoes the count.
func (n *node) guess(s *session.Session) (refund func(), ok bool) {
	address := hostOf(s.RemoteAddr())
	switch {
	case !n.guesses.allow(s.ID()):
		return nil, false
	case !n.addresses.allow(address):
		n.guesses.restore(s.ID())
		return nil, false
	}
	return func() {
		n.guesses.restore(s.ID())
		n.addresses.restore(address)
	}, true
}

// hostOf returns the part of an address that identifies a client: the IP address, or the
// first 64 bits of an IPv6 address.
func hostOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap(); ip.Is6() {
		p, _ := ip.WithZone("").Prefix(64) // an IPv6 address has 128 bits, so 64 are valid
		return p.String()
	}
	return ip.String()
}
