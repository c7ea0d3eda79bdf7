// Package dispatch owns the way of a message from a route to a handler: it finds the handler here or on another
// node, runs the inbound hooks, decodes the payload, and has each session's messages run one at a time, in order,
// on the right scheduler. It does not know how messages arrive.
package dispatch

import (
	"fmt"
	"log/slog"
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
