package dispatch

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/session"
)

// Keeper has memory for payloads that outlast the buffer they came in.
type Keeper interface {
	// Keep returns a copy of data. Nothing writes to the memory behind it.
	Keep(data []byte) []byte
}

// Clones is a Keeper that allocates a copy for each payload.
var Clones Keeper = clones{}

type clones struct{}

func (clones) Keep(data []byte) []byte { return bytes.Clone(data) }

// Decode makes a Call of a request or notify whose header was parsed. The Call keeps nothing of
// what h aliases: it has k copy the payload if it needs it later.
func (d *Dispatcher) Decode(s *session.Session, h *message.Header, k Keeper) (c Call) {
	d.DecodeInto(&c, s, h, k, nil)
	return c
}

// DecodeInto is Decode into a Call that is zero. last is the handler of the message before, or
// nil: if the route is the same, that saves a lookup.
func (d *Dispatcher) DecodeInto(c *Call, s *session.Session, h *message.Header, k Keeper, last *handler.Handler) {
	if h.Strange || d.Inbound != nil || d.draining.Load() {
		d.decodeSpecial(c, s, h)
		return
	}
	found := last
	if h.Compressed || last == nil || string(h.Route) != last.Route {
		found = d.find(h)
	}
	switch {
	case found == nil || found.Sessionless():
		d.decodeRemote(c, h, k)
	case found.IsRawArg:
		c.handler, c.id = found, h.ID
		c.arg = handler.Raw(k.Keep(h.Body))
	default:
		body := h.Body
		if !d.copies {
			body = k.Keep(body)
		}
		d.decode(c, found, h.ID, body)
	}
}

// DecodeRouted is DecodeInto for a session whose Router has bindings: another node may have to
// serve what this node could serve.
func (d *Dispatcher) DecodeRouted(c *Call, s *session.Session, h *message.Header, k Keeper) {
	if h.Strange || d.Inbound != nil || d.draining.Load() {
		d.decodeSpecial(c, s, h)
		return
	}
	found := d.find(h)
	if found == nil || d.boundAway(s, found.Route) {
		d.decodeRemote(c, h, k)
		return
	}
	d.DecodeInto(c, s, h, k, found)
}

// boundAway reports whether a session binds a route that this node serves to another node.
func (d *Dispatcher) boundAway(s *session.Session, route string) bool {
	return d.remote != nil && d.remote.BoundAway(s, route)
}

// decodeSpecial is DecodeInto for strange flags, a dispatcher that drains, and hooks. It is not
// inlined, because that would slow down the common path.
//
//go:noinline
func (d *Dispatcher) decodeSpecial(c *Call, s *session.Session, h *message.Header) {
	switch {
	case h.Strange:
		route, _ := d.route(h)
		*c = d.refuse(h.ID, route, errFlags)
	case d.draining.Load():
		*c = Refuse(h.ID, errDraining)
	default:
		*c = d.decodeHooked(s, h)
	}
}

// find returns the handler of a message that this node serves, or nil.
func (d *Dispatcher) find(h *message.Header) *handler.Handler {
	if !h.Compressed {
		if found := d.handlers[string(h.Route)]; found != nil {
			return found
		}
		if d.late.Load() == nil {
			return nil
		}
		return d.added(string(h.Route))
	}
	if route, known := d.Dictionary.Route(h.Code); known {
		found, _ := d.Handler(route)
		return found
	}
	return nil
}

// decodeRemote makes a Call of a message that this node does not serve.
//
//go:noinline
func (d *Dispatcher) decodeRemote(c *Call, h *message.Header, k Keeper) {
	route, known := d.route(h)
	if known && d.serves(route) {
		*c = forward(&message.Message{Type: h.Type, ID: h.ID, Route: route, Data: k.Keep(h.Body)})
		return
	}
	*c = d.refuse(h.ID, route, notFound(route, known))
}

// decodeHooked is Decode with inbound hooks: they get a message of their own.
func (d *Dispatcher) decodeHooked(s *session.Session, h *message.Header) Call {
	route, known := d.route(h)
	if !known {
		return d.refuse(h.ID, route, notFound(route, known))
	}
	m := &message.Message{Type: h.Type, ID: h.ID, Route: route, Data: append([]byte{}, h.Body...)}
	if err := d.Hooks(d.Inbound, s, m); err != nil {
		return refuseRoute(h.ID, route, err)
	}
	m.Type, m.ID = h.Type, h.ID
	return d.decodeMessage(s, m)
}

// decodeMessage makes a Call of a message after the hooks; m belongs to the Call. A handler
// without a session is not found.
func (d *Dispatcher) decodeMessage(s *session.Session, m *message.Message) (c Call) {
	found, ok := d.Handler(m.Route)
	switch {
	case !ok || found.Sessionless() || d.boundAway(s, m.Route):
		if d.serves(m.Route) {
			return forward(m)
		}
		return d.refuse(m.ID, m.Route, notFound(m.Route, true))
	case found.IsRawArg:
		return Call{handler: found, id: m.ID, arg: handler.Raw(m.Data)}
	}
	d.decode(&c, found, m.ID, m.Data)
	return c
}

// Here makes a Call of a message that another node forwarded: this node does not forward it
// again. A handler without a session is not found. data is not kept: k copies it if necessary.
func (d *Dispatcher) Here(route string, id uint64, data []byte, k Keeper) (c Call) {
	d.HereInto(&c, route, id, data, k, nil)
	return c
}

// HereInto is Here into a Call that is zero. last is that of DecodeInto.
func (d *Dispatcher) HereInto(c *Call, route string, id uint64, data []byte, k Keeper, last *handler.Handler) {
	if d.draining.Load() {
		*c = Refuse(id, errDraining)
		return
	}
	found := last
	if last == nil || last.Route != route {
		found, _ = d.Handler(route)
	}
	switch {
	case found == nil || found.Sessionless():
		*c = d.refuse(id, route, notFound(route, true))
	case found.IsRawArg:
		c.handler, c.id = found, id
		c.arg = handler.Raw(k.Keep(data))
	default:
		if !d.copies {
			data = k.Keep(data)
		}
		d.decode(c, found, id, data)
	}
}

// Hooks runs the hooks of a channel; a panic in one is an error.
func (d *Dispatcher) Hooks(c pipeline.Channel, s *session.Session, m *message.Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			d.panicked("pipeline", p, "route", m.Route, "session", s.ID(), "uid", s.UID())
			err = errHook
		}
	}()
	return c.Process(s, m)
}

// decode makes a Call of a handler with a type of its own.
func (d *Dispatcher) decode(c *Call, h *handler.Handler, id uint64, data []byte) {
	defer func() {
		if p := recover(); p != nil {
			d.panicked("serializer", p, "route", h.Route)
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
func (d *Dispatcher) undecoded(h *handler.Handler, id uint64, err error) Call {
	text := fmt.Sprintf("the payload of %s does not decode", h.Route)
	if err != nil {
		d.logRefusal(h.Route, text, err)
		if d.Debug {
			text += ": " + err.Error()
		}
	}
	return refuseRoute(id, h.Route, &message.Error{Code: message.CodeBadRequest, Message: text})
}

// refuse makes a Call that is answered with an error, and logs that if its turn has come.
func (d *Dispatcher) refuse(id uint64, route string, err error) Call {
	d.logRefusal(route, "", err)
	return refuseRoute(id, route, err)
}

// refuseRoute is Refuse for a message whose route is known.
func refuseRoute(id uint64, route string, err error) Call {
	return Call{id: id, special: &special{fail: err, route: printable(route)}}
}

// route returns the route of a message. known is false if it is a code that the dictionary lacks;
// the route is the code as a number then.
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
