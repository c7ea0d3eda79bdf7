package relay

import (
	"testing"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// TestServeCalls checks that calls are bounded, end once, and do not run after their
// deadline.
func TestServeCalls(t *testing.T) {
	s := newScene(t, nil)
	block, begun := make(chan struct{}), make(chan struct{}, 100)
	s.shop.do = func(*session.Session, []byte) error {
		begun <- struct{}{}
		<-block
		return nil
	}
	call := func(id uint64, micros int64) link.Frame {
		return link.Frame{Kind: kindCall, ID: id, Route: "Shop.Tell", Meta: appendTime(nil, micros), Data: []byte("x")}
	}
	s.says(call(1, 1e9))
	<-begun
	s.says(call(1, 1e9))
	s.hears(failed(link.Frame{Kind: kindReturn, ID: 1}, message.CodeBadRequest))
	s.says(call(2, 1))
	for id := uint64(3); id <= maxJobs; id++ {
		s.says(call(id, 1e9))
	}
	s.says(call(1<<40, 1e9))
	s.hears(failed(link.Frame{Kind: kindReturn, ID: 1 << 40}, message.CodeLimit))
	for id := uint64(3); id <= maxJobs; id++ {
		s.says(link.Frame{Kind: kindCancel, ID: id})
	}
	s.says(call(1<<40, 1e9)) // there is space again
	s.silent()
	close(block)
	<-begun
	s.hears(link.Frame{Kind: kindReturn, ID: 1, Data: []byte(`"x"`)}, failed(link.Frame{Kind: kindReturn, ID: 2}, message.CodeDeadline), link.Frame{Kind: kindReturn, ID: 1 << 40, Data: []byte(`"x"`)})
	if len(begun) != 0 {
		t.Errorf("%d calls that were canceled have run", len(begun))
	}
	s.callMu.Lock()
	defer s.callMu.Unlock()
	if pc := (*s.peers.Load())[0]; len(s.jobs) != 0 || pc.jobs != 0 || pc.jobSize != 0 {
		t.Errorf("%d jobs are left, %d of %d bytes of the peer", len(s.jobs), pc.jobs, pc.jobSize)
	}
}

// TestForwardCalls checks that a call that is passed on ends once, and is canceled on the
// node that serves it.
func TestForwardCalls(t *testing.T) {
	s := newScene(t, nil)
	v := s.enter(7)
	if err := s.Forward(v.session, &message.Message{Type: message.Notify, Route: "Far.Do"}); err != nil {
		t.Fatal(err)
	}
	s.next()
	pass := link.Frame{Kind: kindCall, Flags: flagToGate, Session: 7, ID: 5, Route: "Far.Ask", Meta: appendTime(nil, 1e9), Data: []byte("x")}
	s.says(pass)
	on := s.next()
	if on.Kind != kindCall || on.Session != 7 || on.Route != "Far.Ask" || string(on.Data) != "x" || on.Flags != 0 {
		t.Fatalf("the call was passed on as %+v", on)
	}
	s.says(link.Frame{Kind: kindReturn, ID: on.ID, Data: []byte("y")}, link.Frame{Kind: kindReturn, ID: on.ID, Data: []byte("z")})
	s.hears(link.Frame{Kind: kindReturn, ID: 5, Data: []byte("y")})
	s.says(pass)
	on = s.next()
	s.says(link.Frame{Kind: kindCancel, ID: 5})
	s.hears(link.Frame{Kind: kindCancel, ID: on.ID})
	s.says(link.Frame{Kind: kindReturn, ID: on.ID, Data: []byte("y")})
	pass.Route = "Nobody.Ask"
	s.says(pass)
	s.hears(failed(link.Frame{Kind: kindReturn, ID: 5}, message.CodeNotFound))
	pass.Session = 99
	s.says(pass)
	s.hears(failed(link.Frame{Kind: kindReturn, ID: 5}, message.CodeUnavailable))
	s.silent()
	s.callMu.Lock()
	defer s.callMu.Unlock()
	if len(s.jobs) != 0 || len(s.calls) != 0 {
		t.Errorf("%d jobs and %d calls are left", len(s.jobs), len(s.calls))
	}
}

// TestNilReply checks that a nil or empty reply leaves the caller's value unchanged,
// whether this node or another one serves the call.
func TestNilReply(t *testing.T) {
	s := newScene(t, nil)
	call := func(route string, out any, answer *link.Frame) {
		t.Helper()
		done := make(chan error, 1)
		go func() { done <- s.CallNode(t.Context(), route, nil, out) }()
		if answer != nil {
			answer.ID = s.next().ID
			s.says(*answer)
		}
		if err := <-done; err != nil {
			t.Errorf("CallNode(%s) = %v, want nil", route, err)
		}
	}
	for name, c := range map[string]struct {
		route  string
		answer *link.Frame
	}{
		"here":       {"Shop.Nothing", nil},
		"far, empty": {"Far.Nothing", &link.Frame{Kind: kindReturn}},
		"far, null":  {"Far.Nothing", &link.Frame{Kind: kindReturn, Data: []byte("null")}},
	} {
		out := map[string]int{"N": 5}
		call(c.route, &out, c.answer)
		if out["N"] != 5 {
			t.Errorf("%s: out = %v, want it unchanged", name, out)
		}
	}
	raw := []byte("as before")
	call("Far.Nothing", &raw, &link.Frame{Kind: kindReturn})
	if string(raw) != "as before" {
		t.Errorf("*[]byte = %q after a nil reply, want it unchanged", raw)
	}
	call("Far.Nothing", nil, &link.Frame{Kind: kindReturn, Data: []byte("dropped")})
}

func TestCallIDs(t *testing.T) {
	s := newScene(t, nil)
	seen := map[uint64]bool{}
	for range 1000 {
		id := s.ids.next()
		if seen[id] || !isCall(id) || !s.ids.made(id) {
			t.Fatalf("id %x is not new, or not known", id)
		}
		if s.ids.made(id^1) || s.ids.made(id&^(1<<63)) {
			t.Fatalf("an id that is not %x is taken for one of the node's", id)
		}
		seen[id] = true
	}
	for _, id := range []uint64{0, 1, 1 << 63, 1<<64 - 1} {
		if s.ids.made(id) {
			t.Errorf("id %x is taken for one of the node's", id)
		}
	}
}
