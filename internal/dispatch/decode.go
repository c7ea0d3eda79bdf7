package dispatch

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/session"
)

// Keeper has memory for payloads that outlast the buffer they came in.
type Keeper interface {
	// Keep returns a copy of data, behind which nobody writes.
	Keep(data []byte) []byte
}

// Clones is a Keeper that allocates a copy of its own for each payload.
var Clones Keeper = clones{}

type clones struct{}

func (clones) Keep(data []byte) []byte { return bytes.Clone(data) }

// Decode makes a Call of a request or notify whose header was parsed. What h aliases is not kept: payloads that go on
// are copied by k.
func (d *Dispatcher) Decode(s *session.Session, h *message.Header, k Keeper) (c Call) {
	d.DecodeInto(&c, s, h, k, nil)
	return c
}

// DecodeInto is Decode into a Call that is zero, for a message that may well have the same handler as the last one:
// that saves looking it up. last may be nil.
func (d *Dispatcher) DecodeInto(c *Call, s *session.Session, h *message.Header, k Keeper, last *component.Handler) {
	if h.Strange || d.Inbound != nil || d.draining.Load() {
		d.decodeSeldom(c, s, h)
		return
	}
	handler := last
	if h.Compressed || last == nil || string(h.Route) != last.Route {
		handler = d.find(h)
	}
	switch {
	case handler == nil || handler.Sessionless():
		d.elsewhere(c, h, k)
	case handler.IsRawArg:
		c.handler, c.id = handler, h.ID
		c.arg = component.Raw(k.Keep(h.Body))
	default:
		body := h.Body
		if !d.copies {
			body = k.Keep(body)
		}
		d.decode(c, handler, h.ID, body)
	}
}

// DecodeRouted is DecodeInto for a session whose Router has bindings: what this node serves may be for another one.
func (d *Dispatcher) DecodeRouted(c *Call, s *session.Session, h *message.Header, k Keeper) {
	handler := d.find(h)
	if handler == nil || h.Strange || d.Inbound != nil || d.draining.Load() || !d.away(s, handler.Route) {
		d.DecodeInto(c, s, h, k, handler)
		return
	}
	d.elsewhere(c, h, k)
}

// away reports whether a session keeps to another node for a route that this one serves too.
func (d *Dispatcher) away(s *session.Session, route string) bool {
	return d.remote != nil && d.remote.Away(s, route)
}

// decodeSeldom is DecodeInto for what most servers and messages do not need. It is not inlined: see input.message of
// package agent.
//
//go:noinline
func (d *Dispatcher) decodeSeldom(c *Call, s *session.Session, h *message.Header) {
	switch {
	case h.Strange:
		*c = Refuse(h.ID, errFlags)
	case d.draining.Load():
		*c = Refuse(h.ID, errDraining)
	default:
		*c = d.decodeHooked(s, h)
	}
}

// find returns the handler of a message that this node serves, or nil.
func (d *Dispatcher) find(h *message.Header) *component.Handler {
	if !h.Compressed {
		return d.handlers[string(h.Route)]
	}
	if route, known := d.Dictionary.Route(h.Code); known {
		return d.handlers[route]
	}
	return nil
}

// elsewhere makes a Call of a message that this node does not serve.
//
//go:noinline
func (d *Dispatcher) elsewhere(c *Call, h *message.Header, k Keeper) {
	route, known := d.route(h)
	if known && d.serves(route) {
		*c = forward(&message.Message{Type: h.Type, ID: h.ID, Route: route, Data: k.Keep(h.Body)})
		return
	}
	*c = Refuse(h.ID, notFound(route, known))
}

// decodeHooked is Decode with inbound hooks: they get a message of their own.
func (d *Dispatcher) decodeHooked(s *session.Session, h *message.Header) Call {
	route, known := d.route(h)
	if !known {
		return Refuse(h.ID, notFound(route, known))
	}
	m := &message.Message{Type: h.Type, ID: h.ID, Route: route, Data: append([]byte{}, h.Body...)}
	if err := d.Hooks(d.Inbound, s, m); err != nil {
		return Refuse(h.ID, err)
	}
	m.Type, m.ID = h.Type, h.ID
	return d.seen(s, m)
}

// seen makes a Call of a message that hooks have seen; m belongs to the Call. A handler without a session is not found.
func (d *Dispatcher) seen(s *session.Session, m *message.Message) (c Call) {
	handler, ok := d.handlers[m.Route]
	switch {
	case !ok || handler.Sessionless() || d.away(s, m.Route):
		if d.serves(m.Route) {
			return forward(m)
		}
		return Refuse(m.ID, notFound(m.Route, true))
	case handler.IsRawArg:
		return Call{handler: handler, id: m.ID, arg: component.Raw(m.Data)}
	}
	d.decode(&c, handler, m.ID, m.Data)
	return c
}

// Here makes a Call of a message that another node sent, and that is not sent on. A handler without a session is not
// found. data is not kept: what has to be is copied by k.
func (d *Dispatcher) Here(route string, id uint64, data []byte, k Keeper) (c Call) {
	if d.draining.Load() {
		return Refuse(id, errDraining)
	}
	handler, ok := d.handlers[route]
	if !ok || handler.Sessionless() {
		return Refuse(id, notFound(route, true))
	}
	if handler.IsRawArg {
		return Call{handler: handler, id: id, arg: component.Raw(k.Keep(data))}
	}
	if !d.copies {
		data = k.Keep(data)
	}
	d.decode(&c, handler, id, data)
	return c
}

// Hooks runs a row of hooks; a panic in one is an error.
func (d *Dispatcher) Hooks(c pipeline.Channel, s *session.Session, m *message.Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			d.panicked("pipeline", m.Route, p)
			err = errHook
		}
	}()
	return c.Process(s, m)
}

// decode makes a Call of a handler with a type of its own.
func (d *Dispatcher) decode(c *Call, h *component.Handler, id uint64, data []byte) {
	defer func() {
		if p := recover(); p != nil {
			d.panicked("serializer", h.Route, p)
			*c = d.undecoded(h, id, nil)
		}
	}()
	arg, err := h.Decode(d.Serializer, data)
	if err != nil {
		*c = d.undecoded(h, id, err)
		return
	}
	c.handler, c.id, c.arg = h, id, arg
}

// undecoded refuses a message whose payload the serializer did not take.
func (d *Dispatcher) undecoded(h *component.Handler, id uint64, err error) Call {
	text := fmt.Sprintf("the payload of %s does not decode", h.Route)
	if d.Debug && err != nil {
		text += ": " + err.Error()
	}
	return Refuse(id, &message.Error{Code: message.CodeBadRequest, Message: text})
}

func (d *Dispatcher) route(h *message.Header) (route string, known bool) {
	if !h.Compressed {
		return string(h.Route), true
	}
	if route, known = d.Dictionary.Route(h.Code); !known {
		return fmt.Sprint(h.Code), false
	}
	return route, true
}

// serves reports whether another node serves a route.
func (d *Dispatcher) serves(route string) bool {
	if d.remote == nil {
		return false
	}
	dot := strings.LastIndexByte(route, '.')
	return dot > 0 && d.remote.Serves(route[:dot])
}
