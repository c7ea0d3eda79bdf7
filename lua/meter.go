package lua

import (
	"context"
	"fmt"
	"time"
)

// clockSteps is how many steps of a call pass between two readings of the clock.
const clockSteps = 64

// meter is the context of a Lua state that counts steps. The interpreter asks Done before
// each instruction, so a call of Done is one step. When a limit is reached, every further
// instruction fails: a script that catches the error cannot continue.
//
// A meter is used on the logic goroutine only. Coroutines share the meter of their state.
type meter struct {
	steps   int           // limit
	timeout time.Duration // limit

	factor int // the usual limits are multiplied by this for the current call
	left   int // steps until the limit of the call
	check  int // value of left at which the clock is read next
	began  time.Time
	looked time.Time // time of the latest look at the clock
	paused bool      // the process was stopped for a while, and that time was left out
	err    error     // the limit that was reached
}

var _ context.Context = (*meter)(nil)

// ended is the channel of a call that has reached a limit.
var ended = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// begin starts a call, with limits that are factor times the usual ones.
func (m *meter) begin(factor int) {
	m.factor = factor
	m.left = m.steps * factor
	m.check = m.left - clockSteps
	m.began = time.Now()
	m.looked, m.paused = m.began, false
	m.err = nil
}

// spend counts n steps, and reports whether the call may continue.
func (m *meter) spend(n int) bool {
	if m.left -= n; m.left > m.check {
		return true
	}
	return m.look()
}

// look checks the limits.
func (m *meter) look() bool {
	switch limit := m.timeout * time.Duration(m.factor); {
	case m.err != nil:
	case m.left < 0:
		m.err = fmt.Errorf("the call took more than %d steps", m.steps*m.factor)
	case m.late(time.Now(), limit):
		m.err = fmt.Errorf("the call took longer than %v", limit)
	}
	m.check = m.left - clockSteps
	if m.err != nil {
		m.check = m.left // look at every step
	}
	return m.err == nil
}

// late reports whether the call has taken longer than limit. Once in a call, it does not count a
// long time in which few steps ran: the process was stopped then.
func (m *meter) late(now time.Time, limit time.Duration) bool {
	if gap := now.Sub(m.looked); gap > limit/2 && !m.paused {
		m.paused = true
		m.began = m.began.Add(gap)
	}
	m.looked = now
	return now.Sub(m.began) > limit
}

// Done counts a step. It returns nil while the call may continue, which also keeps package
// context from starting a goroutine for a coroutine's context.
func (m *meter) Done() <-chan struct{} {
	if m.spend(1) {
		return nil
	}
	return ended
}

// Err returns the limit that was reached, or nil.
func (m *meter) Err() error { return m.err }

// Deadline returns no deadline: Done checks the time.
func (m *meter) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value returns nil.
func (m *meter) Value(any) any { return nil }
