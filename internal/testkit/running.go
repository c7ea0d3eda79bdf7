package testkit

import (
	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/scheduler"
)

// Running reports whether the caller is on the goroutine of a scheduler.
func Running(s *scheduler.Scheduler) bool {
	l, ok := runloop.Of(s)
	return ok && l.Running()
}
