// Package dispatch owns the way of a message from a route to a handler: it finds the handler here or on another
// node, runs the inbound hooks, decodes the payload, and has each session's messages run one at a time, in order,
// on the right scheduler. It does not know how messages arrive.
package dispatch

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/session"
)

// Remote is the other nodes of a cluster, as far as dispatch needs them. It is set before the first message.
type Remote interface {
	// Serves reports whether another node serves the route's service. It is called on readers' goroutines,
	// concurrently.
	Serves(service string) bool
	// Away reports whether a session keeps to another node for a route that this one serves too. It is called likewise.
	Away(s *session.Session, route string) bool
	// Forward sends a request or notify to the node that serves it, and returns without waiting. It is called in
	// the order of the session's messages, one at a time for each session; msg's data belongs to it. An error is
	// answered to the client.
	Forward(s *session.Session, msg *message.Message) error
}

// Config is what a Dispatcher is made of.
type Config struct {
	Log        *slog.Logger
	Serializer serialize.Serializer
	Inbound    pipeline.Channel // may be nil
	Dictionary *message.Dictionary
	Scheduler  *scheduler.Scheduler // where messages run that name no other
	Slow       time.Duration        // a handler that takes longer is logged; 0 for never
	Debug      bool                 // log every message, and show clients the text of any error
}

// Dispatcher finds handlers. Services are added before it is used; then its methods may be called concurrently.
type Dispatcher struct {
	Config
	handlers map[string]*component.Handler // by route
	services []*component.Service
	remote   Remote
	copies   bool // the serializer copies what it keeps of a payload
	draining atomic.Bool
	Counts   Counts
}

// Counts is what went through a dispatcher.
type Counts struct {
	Dropped atomic.Int64 // notifies that could not be served
	Failed  atomic.Int64 // requests answered with an error
	Panics  atomic.Int64 // handlers and hooks that panicked
}

// New makes a Dispatcher without services.
func New(c Config) *Dispatcher {
	d := &Dispatcher{Config: c, handlers: map[string]*component.Handler{}}
	if k, ok := c.Serializer.(serialize.InputCopier); ok {
		d.copies = k.CopiesInput()
	}
	return d
}

// Add offers a component.
func (d *Dispatcher) Add(comp component.Component, opts []component.Option) error {
	s := component.NewService(comp, opts)
	if err := s.ExtractHandler(); err != nil {
		return err
	}
	for _, other := range d.services {
		if other.Name == s.Name {
			return fmt.Errorf("component: service %q is registered twice, by %v and by %v: name one of them with WithName",
				s.Name, other.Type, s.Type)
		}
	}
	d.services = append(d.services, s)
	for _, h := range s.Handlers {
		if len(h.Route) > message.MaxRouteLength {
			return fmt.Errorf("component: route %q has %d bytes, want %d at most", h.Route, len(h.Route), message.MaxRouteLength)
		}
		d.handlers[h.Route] = h
	}
	return nil
}

// now is the clock of the scheduler: cheaper than time.Now, which also reads the wall clock.
func (d *Dispatcher) now() time.Duration { return d.Scheduler.Now() }

// Services returns the services in order of registration.
func (d *Dispatcher) Services() []*component.Service { return d.services }

// Handler returns the handler of a route that this node serves.
func (d *Dispatcher) Handler(route string) (*component.Handler, bool) {
	h, ok := d.handlers[route]
	return h, ok
}

// SetRemote connects the other nodes.
func (d *Dispatcher) SetRemote(r Remote) { d.remote = r }

// Drain refuses every message from now on, with NANO-503.
func (d *Dispatcher) Drain() { d.draining.Store(true) }

var (
	errDraining = message.Errorf(message.CodeUnavailable, "the server is shutting down")
	errFlags    = message.Errorf(message.CodeBadRequest, "the message has flags, or a route, that this server does not take")
	errLate     = message.Errorf(message.CodeDeadline, "the deadline has passed, or nobody waits any more")
	errHook     = message.Errorf(message.CodeInternal, "internal error")
)

// Call is one message that is ready to run.
type Call struct {
	handler *component.Handler
	arg     component.Arg
	id      uint64 // of the request, or 0 for a notify
	more    *more  // what few messages need; it keeps the others small
}

// more is what belongs to few messages only.
type more struct {
	ctx context.Context // the handler's, and when to give the message up; nil for the session's
	// Instead of a handler, one of these:
	do      func() error
	fail    error            // what to answer
	forward *message.Message // what another node is to serve
}

// Refuse makes a Call that is answered with an error; id is 0 for a notify, which is dropped.
func Refuse(id uint64, err error) Call { return Call{id: id, more: &more{fail: err}} }

// forward makes a Call of a message that another node is to serve.
func forward(m *message.Message) Call { return Call{id: m.ID, more: &more{forward: m}} }

// Do makes a Call that runs f in its turn, on the dispatcher's scheduler. An error of f is answered as a handler's; id is
// 0 for a notify.
func Do(id uint64, f func() error) Call { return Call{id: id, more: &more{do: f}} }

// Under returns c with ctx for its handler's context. It is answered with NANO-504 if ctx ends before it runs.
func (c Call) Under(ctx context.Context) Call {
	if c.handler != nil {
		c.more = &more{ctx: ctx}
	}
	return c
}

// Handler returns the handler of the call, nil where something else is to be done.
func (c *Call) Handler() *component.Handler { return c.handler }

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

// quoted is how many bytes of a route that is not known an error tells: a client may have sent anything.
const quoted = 64

func notFound(route string, known bool) error {
	if !known {
		return message.Errorf(message.CodeNotFound, "route code %s is not in the dictionary", route)
	}
	if len(route) > quoted {
		route = route[:quoted] + "..."
	}
	return message.Errorf(message.CodeNotFound, "route %q is not served here", route)
}

func (d *Dispatcher) panicked(what, route string, p any) {
	d.Counts.Panics.Add(1)
	d.Log.Error("nano: panic", "in", what, "route", route, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// Public returns the error as a client may see it: an *Error as it is, anything else as NANO-500.
func (d *Dispatcher) Public(err error) *message.Error {
	if e, ok := errorAs(err); ok {
		return e
	}
	if d.Debug {
		return message.Errorf(message.CodeInternal, "%v", err)
	}
	return message.Errorf(message.CodeInternal, "internal error")
}
