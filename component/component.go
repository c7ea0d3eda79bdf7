package component

import "github.com/lonng/nano/internal/handler"

// Component is a value that a program registers. Embed [Base] and write the methods that you need.
//
// All four methods run on the logic goroutine. Init and then AfterInit of every component run in
// the order of registration, before the first client is accepted. BeforeShutdown and then
// Shutdown run in reverse order; the sessions are still open during BeforeShutdown.
type Component interface {
	Init()
	AfterInit()
	BeforeShutdown()
	Shutdown()
}

// Base is a [Component] whose methods do nothing.
type Base struct{}

var _ Component = (*Base)(nil)

// Init does nothing.
func (c *Base) Init() {}

// AfterInit does nothing.
func (c *Base) AfterInit() {}

// BeforeShutdown does nothing.
func (c *Base) BeforeShutdown() {}

// Shutdown does nothing.
func (c *Base) Shutdown() {}

// CompWithOptions is a registered component with its options.
type CompWithOptions struct {
	Comp Component // the component
	Opts []Option  // its options
}

// Components is the list of components of a server. The zero value is ready. Register components
// from one goroutine, before the server starts.
type Components struct {
	comps []CompWithOptions
}

// Register adds a component. If it cannot serve, because a name is taken or it has no handlers,
// the server returns an error when it starts.
func (cs *Components) Register(c Component, options ...Option) {
	cs.comps = append(cs.comps, CompWithOptions{c, options})
}

// List returns the registered components in order.
func (cs *Components) List() []CompWithOptions { return cs.comps }

// Option changes how a component is offered.
type Option func(*options)

type options = handler.Options

// WithName names the service, the first part of its routes. The default is the name of the type.
func WithName(name string) Option { return func(o *options) { o.Name = name } }

// WithNameFunc renames the methods, the last part of the routes: with strings.ToLower the route of
// Join ends in "join". The default keeps the names.
func WithNameFunc(f func(string) string) Option { return func(o *options) { o.NameFunc = f } }

// WithSchedulerName runs the component's messages on the scheduler.LocalScheduler that the session
// holds under this key. The default is the server's own scheduler.
func WithSchedulerName(name string) Option { return func(o *options) { o.SchedName = name } }
