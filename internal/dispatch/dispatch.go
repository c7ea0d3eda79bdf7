// Package dispatch passes messages to their handlers.
//
// It finds the handler of a route here or on another node, runs the inbound hooks, and decodes
// the payload. A [Mailbox] runs the messages of one session one at a time, in order, on the
// right scheduler. The package does not know how messages arrive.
package dispatch

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/session"
	"github.com/lonng/nano/trace"
)

// Remote connects dispatch with the other nodes of a cluster.
type Remote interface {
	// Serves reports whether another node serves a service. It is called on readers'
	// goroutines, concurrently.
	Serves(service string) bool
	// BoundAway reports whether the session's Router binds a route that this node serves to
	// another node. It is called like Serves.
	BoundAway(s *session.Session, route string) bool
	// Forward sends a request or notify to the node that serves it, and returns without
	// waiting. It is called in the order of the session's messages, one at a time for each
	// session. msg's data belongs to it. The client gets an error as the answer.
	Forward(s *session.Session, msg *message.Message) error
	// ForwardRun begins a run of messages with one of a route. It returns nil if the messages have
	// to be passed to Forward. It is called like Serves.
	ForwardRun(s *session.Session, route string) ForwardRun
}

// Config holds the settings of a [Dispatcher].
type Config struct {
	Log        *slog.Logger
	Serializer serialize.Serializer
	Inbound    pipeline.Channel // may be nil
	Dictionary *message.Dictionary
	Loop       *runloop.Loop // runs the messages that name no other scheduler
	Slow       time.Duration // a handler that takes longer is logged; 0 for none
	Debug      bool          // log every message, and show clients the text of any error
	Tracer     trace.Tracer  // makes the spans of handlers; nil for none
	Node       func() string // the address of this node, for spans; nil without a Tracer
}

// Dispatcher finds handlers. Add and SetRemote are called before its first message; then its
// methods may be called concurrently.
type Dispatcher struct {
	Config
	handlers   map[string]*handler.Handler                 // by route
	mu         sync.Mutex                                  // held while a handler is added to late
	late       atomic.Pointer[map[string]*handler.Handler] // by route; added after the start
	services   []*handler.Service
	shared     map[string]bool // services that several components may provide
	components []*handler.Service
	instance   string // see handler.Env
	remote     Remote // nil without a cluster
	copies     bool   // the serializer copies what it keeps of a payload
	draining   atomic.Bool
	refused    refusals
	Counts     Counts
}

// Counts counts what went through a dispatcher.
type Counts struct {
	Dropped atomic.Int64 // notifies that could not be served
	Failed  atomic.Int64 // requests answered with an error
	Panics  atomic.Int64 // handlers and hooks that panicked
}

// New makes a Dispatcher without services.
func New(c Config) *Dispatcher {
	d := &Dispatcher{Config: c, handlers: map[string]*handler.Handler{}, shared: map[string]bool{}, instance: instance()}
	if k, ok := c.Serializer.(serialize.InputCopier); ok {
		d.copies = k.CopiesInput()
	}
	return d
}

// instance returns random text of 8 letters and digits.
func instance() string { return strings.ToLower(rand.Text()[:8]) }

// Add offers a component.
func (d *Dispatcher) Add(comp component.Component, opts []component.Option) error {
	var o handler.Options
	for _, option := range opts {
		option(&o)
	}
	o.Env = handler.Env{Serializer: d.Serializer, Log: d.Log, Instance: d.instance}
	o.Publish = d.addLater
	s, err := handler.New(comp, o)
	if err != nil {
		return err
	}
	if err := d.add(s, false); err != nil {
		return err
	}
	for _, shared := range s.Shared {
		if err := d.add(shared, true); err != nil {
			return err
		}
	}
	return nil
}

// add adds a service. If several shared services have the same name, the first one is used.
func (d *Dispatcher) add(s *handler.Service, shared bool) error {
	for _, other := range d.services {
		if other.Name == s.Name && shared && d.shared[s.Name] {
			return nil
		}
		if other.Name == s.Name {
			return fmt.Errorf("component: service %q is registered twice, by %v and by %v: name one of them with WithName",
				s.Name, other.Type, s.Type)
		}
	}
	if d.services = append(d.services, s); shared {
		d.shared[s.Name] = true
	} else {
		d.components = append(d.components, s)
	}
	for _, h := range s.Handlers {
		if err := prepare(h); err != nil {
			return err
		}
		d.handlers[h.Route] = h
	}
	return nil
}

// prepare checks the route of a handler and sets its profiler labels.
func prepare(h *handler.Handler) error {
	if n := len(h.Route); n > message.MaxRouteLength {
		return fmt.Errorf("component: route %q has %d bytes, want %d at most", h.Route, n, message.MaxRouteLength)
	}
	h.Labels = pprof.WithLabels(context.Background(), pprof.Labels("route", h.Route))
	return nil
}

// addLater serves a handler that its component adds after the start.
func (d *Dispatcher) addLater(h *handler.Handler) error {
	if err := prepare(h); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	late := map[string]*handler.Handler{h.Route: h}
	if old := d.late.Load(); old != nil {
		maps.Copy(late, *old)
	}
	d.late.Store(&late)
	return nil
}

// added returns the handler of a route that was added after the start, or nil.
func (d *Dispatcher) added(route string) *handler.Handler {
	if late := d.late.Load(); late != nil {
		return (*late)[route]
	}
	return nil
}

// now reads the clock of the loop: that is cheaper than time.Now, which reads the wall clock too.
func (d *Dispatcher) now() time.Duration { return d.Loop.Now() }

// Services returns the services in the order of registration.
func (d *Dispatcher) Services() []*handler.Service { return d.services }

// Components returns the service of each component, in the order of registration.
func (d *Dispatcher) Components() []*handler.Service { return d.components }

// Handler returns the handler of a route that this node serves.
func (d *Dispatcher) Handler(route string) (*handler.Handler, bool) {
	h, ok := d.handlers[route]
	if !ok {
		h = d.added(route)
	}
	return h, h != nil
}

// SetRemote connects the other nodes.
func (d *Dispatcher) SetRemote(r Remote) { d.remote = r }

// Drain refuses every message from now on, with NANO-503.
func (d *Dispatcher) Drain() { d.draining.Store(true) }
