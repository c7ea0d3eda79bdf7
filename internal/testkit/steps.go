package testkit

import (
	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/session"
)

// StepRecorder is a component that records its life cycle calls.
type StepRecorder struct {
	component.Base
	name  string
	steps *[]string
	panic string // the step that panics
}

// Handle makes the component a service.
func (c *StepRecorder) Handle(*session.Session, []byte) error { return nil }

// Init records its call.
func (c *StepRecorder) Init() { c.step("Init") }

// AfterInit records its call.
func (c *StepRecorder) AfterInit() { c.step("AfterInit") }

// BeforeShutdown records its call.
func (c *StepRecorder) BeforeShutdown() { c.step("BeforeShutdown") }

// Shutdown records its call.
func (c *StepRecorder) Shutdown() { c.step("Shutdown") }

func (c *StepRecorder) step(step string) {
	if c.steps != nil {
		*c.steps = append(*c.steps, c.name+"."+step)
	}
	if c.panic == step {
		panic("no luck")
	}
}

// WithStepRecorders registers components that record their calls in one list. If
// panicking is not empty, the step of that name panics.
func WithStepRecorders(steps *[]string, panicking string, names ...string) nano.Option {
	components := &component.Components{}
	for _, name := range names {
		components.Register(&StepRecorder{name: name, steps: steps, panic: panicking}, component.WithName(name))
	}
	return nano.WithComponents(components)
}
