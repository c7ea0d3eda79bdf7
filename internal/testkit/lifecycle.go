package testkit

import (
	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/session"
)

// Lifecycle notes what is done to it.
type Lifecycle struct {
	component.Base
	name  string
	steps *[]string
	panic string // the step that panics
}

func (c *Lifecycle) Handle(*session.Session, []byte) error { return nil }

func (c *Lifecycle) step(step string) {
	if c.steps != nil {
		*c.steps = append(*c.steps, c.name+"."+step)
	}
	if c.panic == step {
		panic("no luck")
	}
}

func (c *Lifecycle) Init() { c.step("Init") }

func (c *Lifecycle) AfterInit() { c.step("AfterInit") }

func (c *Lifecycle) BeforeShutdown() { c.step("BeforeShutdown") }

func (c *Lifecycle) Shutdown() { c.step("Shutdown") }

// WithStepRecorders registers components that note their steps in one list.
func WithStepRecorders(steps *[]string, panicking string, names ...string) nano.Option {
	components := &component.Components{}
	for _, name := range names {
		components.Register(&Lifecycle{name: name, steps: steps, panic: panicking}, component.WithName(name))
	}
	return nano.WithComponents(components)
}
