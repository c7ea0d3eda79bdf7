package cluster

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// This file is the gate's side: clients' messages go out, and what is for clients comes back.

// reach is a client of this node whose session a neighbor knows.
type reach struct {
	client  Client
	waiting []awaited // requests that the neighbor has not answered
	lent    int       // messages that are not known to have run; see remote.undone
	size    int       // bytes of payload of those
}

// awaited is a request that was not answered yet.
type awaited struct {
	id    uint64
	route string
}

// maxAwaited bounds the requests of one session to one node that were not answered.
const maxAwaited = 1024

var errAwaited = message.Errorf(message.CodeLimit, "too many requests wait for an answer")

// take removes a request, and reports false if it is not waited for.
func (r *reach) take(id uint64) (route string, ok bool) {
	for i, w := range r.waiting {
		if w.id == id {
			last := len(r.waiting) - 1
			copy(r.waiting[i:], r.waiting[i+1:])
			r.waiting[last] = awaited{}
			r.waiting = r.waiting[:last]
			return w.route, true
		}
	}
	return "", false
}

// lend adds messages to those that are lent.
func (r *reach) lend(messages, size int) {
	m, s := r.charged()
	r.lent += messages
	r.size += size
	if n, t := r.charged(); n != m || t != s {
		r.client.Mailbox().Lend(n-m, t-s)
	}
}

// credit takes messages off those that are lent.
func (r *reach) credit(messages, size int) { r.lend(-messages, -size) }

// charged returns what the client's mailbox counts: what is lent above what the neighbor may have done without telling.
// So it counts nothing when everything has run, however many neighbors there are, and the client is always read on.
func (r *reach) charged() (messages, size int) {
	return max(r.lent-(doneMessages-1), 0), max(r.size-(doneSize-1), 0)
}

// Serves reports whether another node serves a service, or has, or may for all that is known: then its messages fail as
// long as none is up, and are not unknown.
func (b *Broker) Serves(service string) bool {
	if b.node == nil {
		return false
	}
	if len(b.node.LinksTo(service)) > 0 {
		return true
	}
	_, ok := b.services.Load(service)
	return ok || !b.node.Met()
}

// BoundAway reports whether a session keeps to another node for a route that this one serves too; it is part of dispatch.Remote.
func (b *Broker) BoundAway(s *session.Session, route string) bool { return !b.serves(s, route) }

// Forward sends a client's request or notify to the node that serves it; it is part of dispatch.Remote.
func (b *Broker) Forward(s *session.Session, m *message.Message) error {
	f := Frame{Kind: kindNotify, Session: s.ID(), ID: m.ID, Route: m.Route, Data: m.Data}
	if m.ID != 0 {
		f.Kind = kindRequest
	}
	_, err := b.send(s, &f)
	return err
}

var errNoClient = errors.New("cluster: the session has no client of this node")

// send sends a frame of a session to the node that serves its route, which it returns.
func (b *Broker) send(s *session.Session, f *Frame) (*neighbor, error) {
	c, ok := s.NetworkEntity().(Client)
	if !ok {
		return nil, errNoClient
	}
	service, _ := serviceOf(f.Route)
	meta := len(f.Meta)
	for {
		nb, err := b.choose(c, service)
		if err != nil {
			return nil, err
		}
		err = nb.send(c, f)
		if err == ErrMemberDown { // it was not sent
			nb.dead.Store(true)
			f.Meta = f.Meta[:meta]
			continue
		}
		return nb, sendError(err)
	}
}

// choose returns the node that serves a service for a client's session: the one it is bound to, or another, to which it is
// bound then. Of two choices at the same time the first counts.
func (b *Broker) choose(c Client, service string) (*neighbor, error) {
	s := c.Session()
	name := service
	address, bound := s.Router().Find(name)
	if (!bound || address == b.address()) && b.has(service) {
		name = rest(service)
		address, bound = s.Router().Find(name)
	}
	links := alive(b.node.LinksTo(service)) // after Find: where it was bound just now is among them
	l := linkTo(links, address)
	if l == nil && bound {
		l = linkTo(links, b.rebind(c, name, address, ""))
	}
	if l != nil {
		return neighborOf(l), nil
	}
	if len(links) == 0 {
		return nil, noneUp(service)
	}
	if b.Route != nil {
		members := make([]*clusterpb.MemberInfo, len(links))
		for i, l := range links {
			members[i] = MemberOf(l).MemberInfo()
		}
		// The list that the program was given may be in another order by now.
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
	return neighborOf(l), nil
}

// has reports whether this node has a service itself.
func (b *Broker) has(service string) bool {
	return slices.ContainsFunc(b.Dispatcher.Services(), func(s *handler.Service) bool { return s.Name == service })
}

// rest names what other nodes are to serve of a service that the gate has itself: routes that the gate lacks, be it because
// a client made them up. It is bound apart: a binding of the service would take along what the gate serves.
func rest(service string) string { return service + ".*" }

// rebind binds a service for a client's session to another address, or to none, if it is bound to old, or to none. It
// returns where the service is bound then.
func (b *Broker) rebind(c Client, service, old, address string) string {
	now, done := c.Control().Reroute(service, old, address)
	if done {
		c.Routed(c.Session(), service, address)
	}
	return now
}

// next returns one of the links to nodes that serve a service, one after the other.
func (b *Broker) next(service string, links []*Link) *Link {
	if len(links) == 1 {
		return links[0]
	}
	turn, _ := b.services.LoadOrStore(service, new(atomic.Uint64))
	return links[turn.(*atomic.Uint64).Add(1)%uint64(len(links))]
}

// alive returns the links that were not found broken.
func alive(links []*Link) []*Link {
	for i, l := range links {
		if !neighborOf(l).dead.Load() {
			continue
		}
		rest := append([]*Link(nil), links[:i]...)
		for _, l := range links[i:] {
			if !neighborOf(l).dead.Load() {
				rest = append(rest, l)
			}
		}
		return rest
	}
	return links
}

// linkTo returns the link to the node at an address, or nil.
func linkTo(links []*Link, address string) *Link {
	for _, l := range links {
		if l.Addr == address {
			return l
		}
	}
	return nil
}

// send sends a frame of a client's session, and introduces the session if the neighbor does not know it. The error is
// as the link's Send returns it, but for a session that has finished or has too many requests waiting.
func (nb *neighbor) send(c Client, f *Frame) error {
	nb.mu.Lock()
	defer nb.mu.Unlock()
	if nb.down {
		return ErrMemberDown
	}
	r := nb.clients[f.Session]
	fresh := r == nil
	if fresh {
		if !c.Control().Watch(nb, func() { nb.finished(c.Session()) }) {
			return session.ErrBrokenPipe
		}
		i := introduce(c.Session(), c.Control())
		f.Meta = i.append(f.Meta)
		r = &reach{client: c}
	}
	if f.Kind == kindRequest && len(r.waiting) >= maxAwaited {
		return errAwaited
	}
	if err := nb.link.Send(f); err != nil {
		if fresh {
			c.Control().Unwatch(nb)
		}
		return err
	}
	if fresh {
		nb.clients[f.Session] = r
	}
	if f.Kind == kindRequest {
		r.waiting = append(r.waiting, awaited{f.ID, f.Route})
	}
	r.lend(1, len(f.Data))
	return nil
}

// sendCall sends a call that has no session. The error is as the link's Send returns it.
func (nb *neighbor) sendCall(f *Frame) error {
	nb.mu.Lock()
	defer nb.mu.Unlock()
	if nb.down {
		return ErrMemberDown
	}
	return nb.link.Send(f)
}

// withdrew has nothing more sent to the neighbor to be served: whoever chose it before it took back what it serves, and has
// not sent yet, chooses again.
func (nb *neighbor) withdrew() {
	nb.mu.Lock()
	defer nb.mu.Unlock()
	nb.down = true
}

// finished tells the neighbor that a session has closed.
func (nb *neighbor) finished(s *session.Session) {
	f := Frame{Kind: kindClosed, Session: s.ID()}
	reason := s.NetworkEntity().(Client).Control().Reason()
	if reason == nil {
		reason = session.ErrClosed
	}
	putReason(&f, reason)
	nb.mu.Lock()
	defer nb.mu.Unlock()
	if nb.clients[f.Session] != nil {
		delete(nb.clients, f.Session)
		_ = nb.link.Insist(&f)
	}
}

// tellUID tells the neighbor the uid of a session, if it knows the session.
func (nb *neighbor) tellUID(s *session.Session, flags uint8) {
	nb.mu.Lock()
	defer nb.mu.Unlock()
	if nb.clients[s.ID()] != nil {
		// It is read here, so that what is sent last is what is bound last.
		_ = nb.link.Insist(&Frame{Kind: kindUID, Flags: flags, Session: s.ID(), ID: uint64(s.UID())})
	}
}

// tellRoute tells the neighbor where a service is bound for a session, if it knows the session.
func (nb *neighbor) tellRoute(s *session.Session, service string, flags uint8) {
	nb.mu.Lock()
	defer nb.mu.Unlock()
	if nb.clients[s.ID()] != nil {
		address, _ := s.Router().Find(service)
		_ = nb.link.Insist(&Frame{Kind: kindRoute, Flags: flags, Session: s.ID(), Route: service, Data: []byte(address)})
	}
}

// Bound tells the nodes that know a client's session of its uid, and every node that the user is here.
func (b *Broker) Bound(s *session.Session, _, _ int64) {
	if b.node == nil {
		return
	}
	b.login(s)
	for _, nb := range *b.neighbors.Load() {
		nb.tellUID(s, 0)
	}
}

// Routed tells the nodes that know a client's session where a service is bound.
func (b *Broker) Routed(s *session.Session, service, _ string) {
	for _, nb := range *b.neighbors.Load() {
		nb.tellRoute(s, service, 0)
	}
}

// client returns the client of this node with a session that the neighbor knows, or nil.
func (nb *neighbor) client(id int64) Client {
	nb.mu.Lock()
	defer nb.mu.Unlock()
	if r := nb.clients[id]; r != nil {
		return r.client
	}
	return nil
}

// response passes an answer on to the client.
func (nb *neighbor) response(f *Frame) {
	nb.mu.Lock()
	r := nb.clients[f.Session]
	if r == nil {
		nb.mu.Unlock()
		nb.b.counts.late.Add(1)
		return
	}
	route, ok := r.take(f.ID)
	if f.Flags&flagLater == 0 {
		r.credit(1, 0)
	}
	nb.mu.Unlock()
	if !ok {
		nb.b.counts.late.Add(1)
		return
	}
	if f.Flags&flagError != 0 {
		r.client.RelayError(f.ID, route, errorOf(f.Data))
		return
	}
	nb.message = message.Message{Type: message.Response, ID: f.ID, Route: route, Data: f.Data}
	if err := r.client.Relay(&nb.message); err != nil {
		nb.b.counts.lost.Add(1)
		if !errors.Is(err, session.ErrBrokenPipe) {
			r.client.RelayError(f.ID, route, nb.b.Dispatcher.Public(err))
		}
	}
}

// errorOf returns the error that a frame carries.
func errorOf(data []byte) *message.Error {
	e := &message.Error{}
	if err := e.UnmarshalProtobuf(data); err != nil || e.Code == "" {
		return message.Errorf(message.CodeInternal, "internal error")
	}
	return e
}

// push passes a push on to the client.
func (nb *neighbor) push(f *Frame) {
	c := nb.client(f.Session)
	if c == nil {
		return
	}
	nb.message = message.Message{Type: message.Push, Route: f.Route, Data: f.Data}
	if c.Relay(&nb.message) != nil {
		nb.b.counts.lost.Add(1)
	}
}

// multicast passes a push on to many clients.
func (nb *neighbor) multicast(f *Frame) error {
	nb.members = nb.members[:0]
	nb.mu.Lock()
	err := parseIDs(f.Meta, func(id int64) {
		if r := nb.clients[id]; r != nil {
			nb.members = append(nb.members, r.client)
		}
	})
	nb.mu.Unlock()
	nb.b.counts.multicasts.Add(1)
	nb.b.Gate.Multicast(nb.members, f.Route, f.Data)
	clear(nb.members)
	return err
}

// close closes a client, or kicks it.
func (nb *neighbor) close(f *Frame) {
	c := nb.client(f.Session)
	switch {
	case c == nil:
	case f.Kind == kindKick:
		_ = c.KickFor(session.ErrKicked, string(f.Data))
	default:
		_ = c.Close()
	}
}

// done returns messages of a client that have run.
func (nb *neighbor) done(f *Frame) error {
	rd := reader{b: f.Meta}
	size := uint64(0)
	if len(f.Meta) > 0 {
		size = rd.uvarint()
	}
	nb.mu.Lock()
	defer nb.mu.Unlock()
	if r := nb.clients[f.Session]; r != nil && !rd.fault {
		r.credit(int(min(f.ID, 1<<30)), int(min(size, 1<<30)))
	}
	return rd.err("bytes")
}

// uid binds a uid to a session: the client's, if another node says so, else the copy of it that is here.
func (nb *neighbor) uid(f *Frame) {
	if f.ID > 1<<63-1 {
		return
	}
	if f.Flags&flagToGate == 0 {
		if r := nb.session(f.Session); r != nil {
			r.toldUID(int64(f.ID), f.Flags&flagEcho != 0)
		}
		return
	}
	c := nb.client(f.Session)
	if c == nil {
		return
	}
	old := c.Control().Bind(int64(f.ID))
	_ = c.Bound(c.Session(), old, int64(f.ID))
	nb.tellUID(c.Session(), flagEcho)
}

// route binds a service for a session, likewise.
func (nb *neighbor) route(f *Frame) {
	if f.Flags&flagToGate == 0 {
		if r := nb.session(f.Session); r != nil {
			r.toldRoute(f.Route, string(f.Data), f.Flags&flagEcho != 0)
		}
		return
	}
	c := nb.client(f.Session)
	if c == nil {
		return
	}
	if f.ID == ifUnbound {
		nb.b.rebind(c, f.Route, "", string(f.Data))
	} else {
		c.Control().Route(f.Route, string(f.Data))
		c.Routed(c.Session(), f.Route, string(f.Data))
	}
	nb.tellRoute(c.Session(), f.Route, flagEcho)
}

// rpc has a client's session send a notify, in its turn.
func (nb *neighbor) rpc(f *Frame) {
	c := nb.client(f.Session)
	if c == nil {
		return
	}
	b, route, data := nb.b, f.Route, nb.Keep(f.Data)
	err := c.Mailbox().Offer(dispatch.Do(0, func() error { return b.RPC(c.Session(), route, data) }), len(data))
	if err != nil {
		b.Log.Warn("cluster: notify dropped", "route", route, "session", f.Session, "err", err)
	}
}

// RPC sends a notify of a client's session to who serves it, this node included.
func (b *Broker) RPC(s *session.Session, route string, data []byte) error {
	c, ok := s.NetworkEntity().(Client)
	if !ok {
		return errNoClient
	}
	if b.serves(s, route) {
		return b.notifyHere(c.Mailbox().Offer, route, data)
	}
	if err := b.served(route); err != nil {
		return err
	}
	_, err := b.send(s, &Frame{Kind: kindNotify, Flags: flagByProgram, Session: s.ID(), Route: route, Data: data})
	return err
}

// served returns an error for a route that no other node serves.
func (b *Broker) served(route string) error {
	if service, ok := serviceOf(route); !ok || !b.Serves(service) {
		return message.Errorf(message.CodeNotFound, "nobody serves route %q", route)
	}
	return nil
}

func noneUp(service string) error {
	return message.Errorf(message.CodeUnavailable, "no node that serves %s is up", service)
}

// serves reports whether this node serves a route for a session: it does unless the session is bound to another node.
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

// notifyHere has this node serve a notify of a program. offer puts what is for the session into its mailbox.
func (b *Broker) notifyHere(offer func(dispatch.Call, int) error, route string, data []byte) error {
	if h, _ := b.Dispatcher.Handler(route); h.Sessionless() {
		return b.notifySessionless(route, data)
	}
	return offer(b.Dispatcher.Here(route, 0, data, dispatch.Clones), len(data))
}

// lostClient ends what a client had at a node that went down.
func (nb *neighbor) lostClient(r *reach) {
	c := r.client
	c.Control().Unwatch(nb)
	for service, address := range c.Control().Routes() {
		if address == nb.link.Addr {
			nb.b.rebind(c, service, address, "")
		}
	}
	nb.b.Dispatcher.Counts.Failed.Add(int64(len(r.waiting)))
	for _, w := range r.waiting {
		c.RelayError(w.id, w.route, message.Errorf(message.CodeUnavailable, "the node that serves %s is down", w.route))
	}
	r.waiting = nil
	r.credit(r.lent, r.size)
}

// appendTime appends how many microseconds a call has left.
func appendTime(dst []byte, micros int64) []byte {
	return binary.AppendUvarint(dst, uint64(max(micros, 1)))
}
