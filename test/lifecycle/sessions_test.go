package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// lifetime notifies tests of closed sessions. Callbacks of Lifetime apply to the whole
// process and cannot be removed.
var lifetime = func() *sync.Map {
	var tests sync.Map // session -> func()
	session.Lifetime.OnClosed(func(s *session.Session) {
		if f, ok := tests.LoadAndDelete(s); ok {
			f.(func())()
		}
	})
	return &tests
}()

// TestCloseReasons checks that every way of closing a session has its own reason, which
// all callbacks and calls report, and that no reference to the session remains.
func TestCloseReasons(t *testing.T) {
	t.Parallel()
	tooMuch := make([]byte, 600_000)
	for _, test := range []struct {
		name    string
		counted string
		reason  error
		do      func(at *testkit.Server, p *testkit.Client, s *session.Session)
		kick    string
		opts    []nano.Option
	}{
		{"the client closes", "client", session.ErrClientClosed, func(_ *testkit.Server, p *testkit.Client, _ *session.Session) { _ = p.Conn.Close() }, "", nil},
		{"the client vanishes", "client", session.ErrClientClosed, func(_ *testkit.Server, p *testkit.Client, _ *session.Session) { p.Abort() }, "", nil},
		{"Close", "server", session.ErrClosed, func(_ *testkit.Server, _ *testkit.Client, s *session.Session) { s.Close() }, "", nil},
		{"Kick", "kicked", session.ErrKicked, func(_ *testkit.Server, _ *testkit.Client, s *session.Session) { _ = s.Kick("out") }, `{"reason":"out","code":"kicked"}`, nil},
		{"Server.Kick", "kicked", session.ErrKicked, func(at *testkit.Server, _ *testkit.Client, _ *session.Session) { _ = at.Kick(42, "out") }, `{"reason":"out","code":"kicked"}`, nil},
		{"another login", "replaced", session.ErrReplaced, func(at *testkit.Server, _ *testkit.Client, _ *session.Session) {
			at.Join().Call(1, "Game.Do", "bind")
		}, `{"reason":"logged in elsewhere","code":"replaced"}`, []nano.Option{nano.WithSingleLogin()}},
		{"a protocol error", "protocol", session.ErrProtocol, func(_ *testkit.Server, p *testkit.Client, _ *session.Session) { p.Send([]byte{0, 0, 0, 0}) }, "", nil},
		{"too slow", "slow", session.ErrSlowClient, func(_ *testkit.Server, _ *testkit.Client, s *session.Session) {
			for s.Push("onNews", tooMuch) == nil {
			}
		}, "", nil},
		{"silent", "heartbeat", session.ErrHeartbeat, func(*testkit.Server, *testkit.Client, *session.Session) {}, "",
			[]nano.Option{nano.WithHeartbeatInterval(500 * time.Millisecond)}},
		{"Shutdown", "shutdown", session.ErrShutdown, func(at *testkit.Server, _ *testkit.Client, _ *session.Session) {
			go func() { _ = at.Shutdown(context.Background()) }()
		}, `{"reason":"server shutdown","code":"shutdown"}`, nil},
	} {
		for _, kind := range []string{"tcp", "ws", "pipe", "tls"} {
			t.Run(test.name+" over "+kind, func(t *testing.T) {
				t.Parallel()
				sessions := make(chan *session.Session, 2)
				at := testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, _ []byte) error {
					sessions <- s
					if err := s.Bind(42); err != nil {
						return err
					}
					return s.Response([]byte("bound"))
				}}, test.opts...)
				p := at.Join()
				p.Call(1, "Game.Do", "bind")
				s := testkit.Receive(t, sessions, "the session")
				if got, ok := at.Session(s.ID()); !ok || got != s {
					t.Errorf("Session(%d) = %v, %v, want the session", s.ID(), got, ok)
				}
				if got := at.SessionsByUID(42); !slices.Contains(got, s) {
					t.Errorf("SessionsByUID = %v, want the session", got)
				}
				var mu sync.Mutex
				var order []string
				note := func(what string) {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, what)
				}
				lifetime.Store(s, func() { note("Lifetime") })
				ends := make(chan error, 3)
				ctx := s.Context()
				s.OnClose(func(_ *session.Session, err error) { note("first"); ends <- err })
				s.OnClose(func(closed *session.Session, err error) {
					note("second")
					if closed != s || !s.Closed() || ctx.Err() == nil {
						t.Error("the callback was called for a session that is open")
					}
					ends <- err
				})
				test.do(at, p, s)
				kicked := make(chan testkit.Ending, 1)
				if test.name != "too slow" {
					go func() { kicked <- p.ReadUntilEnd() }()
				}
				for range 2 {
					if err := testkit.Receive(t, ends, "the end of the session"); !errors.Is(err, test.reason) {
						t.Errorf("the session ended with %v, want %v", err, test.reason)
					}
				}
				mu.Lock()
				if want := []string{"Lifetime", "first", "second"}; !slices.Equal(order, want) {
					t.Errorf("callbacks ran in the order %v, want %v", order, want)
				}
				mu.Unlock()
				if err := context.Cause(ctx); !errors.Is(err, test.reason) {
					t.Errorf("the cause of the context is %v, want %v", err, test.reason)
				}
				if n := at.Stats().Closed[test.counted]; n != 1 {
					t.Errorf("%d sessions were counted as closed by %q, want 1", n, test.counted)
				}
				if _, ok := at.Session(s.ID()); ok {
					t.Error("the session is still found by its id")
				}
				if slices.Contains(at.SessionsByUID(42), s) {
					t.Error("the session is still found by its uid")
				}
				if test.name != "too slow" {
					if e := testkit.Receive(t, kicked, "the end of the connection"); e.Kick != test.kick {
						t.Errorf("kick %s, want %s", e.Kick, test.kick)
					}
				}
				// Callbacks that are set after the close run too.
				s.OnClose(func(_ *session.Session, err error) { ends <- err })
				if err := testkit.Receive(t, ends, "the late callback"); !errors.Is(err, test.reason) {
					t.Errorf("a late callback was told %v, want %v", err, test.reason)
				}
				if err := s.Push("onNews", nil); !errors.Is(err, session.ErrBrokenPipe) {
					t.Errorf("Push = %v, want ErrBrokenPipe", err)
				}
				if err := s.ResponseMID(1, nil); !errors.Is(err, session.ErrBrokenPipe) {
					t.Errorf("ResponseMID = %v, want ErrBrokenPipe", err)
				}
				if err := s.Kick("again"); !errors.Is(err, session.ErrCloseClosedSession) {
					t.Errorf("Kick = %v, want ErrCloseClosedSession", err)
				}
				s.Close()
			})
		}
	}
}

// TestCloseCallbackComesLast checks that messages that a client sent before it left still
// run, and that the close callback runs last.
func TestCloseCallbackComesLast(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		for _, by := range []string{"the client", "a handler"} {
			t.Run(kind+" by "+by, func(t *testing.T) {
				t.Parallel()
				const n = 200
				var order []string // used by the logic goroutine only
				done := make(chan struct{})
				at := testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
					order = append(order, string(data))
					switch string(data) {
					case "0":
						s.OnClose(func(*session.Session, error) {
							order = append(order, "closed")
							close(done)
						})
					case "100":
						if by == "a handler" {
							s.Close()
						}
					}
					return nil
				}})
				p := at.Join()
				var all, want = []byte{}, []string{}
				for i := range n {
					all = append(all, testkit.Notify("Game.Do", fmt.Sprint(i))...)
					want = append(want, fmt.Sprint(i))
				}
				p.Send(all)
				if by == "the client" {
					_ = p.Conn.Close()
				}
				testkit.Receive(t, done, "the close callback")
				if order[len(order)-1] != "closed" || !slices.Equal(order[:len(order)-1], want[:len(order)-1]) || len(order) < n/2+2 {
					t.Errorf("the order is %v, want all messages and then the callback", order)
				}
				if by == "the client" && len(order) != n+1 {
					t.Errorf("%d messages ran, want %d", len(order)-1, n)
				}
			})
		}
	}
}

// TestPushFromManyGoroutines checks that any goroutine may push at any time, and that the
// pushes of one goroutine arrive in order.
func TestPushFromManyGoroutines(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tcp", "ws", "pipe", "tls"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			game, sessions := testkit.NewSessionGame()
			p := testkit.Start(t, kind, game).Join()
			s := testkit.SessionOf(t, p, sessions)
			const pushers, each, requests = 8, 300, 300
			var group sync.WaitGroup
			for g := range pushers {
				group.Go(func() {
					for i := range each {
						if err := s.Push(fmt.Sprint(g), []byte(fmt.Sprint(i))); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			p.Go(func() {
				for i := range uint64(requests) {
					if p.Wire.Send(testkit.Request(i+1, "Game.Echo", "")) != nil {
						return
					}
				}
			})
			next := map[string]int{}
			for range pushers*each + requests {
				m := p.Next()
				got, want := fmt.Sprint(m.ID-1), fmt.Sprint(next[m.Route])
				if m.ID == 0 {
					got = string(m.Data)
				}
				if got != want {
					t.Fatalf("%v %q came, want number %s", m, m.Data, want)
				}
				next[m.Route]++
			}
			group.Wait()
		})
	}
}

// TestPushWhileTheLogicGoroutineIsBlocked checks that pushes of other goroutines are not
// delayed if a handler blocks the logic goroutine.
func TestPushWhileTheLogicGoroutineIsBlocked(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			game, sessions := testkit.NewSessionGame()
			catch := game.OnDo
			block := make(chan struct{})
			game.OnDo = func(s *session.Session, data []byte) error {
				if string(data) != "block" {
					return catch(s, data)
				}
				if err := s.Push("onNews", []byte("from the handler that blocks")); err != nil {
					return err
				}
				<-block
				return nil
			}
			p := testkit.Start(t, kind, game, nano.WithSlowHandler(0)).DialPatient()
			p.Join()
			s := testkit.SessionOf(t, p, sessions)
			start := time.Now()
			p.Send(testkit.Notify("Game.Do", "block"))
			synctest.Wait()
			if err := s.Push("onNews", []byte("from elsewhere")); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"from the handler that blocks", "from elsewhere"} {
				if m := p.Next(); string(m.Data) != want {
					t.Errorf("%q came, want %q", m.Data, want)
				}
			}
			if took := time.Since(start); took > 50*time.Millisecond {
				t.Errorf("the pushes took %v", took)
			}
			close(block)
			p.Echo(2, "still here")
		})
	}
}

func TestPushWhileTheLogicGoroutineIsBlockedOverSockets(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		game, sessions := testkit.NewSessionGame()
		at := testkit.Start(t, kind, game, nano.WithSlowHandler(0))
		const clients = 40 // more than the logic goroutine writes by itself
		var peers []*testkit.Client
		var all []*session.Session
		for range clients {
			p := at.Join()
			peers = append(peers, p)
			all = append(all, testkit.SessionOf(t, p, sessions))
		}
		block, blocked := make(chan struct{}), make(chan struct{})
		at.Invoke(func() {
			close(blocked)
			<-block
		})
		testkit.Receive(t, blocked, "the task")
		start := time.Now()
		for _, s := range all {
			if err := s.Push("onNews", []byte("now")); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range peers {
			if m := p.Next(); string(m.Data) != "now" {
				t.Errorf("%v came, want the push", m)
			}
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the pushes took %v", took)
		}
		close(block)
		for i, p := range peers {
			p.Echo(uint64(i)+2, "still here")
		}
	}
}

// TestSingleLogin checks that with single login the last of many concurrent logins
// remains. They bind on the goroutines of their readers.
func TestSingleLogin(t *testing.T) {
	t.Parallel()
	for round := range 20 {
		at := testkit.Start(t, "tcp", &testkit.Game{}, nano.WithSingleLogin(),
			nano.WithHandshakeValidator(func(s *session.Session, _ []byte) error { return s.Bind(7) }))
		const clients = 8
		var group sync.WaitGroup
		for range clients {
			p := at.Dial()
			group.Go(func() {
				if err := p.Wire.Send(append(testkit.Pack(packet.Handshake, "{}"), testkit.Pack(packet.Ack, "")...)); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		testkit.Eventually(t, "all but one are closed", func() bool {
			st := at.Stats()
			return st.Closed["replaced"] >= clients-1 && len(at.SessionsByUID(7)) <= 1
		})
		if st := at.Stats(); st.Closed["replaced"] != clients-1 || len(at.SessionsByUID(7)) != 1 {
			t.Fatalf("round %d: %d of %d clients were replaced, and %d are left, want 1", round,
				st.Closed["replaced"], clients, len(at.SessionsByUID(7)))
		}
		// Binding another uid frees the first one.
		s := at.SessionsByUID(7)[0]
		if err := s.Bind(8); err != nil {
			t.Fatal(err)
		}
		if len(at.SessionsByUID(7)) != 0 || !slices.Equal(at.SessionsByUID(8), []*session.Session{s}) {
			t.Errorf("after Bind(8): %v under 7, %v under 8", at.SessionsByUID(7), at.SessionsByUID(8))
		}
		if err := s.Bind(8); err != nil || s.Closed() {
			t.Errorf("binding the same uid again: %v, closed %v", err, s.Closed())
		}
		s.Clear()
		if len(at.SessionsByUID(8)) != 0 {
			t.Errorf("after Clear: %v under 8", at.SessionsByUID(8))
		}
	}
}

// TestSessionsByUID checks that sessions are listed in the order of their connection, and
// that their ids grow.
func TestSessionsByUID(t *testing.T) {
	t.Parallel()
	at := testkit.Start(t, "tcp", &testkit.Game{OnDo: func(s *session.Session, _ []byte) error {
		return errors.Join(s.Bind(5), s.Response([]byte(fmt.Sprint(s.ID()))))
	}})
	var ids []string
	var last int64
	for range 20 {
		ids = append(ids, at.Join().Call(1, "Game.Do", ""))
	}
	var got []string
	for _, s := range at.SessionsByUID(5) {
		if s.ID() <= last {
			t.Errorf("id %d comes after %d", s.ID(), last)
		}
		last = s.ID()
		got = append(got, fmt.Sprint(s.ID()))
		if s.UID() != 5 || !strings.HasPrefix(s.RemoteAddr().String(), "127.0.0.1:") {
			t.Errorf("uid %d, address %v", s.UID(), s.RemoteAddr())
		}
	}
	if !slices.Equal(got, ids) {
		t.Errorf("SessionsByUID = %v, want %v", got, ids)
	}
}
