// Package component owns the program's side: values whose exported methods become handlers. It finds the methods
// by reflection, once, and knows nothing of connections.
package component

// Component is what a program registers. Embed Base, and write what you need.
//
// All four run on the logic goroutine: Init and then AfterInit of every component in the order of registration,
// before the first client is accepted; BeforeShutdown and then Shutdown in reverse order, the former while the
// sessions are still open.
type Component interface {
	Init()
	AfterInit()
	BeforeShutdown()
	Shutdown()
}

// Base is a Component that does nothing.
type Base struct{}

// Init does nothing.
func (c *Base) Init() {}

// AfterInit does nothing.
func (c *Base) AfterInit() {}

// BeforeShutdown does nothing.
func (c *Base) BeforeShutdown() {}

// Shutdown does nothing.
func (c *Base) Shutdown() {}

// CompWithOptions is a registered component.
type CompWithOptions struct {
	Comp Component
	Opts []Option
}

// Components is the list of what a server offers. Register before the server starts, from one goroutine. The zero
// value is ready.
type Components struct {
	comps []CompWithOptions
}

// Register adds a component. Faults of it (a name taken, no handlers) are reported when the server starts.
func (cs *Components) Register(c Component, options ...Option) {
	cs.comps = append(cs.comps, CompWithOptions{c, options})
}

// List returns the registered components in order.
func (cs *Components) List() []CompWithOptions { return cs.comps }

// Option changes how a component is offered.
type Option func(*options)

type options struct {
	name      string
	nameFunc  func(string) string
	scheduler string
}

// WithName names the service, the first part of its routes. By default it is the name of the type.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithNameFunc renames the methods, the last part of the routes: strings.ToLower makes Join answer to "join".
func WithNameFunc(f func(string) string) Option { return func(o *options) { o.nameFunc = f } }

// WithSchedulerName has the component's messages run on the scheduler.LocalScheduler that the session holds under
// this key, instead of on the server's own.
func WithSchedulerName(name string) Option { return func(o *options) { o.scheduler = name } }
