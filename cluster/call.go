package cluster

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// CallTimeout is how long a call may take whose context has no deadline.
const CallTimeout = 10 * time.Second

// The calls, and notifies for handlers without a session, that one node may have another serve at a time, and the bytes of
// payload of those.
const (
	maxJobs    = 16 << 10
	maxJobSize = 64 << 20
)

// ErrLogicGoroutine tells of a call of a session that this node would have to serve on the logic goroutine, where it was
// made: it would wait for itself.
var ErrLogicGoroutine = errors.New("cluster: the call waits for the logic goroutine, which makes it: call on a goroutine of its own")

var (
	errJobs     = message.Errorf(message.CodeLimit, "too many calls wait at the node")
	errDraining = message.Errorf(message.CodeUnavailable, "the node is shutting down")
)

// callIDs makes the ids of calls. A call of a session runs there as a request with its id, among those of the client,
// which may be anything: so half of an id is a hash of the other half that nobody else can make.
//
//	bit 63: set, so that others need no look; bits 32 to 62: a counter; bits 0 to 31: its hash
type callIDs struct {
	seed maphash.Seed
	last atomic.Uint32
}

func (c *callIDs) next() uint64 { return c.id(c.last.Add(1)) }

func (c *callIDs) id(n uint32) uint64 {
	n &= 1<<31 - 1
	return 1<<63 | uint64(n)<<32 | uint64(uint32(maphash.Comparable(c.seed, n)))
}

// made reports whether an id is one of those made here.
func (c *callIDs) made(id uint64) bool { return isCall(id) && c.id(uint32(id>>32)) == id }

// outCall is a call that this node waits for. Whoever takes it from Broker.calls calls done.
type outCall struct {
	id   uint64
	nb   *neighbor                    // that serves it; nil for this node. Broker.callMu guards it
	done func(data []byte, err error) // must not block; data is valid until it returns
}

// job is a call that this node serves, or passes on. Whoever takes it from Broker.jobs ends it.
type job struct {
	b       *Broker
	id      uint64
	nb      *neighbor // that waits for it; nil for this node
	session int64     // that it runs for; 0 for none
	size    int
	ctx     context.Context
	cancel  context.CancelFunc
	next    uint64 // the call that it was passed on as, or 0; Broker.callMu guards it
}

// open notes that this node waits for a call.
func (b *Broker) open(c *outCall) {
	b.callMu.Lock()
	defer b.callMu.Unlock()
	b.calls[c.id] = c
}

// at notes which node a call goes to.
func (b *Broker) at(c *outCall, nb *neighbor) {
	b.callMu.Lock()
	defer b.callMu.Unlock()
	c.nb = nb
}

// finish ends a call, unless it has ended.
func (b *Broker) finish(id uint64, data []byte, err error) {
	b.callMu.Lock()
	c := b.calls[id]
	delete(b.calls, id)
	b.callMu.Unlock()
	switch {
	case c != nil:
		c.done(data, err)
	default:
		b.counts.late.Add(1)
	}
}

// abandon gives up waiting for a call, and tells who serves it.
func (b *Broker) abandon(id uint64) {
	b.callMu.Lock()
	c := b.calls[id]
	delete(b.calls, id)
	b.callMu.Unlock()
	switch {
	case c == nil:
	case c.nb == nil:
		b.cancelJob(nil, id)
	default:
		_ = c.nb.link.Insist(&Frame{Kind: kindCancel, ID: id})
	}
}

// accept notes a call that this node serves for nb, or for itself if that is nil.
func (b *Broker) accept(nb *neighbor, id uint64, session int64, ctx context.Context, left time.Duration, size int) (*job, error) {
	j := &job{b: b, id: id, nb: nb, session: session, size: size}
	b.callMu.Lock()
	defer b.callMu.Unlock()
	if b.jobs[id] != nil {
		return nil, message.Errorf(message.CodeBadRequest, "a call with the id is served already")
	}
	if nb != nil {
		if !nb.admit(size) {
			return nil, errJobs
		}
	}
	j.ctx, j.cancel = context.WithTimeout(ctx, left)
	b.jobs[id] = j
	return j, nil
}

// admit counts a job that is served for the neighbor, unless there are too many. The caller holds Broker.callMu.
func (nb *neighbor) admit(size int) bool {
	if nb.jobs >= maxJobs || nb.jobSize+size > maxJobSize && nb.jobs > 0 {
		return false
	}
	nb.jobs++
	nb.jobSize += size
	return true
}

// dismiss takes off what admit counted. The caller holds Broker.callMu.
func (nb *neighbor) dismiss(size int) {
	nb.jobs--
	nb.jobSize -= size
}

// take removes a job; nil if it has ended.
func (b *Broker) take(id uint64) *job {
	b.callMu.Lock()
	defer b.callMu.Unlock()
	return b.takeLocked(id)
}

func (b *Broker) takeLocked(id uint64) *job {
	j := b.jobs[id]
	if j == nil {
		return nil
	}
	delete(b.jobs, id)
	if j.nb != nil {
		j.nb.dismiss(j.size)
	}
	return j
}

// end answers whoever waits for the job, with data, or with err if there is one.
func (j *job) end(data []byte, err error) {
	j.cancel()
	if j.nb == nil {
		j.b.finish(j.id, data, err)
		return
	}
	if err != nil {
		j.nb.returnError(j.id, err)
		return
	}
	err = j.nb.link.Send(&Frame{Kind: kindReturn, ID: j.id, Data: data})
	if err != nil && err != ErrMemberDown {
		j.nb.returnError(j.id, j.b.Dispatcher.Public(sendError(err))) // not ErrQueueFull: the call was served
	}
}

// Answer ends a call of a session with a reply, or with an error if there is one. mine is false where id is none of a
// call.
func (b *Broker) Answer(session int64, id uint64, v any, e *message.Error) (mine bool, err error) {
	b.callMu.Lock()
	j := b.jobs[id]
	b.callMu.Unlock()
	if j == nil || j.session != session {
		return b.ids.made(id), nil // too late
	}
	var data []byte
	if e == nil {
		if data, err = b.encode(v); err != nil {
			return true, err
		}
	}
	switch j = b.take(id); {
	case j == nil:
	case e != nil:
		j.end(nil, e)
	default:
		j.end(data, nil)
	}
	return true, nil
}

// fail ends a job with an error, unless it has ended.
func (j *job) fail(err error) {
	if t := j.b.take(j.id); t != nil {
		t.end(nil, j.b.Dispatcher.Public(err))
	}
}

// cancelJob drops a job that nb does not wait for any more.
func (b *Broker) cancelJob(nb *neighbor, id uint64) {
	b.callMu.Lock()
	j := b.jobs[id]
	if j != nil && j.nb == nb {
		b.takeLocked(id)
	} else {
		j = nil
	}
	b.callMu.Unlock()
	if j != nil {
		j.cancel()
		if j.next != 0 {
			b.abandon(j.next)
		}
	}
}

// dropCalls ends the calls that went to a neighbor that went down, and those that came from it.
func (b *Broker) dropCalls(nb *neighbor) {
	var calls []*outCall
	var jobs []uint64
	b.callMu.Lock()
	for id, c := range b.calls {
		if c.nb == nb {
			delete(b.calls, id)
			calls = append(calls, c)
		}
	}
	for id, j := range b.jobs {
		if j.nb == nb {
			jobs = append(jobs, id)
		}
	}
	b.callMu.Unlock()
	for _, c := range calls {
		c.done(nil, errDown)
	}
	for _, id := range jobs {
		b.cancelJob(nb, id)
	}
}

// encode returns v as a payload.
func (b *Broker) encode(v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case []byte:
		return v, nil
	}
	return b.Dispatcher.Serializer.Marshal(v)
}

func (b *Broker) decode(data []byte, out any) error {
	switch out := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*out = data
		return nil
	}
	if len(data) == 0 || string(data) == "null" {
		return nil // the handler returned no reply: an empty protobuf message, or JSON null
	}
	return b.Dispatcher.Serializer.Unmarshal(data, out)
}

// await makes a call and waits for its end. start has it served, and calls Broker.finish when it was; its error is instead
// of that.
func (b *Broker) await(ctx context.Context, in, out any, start func(ctx context.Context, c *outCall, data []byte) error) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, CallTimeout)
		defer cancel()
	}
	data, err := b.encode(in)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	type result struct {
		data []byte
		err  error
	}
	end := make(chan result, 1)
	c := &outCall{id: b.ids.next(), done: func(data []byte, err error) { end <- result{bytes.Clone(data), err} }}
	b.open(c)
	if err := start(ctx, c, data); err != nil {
		b.abandon(c.id)
		return err
	}
	select {
	case r := <-end:
		if r.err != nil {
			return r.err
		}
		return b.decode(r.data, out)
	case <-ctx.Done():
		b.abandon(c.id)
		return contextError(ctx)
	}
}

// contextError returns why a call is not waited for any more.
func contextError(ctx context.Context) error {
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &failure{message.Errorf(message.CodeDeadline, "no answer in time"), context.DeadlineExceeded}
}

// left returns how long a call may take yet.
func left(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return CallTimeout
	}
	return time.Until(deadline)
}

// CallNode makes a call without a session, and waits for its reply.
func (b *Broker) CallNode(ctx context.Context, route string, in, out any) error {
	return b.await(ctx, in, out, func(ctx context.Context, c *outCall, data []byte) error {
		if _, ok := b.Dispatcher.Handler(route); ok {
			return b.callHere(ctx, c.id, route, data)
		}
		if err := b.served(route); err != nil {
			return err
		}
		service, _ := serviceOf(route)
		for {
			links := alive(b.node.LinksTo(service))
			if len(links) == 0 {
				return noneUp(service)
			}
			nb := neighborOf(b.next(service, links))
			b.at(c, nb)
			err := nb.sendCall(&Frame{
				Kind: kindCall, ID: c.id, Route: route, Meta: appendTime(nil, left(ctx).Microseconds()), Data: data,
			})
			if err != ErrMemberDown {
				return sendError(err)
			}
			nb.dead.Store(true)
		}
	})
}

// callHere has this node serve a call of its own without a session.
func (b *Broker) callHere(ctx context.Context, id uint64, route string, data []byte) error {
	j, err := b.accept(nil, id, 0, ctx, left(ctx), len(data))
	if err != nil {
		return err
	}
	task, err := b.sessionless(j, route, data, dispatch.Clones)
	switch {
	case err != nil:
		j.fail(err)
	case b.Dispatcher.Loop.Running():
		task() // it would wait for itself
	case !b.Dispatcher.Loop.Invoke(task):
		j.fail(errDraining)
	}
	return nil
}

// sessionless makes the task of a job without a session.
func (b *Broker) sessionless(j *job, route string, data []byte, k dispatch.Keeper) (func(), error) {
	return b.Dispatcher.Sessionless(j.ctx, route, data, k, func(reply any, err error) {
		if err == nil {
			if _, err = b.Answer(0, j.id, reply, nil); err != nil {
				b.Log.Error("nano: handler failed", "route", route, "error", err)
			}
		}
		if err != nil {
			j.fail(err)
		}
	})
}

// notifySessionless runs a handler without a session for this node's program, which does not wait.
func (b *Broker) notifySessionless(route string, data []byte) error {
	task, err := b.Dispatcher.Sessionless(context.Background(), route, data, dispatch.Clones, func(any, error) {})
	if err == nil && !b.Dispatcher.Loop.Invoke(task) {
		err = errDraining
	}
	return err
}

// notifySessionless serves a notify for a handler without a session as a call that nobody waits for, and tells the gate
// when it has run.
func (nb *neighbor) notifySessionless(r *remote, f *Frame) error {
	b, size := nb.b, len(f.Data)
	b.callMu.Lock()
	admitted := nb.admit(size)
	b.callMu.Unlock()
	if !admitted {
		r.Ran(1, size)
		return errJobs
	}
	ran := func() {
		b.callMu.Lock()
		nb.dismiss(size)
		b.callMu.Unlock()
		r.Ran(1, size)
	}
	task, err := b.Dispatcher.Sessionless(context.Background(), f.Route, f.Data, nb, func(any, error) { ran() })
	if err == nil && !b.Dispatcher.Loop.Invoke(task) {
		err = errDraining
	}
	if err != nil {
		ran()
	}
	return err
}

// Call makes a call of a session and waits for its reply.
func (b *Broker) Call(ctx context.Context, s *session.Session, route string, in, out any) error {
	c, ok := s.NetworkEntity().(Client)
	if !ok {
		return errNoClient
	}
	return b.await(ctx, in, out, func(ctx context.Context, o *outCall, data []byte) error {
		if b.serves(s, route) {
			return b.waitHere(ctx, o.id, s, c.Mailbox().Offer, route, data)
		}
		return b.callAway(ctx, o, s, route, data)
	})
}

// callOf is Call for the session of another node's client.
func (b *Broker) callOf(ctx context.Context, r *remote, route string, in, out any) error {
	return b.await(ctx, in, out, func(ctx context.Context, o *outCall, data []byte) error {
		if r.here(route) {
			r.keepHere(route)
			return b.waitHere(ctx, o.id, r.session, r.offer, route, data)
		}
		if err := b.served(route); err != nil {
			return err
		}
		b.at(o, r.nb)
		return sendError(r.nb.link.Send(&Frame{
			Kind: kindCall, Flags: flagToGate, Session: r.id, ID: o.id, Route: route,
			Meta: appendTime(nil, left(ctx).Microseconds()), Data: data,
		}))
	})
}

// waitHere is callSession where the caller waits.
func (b *Broker) waitHere(ctx context.Context, id uint64, s *session.Session, offer func(dispatch.Call, int) error, route string, data []byte) error {
	if h, _ := b.Dispatcher.Handler(route); !h.Sessionless() && b.Dispatcher.Loop.Running() {
		return ErrLogicGoroutine
	}
	return b.callSession(ctx, id, s, offer, route, data)
}

// callSession has this node serve a call of its own with a session.
func (b *Broker) callSession(ctx context.Context, id uint64, s *session.Session, offer func(dispatch.Call, int) error, route string, data []byte) error {
	if h, _ := b.Dispatcher.Handler(route); h.Sessionless() {
		return b.callHere(ctx, id, route, data)
	}
	j, err := b.accept(nil, id, s.ID(), s.Context(), left(ctx), len(data))
	if err != nil {
		return err
	}
	if err := offer(b.Dispatcher.Here(route, id, data, dispatch.Clones).Under(j.ctx), len(data)); err != nil {
		j.fail(gone(err))
	}
	return nil
}

// gone is the error of a mailbox as whoever calls gets it.
func gone(err error) error {
	if errors.Is(err, session.ErrBrokenPipe) {
		return errGone
	}
	return err
}

// callAway has another node serve a call of a client's session.
func (b *Broker) callAway(ctx context.Context, o *outCall, s *session.Session, route string, data []byte) error {
	if err := b.served(route); err != nil {
		return err
	}
	c, ok := s.NetworkEntity().(Client)
	if !ok {
		return errNoClient
	}
	service, _ := serviceOf(route)
	for {
		nb, err := b.choose(c, service)
		if err != nil {
			return err
		}
		b.at(o, nb)
		err = nb.send(c, &Frame{
			Kind: kindCall, Session: s.ID(), ID: o.id, Route: route,
			Meta: appendTime(nil, left(ctx).Microseconds()), Data: data,
		})
		if err != ErrMemberDown {
			return gone(sendError(err))
		}
		nb.dead.Store(true)
	}
}

// call serves a call of the neighbor, or passes it on to who serves it for the session of a client of this node.
func (nb *neighbor) call(f *Frame) error {
	b := nb.b
	rd := reader{b: f.Meta}
	micros := rd.uvarint()
	if err := rd.err("time"); err != nil {
		return err
	}
	time := time.Duration(min(micros, uint64(time.Hour/time.Microsecond))) * time.Microsecond
	var r *remote
	var c Client
	parent := context.Background()
	switch {
	case f.Session == 0 && f.Route == "":
		nb.withdrew() // the answer, that nobody serves it, comes behind all that was sent
	case f.Session == 0:
	case f.Flags&flagToGate != 0:
		if c = nb.client(f.Session); c == nil {
			nb.returnError(f.ID, errGone)
			return nil
		}
		parent = c.Session().Context()
	default:
		var err error
		if r, err = nb.introduced(f.Session, rd.b); r == nil {
			nb.returnError(f.ID, errUnknown)
			return err
		}
		parent = r.session.Context()
	}
	h, _ := b.Dispatcher.Handler(f.Route)
	id := f.Session
	if c == nil && h != nil && h.Sessionless() {
		id = 0
	}
	j, err := b.accept(nb, f.ID, id, parent, time, len(f.Data))
	if err != nil {
		nb.returnError(f.ID, err)
		if r != nil {
			r.Ran(1, len(f.Data))
		}
		return nil
	}
	switch {
	case c != nil:
		nb.passOn(j, c, f)
	case id == 0:
		if r != nil {
			r.Ran(1, len(f.Data))
		}
		task, err := b.sessionless(j, f.Route, f.Data, nb)
		if err == nil && !b.Dispatcher.Loop.Invoke(task) {
			err = errDraining
		}
		if err != nil {
			j.fail(err)
		}
	default:
		nb.deliver() // what came before
		err := r.box.Offer(b.Dispatcher.Here(f.Route, f.ID, f.Data, nb).Under(j.ctx), len(f.Data))
		if err != nil {
			r.Ran(1, len(f.Data))
			j.fail(gone(err))
		}
	}
	return nil
}

// passOn has a call of a client's session made, in the session's turn, as one of this node.
func (nb *neighbor) passOn(j *job, c Client, f *Frame) {
	b, s, route, data := nb.b, c.Session(), f.Route, nb.Keep(f.Data)
	o := &outCall{id: b.ids.next(), done: func(data []byte, err error) {
		if t := b.take(j.id); t != nil {
			t.end(data, err)
		}
	}}
	run := func() error {
		if !b.passedOn(j, o) {
			return nil // it was cancelled
		}
		var err error = message.Errorf(message.CodeInternal, "internal error")
		defer func() {
			if err != nil { // as it is where the program's choice of a node panics, which the mailbox logs
				b.finish(o.id, nil, err)
			}
		}()
		if b.serves(s, route) {
			err = b.callSession(j.ctx, o.id, s, c.Mailbox().Offer, route, data)
		} else {
			err = b.callAway(j.ctx, o, s, route, data)
		}
		return nil
	}
	if err := c.Mailbox().Offer(dispatch.Do(0, run), len(data)); err != nil {
		j.fail(gone(err))
	}
}

// passedOn notes that a job goes on as a call, unless it has ended.
func (b *Broker) passedOn(j *job, o *outCall) bool {
	b.callMu.Lock()
	defer b.callMu.Unlock()
	if b.jobs[j.id] != j {
		return false
	}
	j.next = o.id
	b.calls[o.id] = o
	return true
}

// returnError answers a call with an error.
func (nb *neighbor) returnError(id uint64, err error) {
	f := Frame{Kind: kindReturn, ID: id}
	putError(&f, err, nb.b.Dispatcher.Public(err))
	_ = nb.link.Insist(&f)
}

// returned ends a call that the neighbor has served.
func (nb *neighbor) returned(f *Frame) {
	nb.deliver() // what came before: see flush
	if f.Flags&flagError != 0 {
		nb.b.finish(f.ID, nil, failureOf(f))
		return
	}
	nb.b.finish(f.ID, f.Data, nil)
}
