package dispatch

import (
	"reflect"

	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/scheduler"
)

// placement is a scheduler that a session holds under a name.
type placement struct {
	on     scheduler.LocalScheduler
	loop   *runloop.Loop // loop of on; nil if on is a type of the program
	name   string
	closed bool // its messages fail, on the dispatcher's loop
}

// start schedules runWaiting where the first message of b, the first batch that waits, belongs. If
// b is nil, runWaiting belongs on the dispatcher's loop. Between Deliver or Seal and runWaiting, and
// within runWaiting, one goroutine is here at a time.
func (m *Mailbox) start(b *Batch) {
	if b == nil {
		m.placed = nil
		m.schedule(m.runWaiting)
		return
	}
	m.placed = m.place(&b.calls[0])
	if b.task == nil {
		b.task = func() { b.box.runWaiting() }
	}
	b.box = m
	m.schedule(b.task)
}

// schedule queues task, which calls runWaiting, on the scheduler where it is placed. If that has
// closed, task is queued on the dispatcher's loop.
func (m *Mailbox) schedule(task func()) {
	if p := m.placed; p != nil && !p.closed {
		if m.queue(p, task) {
			return // now m.placed belongs to runWaiting
		}
		m.placed = &placement{on: p.on, name: p.name, closed: true}
	}
	m.d.Loop.Invoke(task)
}

// queue queues task on a scheduler of the program's. It reports false if that has ended, or
// panics.
func (m *Mailbox) queue(p *placement, task func()) (accepted bool) {
	defer func() {
		if r := recover(); r != nil {
			m.d.panicked("scheduler", r, "scheduler", p.name, "session", m.s.ID(), "uid", m.s.UID())
			accepted = false
		}
	}()
	if p.loop != nil {
		return p.loop.Invoke(task)
	}
	// A type of the program may call a task twice, when its batch is used again.
	if s, ok := p.on.(scheduler.Invoker); ok {
		return s.Invoke(m.runWaiting)
	}
	p.on.Schedule(m.runWaiting)
	return true
}

// lookup returns the scheduler that the session holds under a name. own is true if that is the
// dispatcher's.
func (m *Mailbox) lookup(name string) (p placement, own, ok bool) {
	l, ok := m.s.Value(name).(scheduler.LocalScheduler)
	if !ok {
		return placement{}, false, false
	}
	loop, _ := runloop.Of(l)
	return placement{on: l, loop: loop, name: name}, loop == m.d.Loop, true
}

// place returns where c belongs: nil is the dispatcher's loop, which also answers a message whose
// scheduler the session does not hold.
func (m *Mailbox) place(c *Call) *placement {
	if c.handler == nil || c.handler.SchedName == "" {
		return nil
	}
	if p, own, ok := m.lookup(c.handler.SchedName); ok && !own {
		return &p
	}
	return nil
}

// runsHere reports whether c belongs where runWaiting is. first is true for the message for which
// runWaiting was scheduled.
func (m *Mailbox) runsHere(c *Call, first bool) bool {
	closed := m.placed != nil && m.placed.closed
	if c.handler == nil || c.handler.SchedName == "" {
		return m.placed == nil || closed
	}
	p, own, ok := m.lookup(c.handler.SchedName)
	if closed {
		return c.handler.SchedName == m.placed.name && (!ok || same(p.on, m.placed.on, true))
	}
	if !ok || own || m.placed == nil {
		return (!ok || own) && m.placed == nil
	}
	return c.handler.SchedName == m.placed.name && same(p.on, m.placed.on, first)
}

// same compares two schedulers of any type. It returns unknown if values of that type cannot be
// compared.
func same(a, b scheduler.LocalScheduler, unknown bool) bool {
	if reflect.TypeOf(a) != reflect.TypeOf(b) {
		return false
	}
	if !reflect.ValueOf(a).Comparable() || !reflect.ValueOf(b).Comparable() {
		return unknown
	}
	return a == b
}

// isPlacedOn reports whether runWaiting is on the scheduler that the session holds under a name.
func (m *Mailbox) isPlacedOn(name string) bool {
	if m.placed != nil {
		return !m.placed.closed && m.placed.name == name
	}
	_, own, ok := m.lookup(name)
	return ok && own
}
