package relay

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
)

// TestForwardToANodeThatWithdrew checks that a node which is leaving gets no more messages
// after its request for the last acknowledgment. The node is still in the list of its
// service then.
func TestForwardToANodeThatWithdrew(t *testing.T) {
	s := newScene(t, nil)
	v := s.enter(7)
	s.says(link.Frame{Kind: kindCall, ID: 1, Meta: appendTime(nil, 1e6)})
	s.hears(failed(link.Frame{Kind: kindReturn, ID: 1}, message.CodeNotFound))
	pc := (*s.peers.Load())[0]
	for what, send := range map[string]func() error{
		"CallNode": func() error { return s.CallNode(t.Context(), "Far.Do", nil, nil) },
		"Call":     func() error { return s.Call(t.Context(), v.session, "Far.Do", nil, nil) },
		"Forward": func() error {
			return s.Forward(v.session, &message.Message{Type: message.Request, ID: 1, Route: "Far.Do"})
		},
	} {
		pc.dead.Store(false)
		if e := (&message.Error{}); !errors.As(send(), &e) || e.Code != message.CodeUnavailable {
			t.Errorf("%s = %v, want NANO-503", what, e)
		}
	}
	const last = 12345
	s.says(link.Frame{Kind: kindCall, ID: last, Route: "Nobody.Here", Meta: appendTime(nil, 1e6)})
	for f := s.next(); f.Kind != kindReturn || f.ID != last; f = s.next() {
		if f.Kind == kindCall || f.Kind == kindRequest {
			t.Errorf("it was sent %+v", f)
		}
	}
}

// TestWithdrawInLittleTime checks that Withdraw leaves time for the steps after it if a
// peer does not answer or the deadline is near.
func TestWithdrawInLittleTime(t *testing.T) {
	s := newScene(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s.Withdraw(ctx)
	if err := ctx.Err(); err != nil {
		t.Errorf("all of the time had passed when Withdraw returned: %v", err)
	}
	if f := s.next(); f.Kind != kindCall || f.Session != 0 || f.Route != "" {
		t.Errorf("the other node got %+v, want a call of no route", f)
	}
}
