package protocol_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

// Late defers its answers and responds with errors.
type Late struct{ component.Base }

func (*Late) Now(s *session.Session, _ []byte) error {
	return s.Response(nano.Errorf("GAME-1", "not now"))
}

func (*Late) Later(s *session.Session, _ []byte) error {
	mid := s.LastMid()
	scheduler.NewAfterTimer(time.Second, func() {
		if err := s.ResponseMID(mid, nano.Errorf("GAME-2", "not later either")); err != nil {
			panic(err)
		}
	})
	return nil
}

// TestAnswerWithAnError checks that an error passed to an answer, at once or deferred,
// arrives as an error response. It also checks that a server on the default scheduler
// runs the timers of package scheduler.
func TestAnswerWithAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &component.Components{}
		c.Register(&Late{})
		srv := nanotest.Start(t, nano.WithComponents(c), nano.WithScheduler(scheduler.Default()))
		p := srv.Connect(t)
		for route, code := range map[string]string{"Late.Now": "GAME-1", "Late.Later": "GAME-2"} {
			err := p.Request(t.Context(), route, []byte("x"), nil)
			if !errors.Is(err, &client.Error{Code: code}) {
				t.Errorf("%s answered %v, want %s", route, err, code)
			}
		}
	})
}
