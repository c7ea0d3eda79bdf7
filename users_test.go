package nano_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// bindAll is an option whose validator binds uid 7 and passes the session to the test.
func bindAll(sessions chan<- *session.Session) nano.Option {
	return nano.WithHandshakeValidator(func(s *session.Session, _ []byte) error {
		sessions <- s
		return s.Bind(7)
	})
}

// TestOpenSessions checks that a session counts as open from the ack of its handshake
// until it begins to close, wherever sessions are counted or found.
func TestOpenSessions(t *testing.T) {
	for _, kind := range testkit.Sockets {
		sessions := make(chan *session.Session, 1)
		at := testkit.Start(t, kind, &testkit.Game{}, bindAll(sessions))
		g := nano.NewGroup("hall")
		check := func(when string, s *session.Session, open bool) {
			t.Helper()
			if _, ok := at.Session(s.ID()); ok != open {
				t.Errorf("%s: Session(id) = %v, want %v", when, ok, open)
			}
			if got := slices.Contains(at.SessionsByUID(7), s); got != open {
				t.Errorf("%s: SessionsByUID has it: %v, want %v", when, got, open)
			}
			if got := at.Stats().Sessions; got == 1 != open {
				t.Errorf("%s: Stats().Sessions = %d, want open %v", when, got, open)
			}
			err := at.Push(7, "onNews", []byte("x"))
			if want := nano.ErrUserNotFound; open && err != nil || !open && !errors.Is(err, want) {
				t.Errorf("%s: Push(uid) = %v, want open %v", when, err, open)
			}
		}
		p := at.Dial()
		p.Handshake("{}")
		s := testkit.Receive(t, sessions, "the validator")
		check("before the ack", s, false)
		if err := s.Push("onNews", []byte("x")); !errors.Is(err, session.ErrNotReady) {
			t.Errorf("Push before the ack = %v, want ErrNotReady", err)
		}
		if err := g.Add(s); !errors.Is(err, session.ErrNotReady) || g.Count() != 0 {
			t.Errorf("Add before the ack = %v, Count() = %d, want ErrNotReady and 0", err, g.Count())
		}
		p.Send(testkit.Pack(packet.Ack, ""))
		p.Echo(1, "hello")
		check("after the ack", s, true)
		if err := g.Add(s); err != nil {
			t.Errorf("Add after the ack = %v, want nil", err)
		}
		ended := make(chan int, 1)
		s.OnClose(func(s *session.Session, _ error) {
			check("in OnClose", s, false)
			ended <- g.Count()
		})
		s.Close()
		check("after Close", s, false)
		if g.Count() != 0 {
			t.Errorf("Count() = %d after Close, want 0", g.Count())
		}
		if n := testkit.Receive(t, ended, "OnClose"); n != 0 {
			t.Errorf("Count() = %d in OnClose, want 0", n)
		}
	}
}

// TestSingleLoginAtTheAck checks that with single login a client with an incomplete
// handshake does not replace another one.
func TestSingleLoginAtTheAck(t *testing.T) {
	for _, kind := range testkit.Sockets {
		sessions := make(chan *session.Session, 1)
		at := testkit.Start(t, kind, &testkit.Game{}, bindAll(sessions), nano.WithSingleLogin())
		first := at.Join()
		one := testkit.Receive(t, sessions, "the first session")
		first.Echo(1, "hello")
		second := at.Dial()
		second.Handshake("{}")
		two := testkit.Receive(t, sessions, "the second session")
		if got := at.SessionsByUID(7); !slices.Equal(got, []*session.Session{one}) || one.Closed() {
			t.Errorf("before the ack, SessionsByUID = %v and the first is closed: %v, want the first, open", got, one.Closed())
		}
		second.Send(testkit.Pack(packet.Ack, ""))
		if e := first.ReadEnd(); e.Kick != `{"reason":"logged in elsewhere","code":"replaced"}` {
			t.Errorf("the first client got kick %q, want that of a later login", e.Kick)
		}
		second.Echo(1, "hello")
		if got := at.SessionsByUID(7); !slices.Equal(got, []*session.Session{two}) {
			t.Errorf("after the ack, SessionsByUID = %v, want the second", got)
		}
	}
}

// lifetimeCalls holds sessions and whether Lifetime has to be called for them.
var lifetimeCalls atomic.Pointer[func(*session.Session)]

func init() {
	session.Lifetime.OnClosed(func(s *session.Session) {
		if f := lifetimeCalls.Load(); f != nil {
			(*f)(s)
		}
	})
}

// TestCloseCallbacksOfRefusedSessions checks that OnClose runs for every session on which
// it was set, so a validator can release resources. Lifetime is called for sessions that
// were open.
func TestCloseCallbacksOfRefusedSessions(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		open   bool
		reason error
	}{
		"refused":         {errors.New("no"), false, session.ErrHandshake},
		"leaves too soon": {nil, false, session.ErrClientClosed},
		"open":            {nil, true, session.ErrClientClosed},
	} {
		var closed atomic.Int32
		count := func(*session.Session) { closed.Add(1) }
		lifetimeCalls.Store(&count)
		reasons := make(chan error, 2)
		var calls atomic.Int32
		at := testkit.Start(t, "tcp", &testkit.Game{}, nano.WithHandshakeValidator(func(s *session.Session, _ []byte) error {
			s.OnClose(func(_ *session.Session, reason error) { calls.Add(1); reasons <- reason })
			return test.err
		}))
		p := at.Dial()
		p.Handshake("{}")
		if test.open {
			p.Send(testkit.Pack(packet.Ack, ""))
			p.Echo(1, "hello")
		}
		p.Abort()
		if err := testkit.Receive(t, reasons, "OnClose"); !errors.Is(err, test.reason) {
			t.Errorf("%s: OnClose got %v, want %v", name, err, test.reason)
		}
		if err := at.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("%s: OnClose ran %d times, want 1", name, n)
		}
		if n := closed.Load(); n == 1 != test.open || n > 1 {
			t.Errorf("%s: Lifetime was called %d times, want it for open sessions only", name, n)
		}
		lifetimeCalls.Store(nil)
	}
}

func TestPushWithIllegalRoute(t *testing.T) {
	game, sessions := testkit.NewSessionGame()
	at := testkit.Start(t, "tcp", game)
	p := at.Join()
	s := testkit.SessionOf(t, p, sessions)
	if err := s.Bind(7); err != nil {
		t.Fatal(err)
	}
	g := nano.NewGroup("hall")
	if err := g.Add(s); err != nil {
		t.Fatal(err)
	}
	for _, route := range []string{"", "on\xffNews"} {
		for name, err := range map[string]error{
			"Session.Push":    s.Push(route, []byte("x")),
			"Server.Push":     at.Push(7, route, []byte("x")),
			"Group.Broadcast": g.Broadcast(route, []byte("x")),
		} {
			if !errors.Is(err, session.ErrIllegalRoute) {
				t.Errorf("%s with route %q = %v, want ErrIllegalRoute", name, route, err)
			}
		}
	}
	p.Echo(9, "nothing came before this")
}
