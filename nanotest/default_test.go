package nanotest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// Bell uses functions of packages nano and scheduler, as a program with one server may.
type Bell struct{ component.Base }

func (*Bell) Ring(s *session.Session, _ []byte) error {
	scheduler.NewAfterTimer(time.Minute, func() {
		nano.Invoke(func() { _ = s.Push("onRing", "ding") })
	})
	return s.Response([]byte("{}"))
}

// TestStartDefault checks that two servers, one after the other, are each the default
// server during their own test.
func TestStartDefault(t *testing.T) {
	for range 2 {
		t.Run("", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				components := &component.Components{}
				components.Register(&Bell{})
				srv := nanotest.StartDefault(t, nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()))
				if srv.Scheduler() != scheduler.Default() {
					t.Error("the server does not run on the default scheduler")
				}
				p := srv.Connect(t)
				if err := p.Request(t.Context(), "Bell.Ring", struct{}{}, nil); err != nil {
					t.Fatal(err)
				}
				p.Wait("onRing", 2*time.Minute)
			})
		})
	}
}

func TestStartDefaultInParallelTest(t *testing.T) {
	t.Run("parallel", func(t *testing.T) {
		t.Parallel()
		defer func() {
			if recover() == nil {
				t.Error("StartDefault in a parallel test did not panic")
			}
		}()
		nanotest.StartDefault(t)
	})
}
