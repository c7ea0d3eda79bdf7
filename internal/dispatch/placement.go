package dispatch

import (
	"reflect"

	"github.com/lonng/nano/scheduler"
)

// elsewhere is a scheduler that a session holds under a name.
type elsewhere struct {
	on   scheduler.LocalScheduler
	name string
	shut bool // it was found closed: its messages fail, on the dispatcher's scheduler
}

// start schedules run where its first message belongs, on the dispatcher's scheduler where that is nil. Between Deliver
// or Seal and run, and within run, only one goroutine is here at a time.
func (m *Mailbox) start(first *Call) {
	m.away = nil
	if first != nil {
		m.away = m.place(first)
	}
	m.schedule()
}

// schedule queues run on the scheduler it belongs to; one that has closed is replaced by the dispatcher's.
func (m *Mailbox) schedule() {
	if away := m.away; away != nil && !away.shut {
		if m.offer(away) {
			return // once run is queued, away is the run's
		}
		m.away = &elsewhere{name: away.name, shut: true}
	}
	m.d.Scheduler.PushTask(m.runTask)
}

// offer queues run on a scheduler of the program's. It reports false if that has ended, or panics.
func (m *Mailbox) offer(away *elsewhere) (accepted bool) {
	defer func() {
		if p := recover(); p != nil {
			m.d.panicked("scheduler", away.name, p)
			accepted = false
		}
	}()
	if s, ok := away.on.(interface{ Offer(scheduler.Task) bool }); ok {
		return s.Offer(m.runTask)
	}
	away.on.Schedule(m.runTask)
	return true
}

// find returns the scheduler that the session holds under a name, unless that is the dispatcher's own.
func (m *Mailbox) find(name string) (scheduler.LocalScheduler, bool) {
	l, ok := m.s.Value(name).(scheduler.LocalScheduler)
	return l, ok && l != scheduler.LocalScheduler(m.d.Scheduler)
}

// place returns where c belongs: nil for the dispatcher's scheduler, which also answers what belongs nowhere.
func (m *Mailbox) place(c *Call) *elsewhere {
	if c.handler == nil || c.handler.SchedName == "" {
		return nil
	}
	if l, ok := m.find(c.handler.SchedName); ok {
		return &elsewhere{on: l, name: c.handler.SchedName}
	}
	return nil
}

// stays reports whether c runs where run is; first is whether run was scheduled for its sake.
func (m *Mailbox) stays(c *Call, first bool) bool {
	shut := m.away != nil && m.away.shut
	if c.handler == nil || c.handler.SchedName == "" {
		return m.away == nil || shut
	}
	if shut {
		return c.handler.SchedName == m.away.name
	}
	l, ok := m.find(c.handler.SchedName)
	if !ok || m.away == nil {
		return !ok && m.away == nil
	}
	return c.handler.SchedName == m.away.name && same(l, m.away.on, first)
}

// same compares two schedulers, of whatever type; unsure is the answer where values of that type cannot be compared.
func same(a, b scheduler.LocalScheduler, unsure bool) bool {
	if reflect.TypeOf(a) != reflect.TypeOf(b) {
		return false
	}
	if !reflect.ValueOf(a).Comparable() || !reflect.ValueOf(b).Comparable() {
		return unsure
	}
	return a == b
}

// held reports whether run is on a scheduler that the session holds under a name.
func (m *Mailbox) held(name string) bool {
	if m.away != nil {
		return !m.away.shut && m.away.name == name
	}
	l, ok := m.s.Value(name).(scheduler.LocalScheduler)
	return ok && l == scheduler.LocalScheduler(m.d.Scheduler)
}
