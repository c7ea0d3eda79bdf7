package dispatch

import (
	"context"
	"errors"

	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
)

// Sessionless makes a task of a call without a session, which another node or the program makes.
// The caller queues the task on the dispatcher's loop. The task calls done exactly once, with the
// handler's reply or error. If Sessionless returns an error, there is no task. data is not kept:
// k copies it if necessary.
func (d *Dispatcher) Sessionless(ctx context.Context, route string, data []byte, k Keeper,
	done func(reply any, err error)) (task func(), err error) {
	if d.draining.Load() {
		return nil, errDraining
	}
	h, ok := d.handlers[route]
	switch {
	case !ok:
		return nil, notFound(route, true)
	case !h.Sessionless():
		return nil, message.Errorf(message.CodeNotFound, "route %q is served for sessions only: call it with one", route)
	}
	c := Call{handler: h}
	if h.IsRawArg {
		c.arg = handler.Raw(k.Keep(data))
	} else {
		if !d.copies {
			data = k.Keep(data)
		}
		d.decode(&c, h, 0, data)
		if c.special != nil {
			return nil, c.special.fail
		}
	}
	return func() { d.invoke(ctx, h, c.arg, done) }, nil
}

// invoke runs a handler that has no session.
func (d *Dispatcher) invoke(ctx context.Context, h *handler.Handler, arg handler.Arg, done func(reply any, err error)) {
	if ctx.Err() != nil { // the handler is not called
		d.Counts.Failed.Add(1)
		done(nil, errLate)
		return
	}
	var reply any
	err := errors.New("the handler ended the logic goroutine")
	began := d.now()
	defer func() {
		if p := recover(); p != nil {
			d.panicked("a handler", h.Route, p)
			err = errLogged
		}
		took := d.now() - began
		h.Stats.Add(1, took, took)
		if d.Slow > 0 && took > d.Slow {
			d.Log.Warn("nano: slow handler", "route", h.Route, "took", took)
		}
		if err != nil {
			d.Counts.Failed.Add(1)
			if unexpected(err) {
				d.Log.Error("nano: handler failed", "route", h.Route, "error", loggable(err))
			}
			reply = nil
		}
		done(reply, err)
	}()
	if d.Debug {
		d.Log.Debug("nano: call", "route", h.Route)
	}
	d.Loop.SelfTimed()
	if reply, err = h.Call(ctx, nil, arg); err == nil && reply == nil {
		reply, err = d.emptyReply(h)
	}
}
