package nano_test

import (
	"os"
	"testing"

	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/scheduler"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(childEnv) != "":
		child()
		return
	case os.Getenv(nodeEnv) != "":
		nodeProcess()
		return
	}
	goleak.VerifyTestMain(m)
}

// running reports whether the caller is on a scheduler's goroutine.
func running(s *scheduler.Scheduler) bool {
	l, ok := runloop.Of(s)
	return ok && l.Running()
}
