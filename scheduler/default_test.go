package scheduler_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/runloop/looptest"
	"github.com/lonng/nano/scheduler"
)

// captureDefault redirects slog.Default for the duration of the test.
func captureDefault(t *testing.T) *looptest.Log {
	t.Helper()
	r := &looptest.Log{}
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(r, nil)))
	t.Cleanup(func() { slog.SetDefault(old) })
	return r
}

// TestDefaultThatNoServerStarts checks that tasks of the default scheduler that wait
// because nothing starts it are logged once, with the function and its caller. A server
// of nano.New does not start it.
func TestDefaultThatNoServerStarts(t *testing.T) {
	log := captureDefault(t)
	for name, use := range map[string]func(){
		"scheduler.Invoke":        func() { scheduler.Invoke(func() {}) },
		"scheduler.PushTask":      func() { scheduler.PushTask(func() {}) },
		"nano.Invoke":             func() { nano.Invoke(func() {}) },
		"scheduler.NewTimer":      func() { scheduler.NewTimer(time.Second, func() {}).Stop() },
		"scheduler.NewAfterTimer": func() { scheduler.NewAfterTimer(time.Second, func() {}).Stop() },
	} {
		synctest.Test(t, func(t *testing.T) {
			defer scheduler.Close()
			before := log.Count("default scheduler")
			use()
			looptest.Pass(4900 * time.Millisecond)
			if n := log.Count("default scheduler") - before; n != 0 {
				t.Errorf("%s: logged %d times after 4.9 s, want 0: %s", name, n, log)
			}
			use()
			looptest.Pass(200 * time.Millisecond)
			use()
			looptest.Pass(time.Minute)
			if n := log.Count("default scheduler") - before; n != 1 {
				t.Errorf("%s: logged %d times, want once: %s", name, n, log)
			}
			if log.Count("function="+name+" ") != 1 || !strings.Contains(log.String(), "default_test.go:") {
				t.Errorf("%s: log = %s, want the function and its caller", name, log)
			}
		})
	}
}

func TestDefaultThatAServerStarts(t *testing.T) {
	log := captureDefault(t)
	synctest.Test(t, func(t *testing.T) {
		defer scheduler.Close()
		scheduler.Invoke(func() {})
		looptest.Pass(4 * time.Second)
		scheduler.Sched()
		looptest.Pass(time.Minute)
		scheduler.Invoke(func() {})
		looptest.Pass(time.Minute)
		scheduler.Close()
		_ = scheduler.Default() // queues no task
		looptest.Pass(time.Minute)
		if log.String() != "" {
			t.Errorf("log = %s, want nothing: the default scheduler ran within 5 s", log)
		}
	})
}
