package runloop

import "sync/atomic"

// public holds what package scheduler registered.
var public atomic.Pointer[conversions]

type conversions struct {
	wrap   func(*Loop) any
	unwrap func(any) *Loop
}

// Register sets how loops and public schedulers are converted. Package scheduler calls it once,
// when it is initialized: its type does not show the loop, so that programs cannot reach it.
func Register(wrap func(*Loop) any, unwrap func(any) *Loop) {
	public.Store(&conversions{wrap, unwrap})
}

// Of returns the loop of v, a *scheduler.Scheduler. It reports false for anything else.
func Of(v any) (*Loop, bool) {
	c := public.Load()
	if c == nil {
		return nil, false
	}
	l := c.unwrap(v)
	return l, l != nil
}

// Public returns a new *scheduler.Scheduler of the loop. The program imports package scheduler.
func (l *Loop) Public() any { return public.Load().wrap(l) }
