// Package pipeline owns the hooks that see every message: the inbound ones before its payload is decoded, the
// outbound ones before its header is written. Hooks may change a message, or refuse it with an error.
package pipeline

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// Message is one message, as hooks see it. A hook owns Data: it may keep, change or replace it.
type Message = message.Message

// Func is a hook. Hooks run on the goroutines of connections and of whoever sends, concurrently across sessions
// and, outbound, within one: a hook that keeps state guards it.
//
// An inbound hook that returns an error refuses the message: a request is answered with it (an *Error as it is,
// anything else as NANO-500), a notify is dropped. An error of an outbound hook is returned to the sender, and
// nothing goes out.
type Func func(s *session.Session, msg *message.Message) error

// Channel is a row of hooks. Its methods may be called concurrently.
type Channel interface {
	// PushFront adds a hook before the others.
	PushFront(h Func)
	// PushBack adds a hook after the others.
	PushBack(h Func)
	// Process calls the hooks in order, and stops at the first error.
	Process(s *session.Session, msg *message.Message) error
}

// Pipeline is the hooks of one server.
type Pipeline interface {
	// Outbound is the hooks for responses and pushes.
	Outbound() Channel
	// Inbound is the hooks for requests and notifies.
	Inbound() Channel
}

// New returns a pipeline without hooks.
func New() Pipeline { return &pipeline{} }

type pipeline struct {
	outbound, inbound channel
}

func (p *pipeline) Outbound() Channel { return &p.outbound }
func (p *pipeline) Inbound() Channel  { return &p.inbound }

// channel is copied on write: messages pass without a lock.
type channel struct {
	mu    sync.Mutex // writers
	hooks atomic.Pointer[[]Func]
}

func (c *channel) insert(front bool, h Func) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hooks := c.list()
	at := len(hooks)
	if front {
		at = 0
	}
	hooks = slices.Insert(slices.Clone(hooks), at, h)
	c.hooks.Store(&hooks)
}

func (c *channel) list() []Func {
	if p := c.hooks.Load(); p != nil {
		return *p
	}
	return nil
}

func (c *channel) PushFront(h Func) { c.insert(true, h) }
func (c *channel) PushBack(h Func)  { c.insert(false, h) }

func (c *channel) Process(s *session.Session, msg *message.Message) error {
	for _, h := range c.list() {
		if err := h(s, msg); err != nil {
			return err
		}
	}
	return nil
}
