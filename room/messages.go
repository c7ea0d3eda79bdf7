package room

import (
	"context"
	"reflect"
	"runtime/pprof"
	"time"

	"github.com/lonng/nano/session"
)

// serve runs a message of a player. It returns the reply, nil for none.
func (c *core) serve(h *method, p *Player, from *session.Session, msg reflect.Value) (reply any, err error) {
	switch {
	case c.closed || p.session != from:
		return nil, ErrNotJoined
	case p.spectator:
		return nil, ErrSpectator
	}
	if h.input {
		in := msg.Interface().(numbered).input()
		p.follows(in.Tick)
		if len(p.inputs) >= c.kind.options.inputs {
			p.inputs = p.inputs[1:]
			c.stats.inputsDropped.Add(1)
		}
		p.inputs = append(p.inputs, input{in.Seq, h, msg})
		return nil, nil
	}
	began := time.Now()
	err = c.guard(h.name, func() error {
		reply, err = c.invoke(h, p, msg)
		return err
	})
	c.stats.took(time.Since(began))
	c.touch()
	return reply, err
}

// invoke calls the method of a message.
func (c *core) invoke(h *method, p *Player, msg reflect.Value) (reply any, err error) {
	out := c.value.Method(h.index).Call([]reflect.Value{reflect.ValueOf(p), msg})
	if h.reply != nil {
		reply = out[0].Interface()
	}
	if h.err {
		err, _ = reflect.TypeAssert[error](out[len(out)-1])
	}
	return reply, err
}

// runInput runs an input that has waited for the tick.
func (c *core) runInput(p *Player, in input) {
	h := in.method
	pprof.SetGoroutineLabels(h.labels)
	defer pprof.SetGoroutineLabels(context.Background())
	if _, err := c.invoke(h, p, in.msg); err != nil {
		attrs := []any{"room", c.id, "route", c.kind.name + "." + h.name, "error", err}
		if p.session != nil {
			attrs = append(attrs, "session", p.session.ID(), "uid", p.session.UID())
		}
		c.log.Debug("nano: a message to a room failed", attrs...)
	}
}
