package relay

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// This file decides which node serves a route for a session.

// Serves reports whether another node serves a service, has served it, or may serve it because this node has not converged.
// In the last two cases requests fail while no such node is up, but they are not unknown.
func (b *Broker) Serves(service string) bool {
	if b.node == nil {
		return false
	}
	if len(b.node.LinksTo(service)) > 0 {
		return true
	}
	_, ok := b.services.Load(service)
	return ok || !b.node.Converged()
}

// BoundAway reports whether a session is bound to another node for a route that this node serves too.
func (b *Broker) BoundAway(s *session.Session, route string) bool { return !b.serves(s, route) }

// serves reports whether this node serves a route for a session: it has a handler, and the session is not bound to another
// node that is up.
func (b *Broker) serves(s *session.Session, route string) bool {
	if _, ok := b.Dispatcher.Handler(route); !ok {
		return false
	}
	if b.node == nil {
		return true
	}
	service, _ := serviceOf(route)
	links := alive(b.node.LinksTo(service))
	if len(links) == 0 {
		return true
	}
	address, _ := s.Router().Find(service)
	return linkTo(links, address) == nil
}

// servedHere reports whether this node serves a route that a program uses here with the session. It does so as
// Broker.serves says, with one exception: if the gate has the service itself, the gate serves it unless the session is bound.
func (p *proxySession) servedHere(route string) bool {
	b := p.pc.b
	if !b.serves(p.session, route) {
		return false
	}
	service, _ := serviceOf(route)
	address, _ := p.session.Router().Find(service)
	return address == b.Address() || linkTo(b.node.LinksTo(service), p.pc.link.Addr) == nil
}

// bindHere binds the service of a route that was used here to this node, unless the session has a binding, here or at the
// gate.
func (p *proxySession) bindHere(route string) {
	service, _ := serviceOf(route)
	address := p.pc.b.Address()
	if _, done := p.control.Reroute(service, "", address); done {
		p.sendRoute(service, address, ifUnbound)
	}
}

// served returns an error for a route that no other node serves.
func (b *Broker) served(route string) error {
	if service, ok := serviceOf(route); !ok || !b.Serves(service) {
		return errNotServed(route)
	}
	return nil
}

// serviceOf returns the service of a route.
func serviceOf(route string) (string, bool) {
	dot := strings.LastIndexByte(route, '.')
	return route[:max(dot, 0)], dot > 0
}

// choose returns the node that serves a service for a client's session. It is the node to which the session is bound, or
// another one to which choose binds it. If two goroutines choose at the same time, the first choice counts.
func (b *Broker) choose(c Client, service string) (*peerConn, error) {
	s := c.Session()
	name, address, bound := b.binding(s, service)
	links := alive(b.node.LinksTo(service)) // after Find, so that it includes the node of a binding that was just made
	l := linkTo(links, address)
	if l == nil && bound {
		l = linkTo(links, b.rebind(c, name, address, ""))
	}
	if l != nil {
		return peerConnOf(l), nil
	}
	if len(links) == 0 {
		return nil, errNoneUp(service)
	}
	if b.Route != nil {
		members := make([]*clusterpb.MemberInfo, len(links))
		for i, l := range links {
			members[i] = memberInfo(l)
		}
		// The program may have changed the order of members.
		chosen := b.Route(service, s, members)
		if l = linkTo(links, chosen.GetServiceAddr()); l == nil {
			return nil, message.Errorf(message.CodeUnavailable, "no node was chosen for %s", service)
		}
	} else {
		l = b.next(service, links)
	}
	if other := linkTo(links, b.rebind(c, name, "", l.Addr)); other != nil {
		l = other
	}
	return peerConnOf(l), nil
}

// binding returns the name under which a session may be bound to another node for a service, and to which address it is bound.
func (b *Broker) binding(s *session.Session, service string) (name, address string, bound bool) {
	name = service
	address, bound = s.Router().Find(name)
	if (!bound || address == b.Address()) && b.has(service) {
		name = missingPart(service)
		address, bound = s.Router().Find(name)
	}
	return name, address, bound
}

// boundTo returns the node that choose returns because a session is bound to it, and the binding; nil if choose has to bind
// the session first.
func (b *Broker) boundTo(s *session.Session, service string) (pc *peerConn, name, address string) {
	name, address, bound := b.binding(s, service)
	if !bound {
		return nil, "", ""
	}
	if l := linkTo(alive(b.node.LinksTo(service)), address); l != nil {
		pc = peerConnOf(l)
	}
	return pc, name, address
}

// memberInfo returns the member at the other end of a link, for the program.
func memberInfo(l *link.Link) *clusterpb.MemberInfo {
	info := l.Hello().GetInfo()
	return &clusterpb.MemberInfo{Label: info.GetLabel(), ServiceAddr: l.Addr, Services: slices.Clone(info.GetServices())}
}

// has reports whether this node has a service itself.
func (b *Broker) has(service string) bool {
	return slices.ContainsFunc(b.Dispatcher.Services(), func(s *handler.Service) bool { return s.Name == service })
}

// missingPart returns the name of a binding for the routes of a service that the gate lacks, although the gate has the
// service. Clients may invent such routes. A binding of the service itself would include the routes that the gate
// serves.
func missingPart(service string) string { return service + ".*" }

// rebind binds a service for a client's session to another address if it is bound to old; "" means no binding. It returns
// where the service is bound then.
func (b *Broker) rebind(c Client, service, old, address string) string {
	now, done := c.Control().Reroute(service, old, address)
	if done {
		c.Routed(c.Session(), service, address)
	}
	return now
}

// next returns one of the links to the nodes that serve a service, one after the other.
func (b *Broker) next(service string, links []*link.Link) *link.Link {
	if len(links) == 1 {
		return links[0]
	}
	turn, _ := b.services.LoadOrStore(service, new(atomic.Uint64))
	return links[turn.(*atomic.Uint64).Add(1)%uint64(len(links))]
}

// alive returns the links on which no send has failed.
func alive(links []*link.Link) []*link.Link {
	dead := func(l *link.Link) bool { return peerConnOf(l).dead.Load() }
	if !slices.ContainsFunc(links, dead) {
		return links
	}
	return slices.DeleteFunc(slices.Clone(links), dead)
}

// linkTo returns the link to the node at an address, or nil.
func linkTo(links []*link.Link, address string) *link.Link {
	for _, l := range links {
		if l.Addr == address {
			return l
		}
	}
	return nil
}
