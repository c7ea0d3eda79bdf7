package relay

import (
	"runtime"
	"testing"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
)

// TestHookEndsLink checks that all other requests are answered when a hook ends the link's goroutine with runtime.Goexit:
// those of its session, and those of other sessions.
func TestHookEndsLink(t *testing.T) {
	s := newScene(t, nil)
	forward := func(v *visitor, ids ...uint64) {
		t.Helper()
		for _, id := range ids {
			if err := s.Forward(v.session, &message.Message{Type: message.Request, ID: id, Route: "Far.Do"}); err != nil {
				t.Fatal(err)
			}
			s.next()
		}
	}
	v, w := s.enter(7), s.enter(8)
	v.hook = func(id uint64) {
		if id == 2 {
			runtime.Goexit() // also for the error that answers the request then
		}
	}
	forward(v, 1, 2, 3, 4)
	forward(w, 5)
	var answers link.Run
	for _, f := range []link.Frame{{Session: 7, ID: 1}, {Session: 7, ID: 2}, {Session: 7, ID: 3}, {Session: 8, ID: 5}} {
		f.Kind, f.Data = kindResponse, []byte("x")
		if !answers.Add(&f) {
			t.Fatal("the answers do not fit a run")
		}
	}
	if err := s.link.SendRun(&answers); err != nil {
		t.Fatal(err)
	}
	s.gets(v, "response 1 Far.Do x", "error 3 Far.Do NANO-503", "error 4 Far.Do NANO-503")
	s.gets(w, "error 5 Far.Do NANO-503")
}
