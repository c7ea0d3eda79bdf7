package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/trace"
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
	h, ok := d.Handler(route)
	switch {
	case !ok:
		return nil, notFound(route, true)
	case !h.Sessionless():
		return nil, message.Errorf(message.CodeNotFound, "route %q is served for sessions only: call it with one", route)
	}
	if f := h.Nodes(); f != nil {
		kept := k.Keep(data)
		return func() {
			d.invoke(ctx, h, done, func(ctx context.Context) (reply any, err error, later bool) {
				f(ctx, kept, func(reply any, err error) { done(reply, d.logged(h, err)) })
				return nil, nil, true
			})
		}, nil
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
	return func() {
		d.invoke(ctx, h, done, func(ctx context.Context) (reply any, err error, later bool) {
			if reply, err = h.Call(ctx, nil, c.arg); err == nil && reply == nil {
				reply, err = d.emptyReply(h)
			}
			return reply, err, false
		})
	}, nil
}

// logged counts the error of a handler without a session, and logs it if the program is at fault.
func (d *Dispatcher) logged(h *handler.Handler, err error) error {
	if err != nil {
		d.Counts.Failed.Add(1)
		h.Stats.Errors.Add(1)
		if unexpected(err) {
			d.Log.Error("nano: handler failed", "route", h.Route, "error", loggable(err))
		}
	}
	return err
}

// invoke runs a handler that has no session. If later is true, call calls done.
func (d *Dispatcher) invoke(ctx context.Context, h *handler.Handler, done func(reply any, err error),
	call func(ctx context.Context) (reply any, err error, later bool)) {
	if ctx.Err() != nil { // the handler is not called
		d.Counts.Failed.Add(1)
		h.Stats.Errors.Add(1)
		done(nil, errLate)
		return
	}
	var reply any
	later, err := false, errors.New("the handler ended the logic goroutine")
	defer func() { // also if the span panics at its end
		if !later {
			done(reply, err)
		}
	}()
	var span trace.Span
	inner := d.Loop.SelfTiming() // a handler waits for this call, and keeps its label
	if !inner {
		d.label(h)
	}
	began := d.now()
	defer func() {
		if !inner {
			d.label(nil)
		}
		if p := recover(); p != nil {
			d.panicked("a handler", p, "route", h.Route)
			err = errLogged
		}
		took := d.now() - began
		h.Stats.Add(1, took, took)
		if h.Stats.Slowest.Beats(took) {
			h.Stats.Slowest.Add(handler.SlowCall{Time: time.Now(), Took: took})
		}
		if d.Slow > 0 && took > d.Slow {
			d.Log.Warn("nano: slow handler", "route", h.Route, "took", took)
		}
		if d.logged(h, err) != nil {
			reply, later = nil, false
		}
		if span != nil {
			span.End(err)
		}
	}()
	ctx, span = d.start(ctx, h.Route)
	if d.Debug {
		d.Log.Debug("nano: call", "route", h.Route)
	}
	d.Loop.SelfTimed()
	reply, err, later = call(ctx)
}
