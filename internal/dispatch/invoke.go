package dispatch

import (
	"context"
	"errors"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/message"
)

// Sessionless makes a task of a call that another node, or the program, makes without a session. The task belongs on the
// dispatcher's scheduler; it hands the handler's reply or error to done, exactly once. The error that is returned is
// instead of a task. data is not kept: see Here.
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
		c.arg = component.Raw(k.Keep(data))
	} else {
		if !d.copies {
			data = k.Keep(data)
		}
		d.decode(&c, h, 0, data)
		if c.more != nil {
			return nil, c.more.fail
		}
	}
	return func() { d.invoke(ctx, h, c.arg, done) }, nil
}

// invoke runs a handler that has no session.
func (d *Dispatcher) invoke(ctx context.Context, h *component.Handler, arg component.Arg, done func(reply any, err error)) {
	if ctx.Err() != nil { // so the handler is not called
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
			if _, public := errorAs(err); !public && !errors.Is(err, errLogged) {
				d.Log.Error("nano: handler failed", "route", h.Route, "error", err)
			}
			reply = nil
		}
		done(reply, err)
	}()
	if d.Debug {
		d.Log.Debug("nano: call", "route", h.Route)
	}
	d.Scheduler.Watched()
	reply, err = h.Call(ctx, nil, arg)
}
