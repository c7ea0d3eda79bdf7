package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/session"
)

// This file is the server's side: the sessions of other nodes' clients.

// remote is the copy, on this node, of the session of another node's client: its network entity. What it is sent goes to
// the client's gate. It lives until the gate says that the client is gone, or is gone itself; where it was closed here
// before, messages that were on their way find it closed.
type remote struct {
	nb      *neighbor // the gate
	id      int64
	addr    net.Addr
	session *session.Session
	control sessionctl.Control
	box     dispatch.Mailbox

	closed   atomic.Bool // shut was called
	sealed   atomic.Bool // drain was called
	taken    atomic.Bool // the handler that runs has called LastMid
	lastMid  atomic.Uint64
	answered atomic.Uint64 // the request that was answered last while it ran

	// Messages that have run and that the gate does not know of, and their bytes. An answer to the message that runs tells
	// the gate of it, so it takes one off. What the gate did not send is taken off beforehand.
	undone, undoneSize atomic.Int64

	mu     sync.Mutex
	uids   int            // uids that were bound here and that the gate has not echoed; mu guards it and what follows
	routes map[string]int // the same of services

	uid int64 // under which Broker.uids has it; Broker.mu guards it
}

// What a gate is told of at once. What is less is not counted there: see reach.charged.
const (
	doneMessages = dispatch.LentMessages / 4
	doneSize     = dispatch.LentSize / 4
)

// errGateDown is why sessions close whose gate went down.
var errGateDown = fmt.Errorf("%w: %w", session.ErrClientClosed, ErrMemberDown)

// session returns the session of one of the neighbor's clients, or nil.
func (nb *neighbor) session(id int64) *remote {
	nb.mu.Lock()
	defer nb.mu.Unlock()
	return nb.sessions[id]
}

// introduced returns the session that a frame is for, which is made if the frame introduces it. It is nil for a session
// that this node does not know, or while the node drains.
func (nb *neighbor) introduced(id int64, meta []byte) (*remote, error) {
	if r := nb.session(id); r != nil || len(meta) == 0 {
		return r, nil
	}
	i, err := parseIntroduction(meta)
	if err != nil {
		return nil, err
	}
	b := nb.b
	r := &remote{nb: nb, id: id, addr: i.addr()}
	b.mu.Lock()
	if b.draining {
		b.mu.Unlock()
		return nil, nil
	}
	b.wg.Add(1)
	b.mu.Unlock()
	r.session = session.New(r)
	r.box.Init(b.Dispatcher, r.session, r, b.MaxPending, b.MaxSize)
	r.setUID(i.uid)
	for service, address := range i.routes {
		r.control.Route(service, address)
	}
	nb.mu.Lock()
	nb.sessions[id] = r
	nb.mu.Unlock()
	b.mu.Lock()
	draining := b.draining
	b.mu.Unlock()
	if draining { // meanwhile
		r.drain()
	}
	return r, nil
}

var (
	errUnknown = message.Errorf(message.CodeUnavailable, "the node does not have the session")
	errGone    = message.Errorf(message.CodeUnavailable, "the session is closed")
)

// serve serves a message of a client: it decodes it and keeps it for the session's mailbox, until deliver.
func (nb *neighbor) serve(f *Frame) error {
	r, err := nb.introduced(f.Session, f.Meta)
	if r == nil {
		nb.refuse(f.Session, f.ID, errUnknown)
		return err
	}
	if r.sealed.Load() || r.closed.Load() {
		r.refuse(f.ID, errGone, len(f.Data))
		return nil
	}
	if f.Flags&flagByProgram != 0 {
		if h, ok := nb.b.Dispatcher.Handler(f.Route); ok && h.Sessionless() {
			nb.deliver()
			return nb.notifySessionless(r, f)
		}
	}
	if nb.batchFor != r || nb.batch == nil {
		nb.deliver()
		nb.batch, nb.batchFor, nb.room = dispatch.NewBatch(), r, r.box.Room()
	}
	if nb.batch.Len() >= nb.room || nb.batch.Size() >= r.box.MaxSize() {
		nb.b.counts.refused.Add(1)
		r.refuse(f.ID, dispatch.ErrFull, len(f.Data))
		return nil
	}
	nb.batch.Add(nb.b.Dispatcher.Here(f.Route, f.ID, f.Data, nb), len(f.Data))
	return nil
}

// deliver hands what serve has kept to the session's mailbox. One that was sealed meanwhile drops it: the client is
// about to go, or the link is, which answers the requests.
func (nb *neighbor) deliver() {
	if b := nb.batch; b != nil {
		nb.batch = nil
		nb.batchFor.box.Deliver(b)
	}
}

// closed ends the session of a client that is gone.
func (nb *neighbor) closed(f *Frame) {
	nb.deliver()
	nb.mu.Lock()
	r := nb.sessions[f.Session]
	delete(nb.sessions, f.Session)
	nb.mu.Unlock()
	if r != nil {
		_ = r.shut(reasonOf(f))
	}
}

// refuse answers a message of the neighbor's client that gets into no mailbox; id is 0 for a notify, which is dropped.
func (nb *neighbor) refuse(session int64, id uint64, err error) {
	d := nb.b.Dispatcher
	if id == 0 {
		d.Counts.Dropped.Add(1)
		return
	}
	d.Counts.Failed.Add(1)
	nb.fail(session, id, d.Public(err), 0)
}

// fail answers a request of the neighbor's client with an error.
func (nb *neighbor) fail(session int64, id uint64, e *message.Error, flags uint8) {
	data, _ := e.MarshalProtobuf() // has no error
	_ = nb.link.Insist(&Frame{Kind: kindResponse, Flags: flagError | flags, Session: session, ID: id, Data: data})
}

// refuse is refuse of the neighbor for a session that is known: the message counts as one that has run.
func (r *remote) refuse(id uint64, err error, size int) {
	r.Ran(1, size)
	r.nb.refuse(r.id, id, err)
	if id != 0 {
		r.undone.Add(-1)
	}
}

// Ran notes that messages have run, and tells the gate now and then.
func (r *remote) Ran(messages, size int) {
	n, bytes := r.undone.Add(int64(messages)), r.undoneSize.Add(int64(size))
	if n < doneMessages && bytes < doneSize {
		return
	}
	n, bytes = max(n, 0), max(bytes, 0)
	r.undone.Add(-n)
	r.undoneSize.Add(-bytes)
	f := Frame{Kind: kindDone, Session: r.id, ID: uint64(n)}
	if bytes > 0 {
		var meta [binary.MaxVarintLen64]byte
		f.Meta = meta[:binary.PutUvarint(meta[:], uint64(bytes))]
	}
	_ = r.nb.link.Insist(&f)
}

// offer puts a message that the gate did not send into the mailbox.
func (r *remote) offer(c dispatch.Call, size int) error {
	r.undone.Add(-1)
	r.undoneSize.Add(-int64(size))
	err := r.box.Offer(c, size)
	if err != nil {
		r.Ran(1, size)
	}
	return err
}

// shut closes the session here: what was accepted still runs, and then the close callbacks. Only the first call counts.
func (r *remote) shut(reason error) error {
	if r.closed.Swap(true) {
		return session.ErrCloseClosedSession
	}
	r.control.End(reason)
	r.box.Seal(r.finished)
	return nil
}

// drain closes the session when what was accepted has run.
func (r *remote) drain() {
	r.sealed.Store(true)
	r.box.Seal(func() {
		if !r.closed.Swap(true) {
			r.control.End(session.ErrShutdown)
		}
		r.finished()
	})
}

// finished runs on the logic goroutine after the last message.
func (r *remote) finished() {
	defer r.nb.b.wg.Done()
	defer r.index(0)
	r.control.Finish()
}

// index has Broker.uids know the session under a uid.
func (r *remote) index(uid int64) {
	b := r.nb.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.uid != 0 {
		list := slices.DeleteFunc(b.uids[r.uid], func(o *remote) bool { return o == r })
		if len(list) == 0 {
			delete(b.uids, r.uid)
		} else {
			b.uids[r.uid] = list
		}
	}
	if r.closed.Load() {
		uid = 0
	}
	if r.uid = uid; uid != 0 {
		b.uids[uid] = append(b.uids[uid], r)
	}
}

// Attach takes the control of the session; session.New calls it.
func (r *remote) Attach(c sessionctl.Control) { r.control = c }

// Control lends the control of the session.
func (r *remote) Control() sessionctl.Control { return r.control }

// SessionID numbers the session as its gate does.
func (r *remote) SessionID() int64 { return r.id }

// RemoteAddr returns the client's address, as its gate knows it.
func (r *remote) RemoteAddr() net.Addr { return r.addr }

// LastMid returns the id of the request that runs or ran last, 0 for a notify. A handler that calls it answers later.
func (r *remote) LastMid() uint64 {
	r.taken.Store(true)
	return r.lastMid.Load()
}

// Deferred reports whether the handler that runs has called LastMid.
func (r *remote) Deferred() bool { return r.taken.Load() }

// Waiting reports whether the request that runs, or ran last, has no answer yet.
func (r *remote) Waiting(id uint64) bool { return id == r.lastMid.Load() && id != r.answered.Load() }

// Begin notes which request runs.
func (r *remote) Begin(id uint64, _ *string) {
	r.taken.Store(false)
	r.lastMid.Store(id)
	if id != 0 && r.answered.Load() == id {
		r.answered.Store(0) // the client uses an id again
	}
}

// Hold and Release enclose a run of the session's messages: the link puts together what is sent.
func (r *remote) Hold() {}

// Release ends what Hold began.
func (r *remote) Release() {}

// Bound tells the gate that another uid was bound here.
func (r *remote) Bound(_ *session.Session, _, uid int64) error {
	r.index(uid)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uids++
	_ = r.nb.link.Insist(&Frame{Kind: kindUID, Flags: flagToGate, Session: r.id, ID: uint64(uid)})
	return nil
}

// toldUID binds a uid as the gate says. While it has not seen what was bound here, it may say what was before.
func (r *remote) toldUID(uid int64, echo bool) {
	r.mu.Lock()
	if echo {
		r.uids--
	}
	stale := r.uids > 0
	r.mu.Unlock()
	if !stale {
		r.setUID(uid)
	}
}

func (r *remote) setUID(uid int64) {
	r.control.Bind(uid)
	r.index(uid)
}

// Routed tells the gate that a service was bound here.
func (r *remote) Routed(_ *session.Session, service, address string) {
	r.tellRoute(service, address, 0)
}

// tellRoute is Routed; how may be ifUnbound.
func (r *remote) tellRoute(service, address string, how uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.routes == nil {
		r.routes = make(map[string]int)
	}
	r.routes[service]++
	_ = r.nb.link.Insist(&Frame{Kind: kindRoute, Flags: flagToGate, Session: r.id, ID: how, Route: service, Data: []byte(address)})
}

// toldRoute binds a service as the gate says; see toldUID.
func (r *remote) toldRoute(service, address string, echo bool) {
	r.mu.Lock()
	if echo {
		if r.routes[service]--; r.routes[service] <= 0 {
			delete(r.routes, service)
		}
	}
	stale := r.routes[service] > 0
	r.mu.Unlock()
	if !stale {
		r.control.Route(service, address)
	}
}

// Push sends the client a message that is not an answer.
func (r *remote) Push(route string, v any) error {
	if r.closed.Load() {
		return session.ErrBrokenPipe
	}
	return r.send(&Frame{Kind: kindPush, Session: r.id, Route: route}, v)
}

// Response answers the request that runs, or ran last.
func (r *remote) Response(v any) error { return r.ResponseMid(r.lastMid.Load(), v) }

// ResponseMid answers the request with the id mid; an *Error makes the answer an error response.
func (r *remote) ResponseMid(mid uint64, v any) error {
	call := isCall(mid)
	current := mid == r.lastMid.Load()
	switch {
	case mid == 0, current && r.answered.Load() == mid:
		return session.ErrSessionOnNotify
	case r.closed.Load() && !call:
		return session.ErrBrokenPipe
	}
	if e, ok := v.(*message.Error); ok && e != nil {
		r.Fail(mid, e)
		return nil
	}
	if current && r.answered.Swap(mid) == mid {
		return session.ErrSessionOnNotify
	}
	var mine bool
	var err error
	if call {
		mine, err = r.nb.b.Answer(r.id, mid, v, nil)
	}
	if !mine {
		f := Frame{Kind: kindResponse, Flags: flagLater, Session: r.id, ID: mid}
		if current {
			f.Flags = 0
		}
		if err = r.send(&f, v); err == nil && current {
			r.undone.Add(-1)
		}
	}
	if err != nil && current {
		r.answered.Store(0) // so that the request can be answered with the error
	}
	return err
}

// Fail answers a request with an error, unless it was answered.
func (r *remote) Fail(mid uint64, e *message.Error) {
	current := mid == r.lastMid.Load()
	if current && r.answered.Swap(mid) == mid {
		return
	}
	if isCall(mid) {
		if mine, _ := r.nb.b.Answer(r.id, mid, nil, e); mine {
			return
		}
	}
	if current {
		r.nb.fail(r.id, mid, e, 0)
		r.undone.Add(-1)
	} else {
		r.nb.fail(r.id, mid, e, flagLater)
	}
}

// Refuse answers a request with an error that did not begin.
func (r *remote) Refuse(mid uint64, e *message.Error) { r.nb.fail(r.id, mid, e, flagLater) }

// scratch is a buffer that payloads are encoded into.
type scratch struct{ b []byte }

// maxScratch is the largest scratch that is kept, in bytes.
const maxScratch = 64 << 10

var scratches = sync.Pool{New: func() any { return &scratch{b: make([]byte, 0, 512)} }}

// send sends the gate a frame with v as its payload.
func (r *remote) send(f *Frame, v any) error {
	data, ok := v.([]byte)
	if !ok {
		serializer := r.nb.b.Dispatcher.Serializer
		var err error
		if am, ok := serializer.(serialize.AppendMarshaler); ok {
			buf := scratches.Get().(*scratch)
			defer buf.free()
			if data, err = am.MarshalAppend(buf.b[:0], v); err == nil {
				buf.b = data
			}
		} else {
			data, err = serializer.Marshal(v)
		}
		if err != nil {
			return err
		}
	}
	f.Data = data
	if err := r.nb.fits(f); err != nil {
		return err
	}
	switch err := r.nb.link.Send(f); err {
	case ErrMemberDown:
		return session.ErrBrokenPipe
	case ErrQueueFull:
		return session.ErrBufferExceed
	default:
		return err
	}
}

func (s *scratch) free() {
	if cap(s.b) <= maxScratch {
		scratches.Put(s)
	}
}

// fits reports whether a client's packet can hold a frame's route and payload.
func (nb *neighbor) fits(f *Frame) error {
	const most = 1 + binary.MaxVarintLen64 + 1 + message.MaxRouteLength // of a header
	if len(f.Route) <= message.MaxRouteLength && most+len(f.Data) <= packet.MaxLength {
		return nil
	}
	m := message.Message{Type: message.Push, ID: f.ID, Route: f.Route}
	if f.Kind == kindResponse {
		m.Type = message.Response
	}
	head, err := message.AppendHeader(nil, &m, nb.b.Dispatcher.Dictionary)
	if err != nil {
		return err
	}
	if n := len(head) + len(f.Data); n > packet.MaxLength {
		return fmt.Errorf("%w: %d bytes, %d fit", codec.ErrPacketTooLarge, n, packet.MaxLength)
	}
	return nil
}

// RPC sends a notify to the node that serves the route.
func (r *remote) RPC(route string, v any) error {
	b := r.nb.b
	data, err := b.encode(v)
	if err != nil {
		return err
	}
	if r.here(route) {
		r.keepHere(route)
		return b.notifyHere(r.offer, route, data)
	}
	if err := b.served(route); err != nil {
		return err
	}
	// The gate tells nobody whether it could send the notify on.
	if service, _ := serviceOf(route); b.node.Met() && len(alive(b.node.LinksTo(service))) == 0 {
		return noneUp(service)
	}
	return sendError(r.nb.link.Send(&Frame{Kind: kindRPC, Session: r.id, Route: route, Data: data}))
}

// here reports whether this node serves a route that is used here for the session: as Broker.serves says, but for a service
// that the gate has itself, which is used there as long as it is bound nowhere.
func (r *remote) here(route string) bool {
	b := r.nb.b
	if !b.serves(r.session, route) {
		return false
	}
	service, _ := serviceOf(route)
	address, _ := r.session.Router().Find(service)
	return address == b.address() || linkTo(b.node.LinksTo(service), r.nb.link.Addr) == nil
}

// keepHere has the session's messages to a service that was used here come here, unless it is bound, here or at the gate.
func (r *remote) keepHere(route string) {
	service, _ := serviceOf(route)
	address := r.nb.b.address()
	if _, done := r.control.Reroute(service, "", address); done {
		r.tellRoute(service, address, ifUnbound)
	}
}

// Call makes a call of the session and waits for its reply.
func (r *remote) Call(ctx context.Context, route string, in, out any) error {
	return r.nb.b.callOf(ctx, r, route, in, out)
}

// Close ends the session and closes the client.
func (r *remote) Close() error {
	if err := r.shut(session.ErrClosed); err != nil {
		return err
	}
	_ = r.nb.link.Insist(&Frame{Kind: kindClose, Session: r.id})
	return nil
}

// Kick ends the session and kicks the client.
func (r *remote) Kick(reason string) error {
	if err := r.shut(session.ErrKicked); err != nil {
		return err
	}
	_ = r.nb.link.Insist(&Frame{Kind: kindKick, Session: r.id, Data: []byte(reason)})
	return nil
}

// isCall reports whether an id may be that of a call; see callIDs.
func isCall(id uint64) bool { return id>>63 != 0 }

var _ interface {
	session.NetworkEntity
	dispatch.Entity
	dispatch.Deferrer
	dispatch.Accountant
	sessionctl.Attacher
	sessionctl.Keeper
} = (*remote)(nil)
