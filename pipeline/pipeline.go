package pipeline

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// Message is one message, as hooks see it. Data belongs to the hook: it may keep, change or replace
// it.
type Message = message.Message

// Func is a hook. Hooks run on the goroutines of connections and of senders: concurrently for
// different sessions, and outbound ones also within one session. A hook guards its own state.
//
// If an inbound hook returns an error, the message does not reach its handler. A request is
// answered with the error: an *Error as it is, any other error as NANO-500. A notify is dropped. If
// an outbound hook returns an error, nothing is sent, and the sender gets the error.
type Func func(s *session.Session, msg *message.Message) error

// Channel is an ordered list of hooks. Its methods may be called concurrently.
type Channel interface {
	// PushFront adds a hook that runs before the others.
	PushFront(h Func)
	// PushBack adds a hook that runs after the others.
	PushBack(h Func)
	// Process calls the hooks in order. It stops at the first error and returns it.
	Process(s *session.Session, msg *message.Message) error
}

// Pipeline holds the hooks of one server.
type Pipeline interface {
	// Outbound returns the hooks for responses and pushes.
	Outbound() Channel
	// Inbound returns the hooks for requests and notifies.
	Inbound() Channel
}

// New returns a pipeline without hooks.
func New() Pipeline { return &pipeline{} }

type pipeline struct {
	outbound, inbound channel
}

func (p *pipeline) Outbound() Channel { return &p.outbound }
func (p *pipeline) Inbound() Channel  { return &p.inbound }

// channel implements Channel. Its list is copied on write, so messages pass without a lock.
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
