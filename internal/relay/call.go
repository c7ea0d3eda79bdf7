package relay

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/session"
)

// CallTimeout is the time limit of a call whose context has no deadline.
const CallTimeout = 10 * time.Second

// await makes a call and waits for its end. start has the call served; Broker.finish ends it. If start returns an error,
// the call was not made. s is nil without a session, and route is "" for a call that no handler serves.
func (b *Broker) await(ctx context.Context, s *session.Session, route string, in, out any, start func(ctx context.Context, c *outCall, data []byte) error) (err error) {
	ctx, span := b.start(ctx, s, route)
	if span != nil {
		defer func() { span.End(err) }()
	}
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

// decode decodes the reply to a call into out. If the handler returned no reply, out stays unchanged: the payload is an empty
// protobuf message or JSON null then. Raw bytes may be the null.
func (b *Broker) decode(data []byte, out any) error {
	if out == nil || len(data) == 0 {
		return nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = data
		return nil
	}
	if string(data) == "null" {
		return nil
	}
	return b.Dispatcher.Serializer.Unmarshal(data, out)
}

// timeLeft returns how much time a call has left.
func timeLeft(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return CallTimeout
	}
	return time.Until(deadline)
}

// appendTimeLeft appends how many microseconds a call has left.
func appendTimeLeft(dst []byte, ctx context.Context) []byte {
	return appendTime(dst, timeLeft(ctx).Microseconds())
}

func appendTime(dst []byte, micros int64) []byte {
	return binary.AppendUvarint(dst, uint64(max(micros, 1)))
}

// CallNode makes a call without a session, and waits for its reply.
func (b *Broker) CallNode(ctx context.Context, route string, in, out any) error {
	return b.await(ctx, nil, route, in, out, func(ctx context.Context, c *outCall, data []byte) error {
		if _, ok := b.Dispatcher.Handler(route); ok {
			return b.callHere(ctx, c.id, route, data)
		}
		if err := b.served(route); err != nil {
			return err
		}
		service, _ := serviceOf(route)
		header := b.header(ctx)
		for {
			links := alive(b.node.LinksTo(service))
			if len(links) == 0 {
				return errNoneUp(service)
			}
			pc := peerConnOf(b.next(service, links))
			b.at(c, pc)
			f := link.Frame{Kind: kindCall, ID: c.id, Route: route, Meta: appendTimeLeft(nil, ctx), Data: data}
			pc.putTrace(&f, header)
			err := pc.sendCall(&f)
			if !errors.Is(err, link.ErrDown) {
				return sendError(err)
			}
			pc.dead.Store(true)
		}
	})
}

// callHere serves a call of this node without a session.
func (b *Broker) callHere(ctx context.Context, id uint64, route string, data []byte) error {
	j, err := b.accept(ctx, nil, id, 0, timeLeft(ctx), len(data))
	if err != nil {
		return err
	}
	task, err := b.sessionless(j, route, data, dispatch.Clones)
	switch {
	case err != nil:
		j.fail(err)
	case b.Dispatcher.Loop.Running():
		task() // the logic goroutine waits for the reply, so it runs the handler itself
	case !b.Dispatcher.Loop.Invoke(task):
		j.fail(errDraining)
	}
	return nil
}

// sessionless returns the task of a job without a session.
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

// Call makes a call of a client's session and waits for its reply.
func (b *Broker) Call(ctx context.Context, s *session.Session, route string, in, out any) error {
	c, ok := s.NetworkEntity().(Client)
	if !ok {
		return errNoClient
	}
	return b.await(ctx, s, route, in, out, func(ctx context.Context, o *outCall, data []byte) error {
		if b.serves(s, route) {
			return b.callHereAndWait(ctx, o.id, s, c.Mailbox().Offer, route, data)
		}
		return b.callPeer(ctx, o, s, route, data)
	})
}

// Call makes a call of the session and waits for its reply.
func (p *proxySession) Call(ctx context.Context, route string, in, out any) error {
	b := p.pc.b
	return b.await(ctx, p.session, route, in, out, func(ctx context.Context, o *outCall, data []byte) error {
		if p.servedHere(route) {
			p.bindHere(route)
			return b.callHereAndWait(ctx, o.id, p.session, p.offer, route, data)
		}
		if err := b.served(route); err != nil {
			return err
		}
		b.at(o, p.pc)
		f := link.Frame{
			Kind: kindCall, Flags: flagToGate, Session: p.id, ID: o.id, Route: route,
			Meta: appendTimeLeft(nil, ctx), Data: data,
		}
		p.pc.putTrace(&f, b.header(ctx))
		return sendError(p.pc.link.Send(&f))
	})
}

// callHereAndWait is callSession for a caller that waits.
func (b *Broker) callHereAndWait(ctx context.Context, id uint64, s *session.Session, offer func(dispatch.Call, int) error, route string, data []byte) error {
	if h, _ := b.Dispatcher.Handler(route); !h.Sessionless() && b.Dispatcher.Loop.Running() {
		return ErrLogicGoroutine
	}
	return b.callSession(ctx, id, s, offer, route, data)
}

// callSession serves a call of this node with a session; offer puts it into the session's mailbox.
func (b *Broker) callSession(ctx context.Context, id uint64, s *session.Session, offer func(dispatch.Call, int) error, route string, data []byte) error {
	if h, _ := b.Dispatcher.Handler(route); h.Sessionless() {
		return b.callHere(ctx, id, route, data)
	}
	j, err := b.accept(b.extract(s.Context(), b.header(ctx)), nil, id, s.ID(), timeLeft(ctx), len(data))
	if err != nil {
		return err
	}
	if err := offer(b.Dispatcher.Here(route, id, data, dispatch.Clones).Under(j.ctx), len(data)); err != nil {
		j.fail(mailboxError(err))
	}
	return nil
}

// callPeer has another node serve a call of a client's session.
func (b *Broker) callPeer(ctx context.Context, o *outCall, s *session.Session, route string, data []byte) error {
	if err := b.served(route); err != nil {
		return err
	}
	c, ok := s.NetworkEntity().(Client)
	if !ok {
		return errNoClient
	}
	service, _ := serviceOf(route)
	header := b.header(ctx)
	for {
		pc, err := b.choose(c, service)
		if err != nil {
			return err
		}
		b.at(o, pc)
		f := link.Frame{Kind: kindCall, Session: s.ID(), ID: o.id, Route: route, Meta: appendTimeLeft(nil, ctx), Data: data}
		pc.putTrace(&f, header)
		err = pc.send(c, &f, nil)
		if !errors.Is(err, link.ErrDown) {
			return mailboxError(sendError(err))
		}
		pc.dead.Store(true)
	}
}
