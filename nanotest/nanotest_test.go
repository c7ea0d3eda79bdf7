package nanotest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wait = 10 * time.Second

// Echo is the component of most tests.
type Echo struct {
	component.Base
	seen []string // used by the logic goroutine only
}

type Line struct{ Text string }

// Say pushes the line twice before it answers.
func (e *Echo) Say(s *session.Session, l *Line) (*Line, error) {
	e.seen = append(e.seen, l.Text)
	return l, errors.Join(s.Push("onSay", l), s.Push("onEcho", []byte("raw "+l.Text)))
}

func (e *Echo) Login(s *session.Session, l *Line) (*Line, error) {
	return l, s.Bind(int64(len(l.Text)))
}

func (e *Echo) Kick(s *session.Session, l *Line) error {
	return errors.Join(s.Push("onSay", &Line{"bye"}), s.Kick(l.Text))
}

func (e *Echo) Hang(s *session.Session, _ []byte) error { s.Close(); return nil }

func (e *Echo) Address(s *session.Session, _ []byte) error {
	return s.Response([]byte(s.RemoteAddr().String()))
}

func options(c component.Component, opts ...nano.Option) []nano.Option {
	components := &component.Components{}
	components.Register(c)
	return append([]nano.Option{nano.WithComponents(components), nano.WithSerializer(json.NewSerializer())}, opts...)
}

func texts(list []*client.Message) string {
	var b strings.Builder
	for _, m := range list {
		fmt.Fprintf(&b, "%s %s;", m.Route, m.Data)
	}
	return b.String()
}

func TestPushes(t *testing.T) {
	srv := nanotest.Start(t, options(&Echo{})...)
	handled := make(chan string, 1)
	p := srv.Connect(t, client.WithHandler("onSay", func(m *client.Message) {
		copy(m.Data, "overwritten")
		handled <- string(m.Data[:11])
	}))
	var reply Line
	if err := p.Request(t.Context(), "Echo.Say", &Line{"one"}, &reply); err != nil || reply.Text != "one" {
		t.Fatalf("Echo.Say = %v, %v", reply, err)
	}
	<-handled
	// Pushes that precede the answer have arrived. A wait with timeout 0 finds them in
	// any order.
	if m := p.Wait("onEcho", 0); string(m.Data) != "raw one" {
		t.Errorf("onEcho carries %q, want raw one", m.Data)
	}
	var said Line
	if p.WaitFor("onSay", 0, &said); said.Text != "one" {
		t.Errorf("onSay says %q, want one, whatever the handler did to its copy", said.Text)
	}
	if left := p.Pushes(""); len(left) != 0 {
		t.Errorf("%s is left, want nothing", texts(left))
	}
	p.On("onSay", nil)
	for _, text := range []string{"two", "three"} {
		if err := p.Request(t.Context(), "Echo.Say", &Line{text}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := texts(p.Pushes("onSay")), `onSay {"Text":"two"};onSay {"Text":"three"};`; got != want {
		t.Errorf("Pushes(onSay) = %s, want %s", got, want)
	}
	if got, want := texts(p.Pushes("")), "onEcho raw two;onEcho raw three;"; got != want {
		t.Errorf("Pushes() = %s, want %s", got, want)
	}
}

func TestWaitForWhatIsToCome(t *testing.T) {
	srv := nanotest.Start(t, options(&Echo{})...)
	p := srv.Connect(t)
	if err := p.Request(t.Context(), "Echo.Login", &Line{"seventh"}, nil); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for i := range 100 {
			if err := srv.Push(7, fmt.Sprint("on", i%3), &Line{fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 100 {
		var got Line
		if p.WaitFor(fmt.Sprint("on", i%3), wait, &got); got.Text != fmt.Sprint(i) {
			t.Fatalf("push %d says %s", i, got.Text)
		}
	}
}

func TestManyPlayers(t *testing.T) {
	e := &Echo{}
	srv := nanotest.Start(t, options(e)...)
	const n = 20
	for i := range n {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			p := srv.Connect(t)
			if err := p.Request(t.Context(), "Echo.Say", &Line{fmt.Sprint(i)}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { // runs after the subtests and before the server stops
		srv.Do(func() {
			if len(e.seen) != n {
				t.Errorf("the server saw %d lines, want %d", len(e.seen), n)
			}
		})
	})
}

func TestKicked(t *testing.T) {
	srv := nanotest.Start(t, options(&Echo{})...)
	p := srv.Connect(t)
	if err := p.Notify("Echo.Kick", &Line{"enough"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if reason := p.Kicked(wait); reason != "enough" {
			t.Errorf("kicked for %q, want enough", reason)
		}
	}
	if got := p.Wait("onSay", 0); string(got.Data) != `{"Text":"bye"}` {
		t.Errorf("the last words are %s", got.Data)
	}
	p = srv.Connect(t)
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if reason := p.Kicked(wait); reason != client.KickShutdown {
		t.Errorf("kicked for %q, want %q", reason, client.KickShutdown)
	}
}

func TestSerializerOfTheServer(t *testing.T) {
	components := &component.Components{}
	components.Register(&Words{})
	p := nanotest.Start(t, nano.WithComponents(components)).Connect(t)
	if err := p.Notify("Words.Upper", wrapperspb.String("quiet")); err != nil {
		t.Fatal(err)
	}
	var got wrapperspb.StringValue
	if p.WaitFor("onUpper", wait, &got); got.Value != "QUIET" {
		t.Errorf("onUpper says %q, want QUIET", got.Value)
	}
}

// Words is a component with protobuf messages.
type Words struct{ component.Base }

func (w *Words) Upper(s *session.Session, v *wrapperspb.StringValue) error {
	return s.Push("onUpper", wrapperspb.String(strings.ToUpper(v.Value)))
}

func TestHooksBeforePushesAreKept(t *testing.T) {
	srv := nanotest.Start(t, options(&Echo{})...)
	p := srv.Connect(t, client.WithInbound(func(m *client.Message) error {
		if m.Route == "onEcho" {
			return errors.New("not this one")
		}
		m.Data = []byte(strings.ToUpper(string(m.Data)))
		return nil
	}))
	if err := p.Request(t.Context(), "Echo.Say", &Line{"one"}, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := texts(p.Pushes("")), `onSay {"TEXT":"ONE"};`; got != want {
		t.Errorf("Pushes() = %s, want %s", got, want)
	}
}

func TestRefusedHandshake(t *testing.T) {
	srv := nanotest.Start(t, options(&Echo{}, nano.WithHandshakeValidator(func(_ *session.Session, data []byte) error {
		if strings.Contains(string(data), "good") {
			return nil
		}
		return errors.New("bad token")
	}))...)
	srv.Connect(t, client.WithUser("good"))
	var refusal *client.HandshakeError
	if _, err := srv.Dial(t.Context()); !errors.As(err, &refusal) || refusal.Message != "bad token" {
		t.Errorf("Dial without a token = %v, want a refusal", err)
	}
	if got := failure(t, func(t testing.TB) { srv.Connect(t) }); !strings.Contains(got, "Connect = ") || !strings.Contains(got, "bad token") {
		t.Errorf("Connect without a token fails with %q, want the refusal", got)
	}
}

// TestConnectWaitsForTheServer checks that the server may push to a player and kick it as
// soon as Connect returns.
func TestConnectWaitsForTheServer(t *testing.T) {
	srv := nanotest.Start(t, options(&Echo{}, nano.WithHandshakeValidator(func(s *session.Session, _ []byte) error {
		return s.Bind(7)
	}))...)
	for range 100 {
		p := srv.Connect(t)
		if n := srv.Stats().Sessions; n != 1 {
			t.Fatalf("the server has %d sessions, want 1", n)
		}
		if err := errors.Join(srv.Push(7, "onHello", nil), srv.Kick(7, "done")); err != nil {
			t.Fatal(err)
		}
		p.Wait("onHello", wait)
		if reason := p.Kicked(wait); reason != "done" {
			t.Fatalf("kicked for %q, want done", reason)
		}
	}
}

func TestReconnect(t *testing.T) {
	srv := nanotest.Start(t, options(&Echo{})...)
	again := make(chan struct{}, 1)
	p := srv.Connect(t, client.WithReconnect(client.Reconnect{Min: time.Millisecond}),
		client.WithOnReconnect(func(*client.Client) { again <- struct{}{} }))
	if err := p.Request(t.Context(), "Echo.Say", &Line{"before"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Notify("Echo.Hang", nil); err != nil {
		t.Fatal(err)
	}
	<-again
	if err := p.Request(t.Context(), "Echo.Say", &Line{"after"}, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := texts(p.Pushes("onSay")), `onSay {"Text":"before"};onSay {"Text":"after"};`; got != want {
		t.Errorf("Pushes(onSay) = %s, want %s", got, want)
	}
}

func TestAddresses(t *testing.T) {
	srv := nanotest.Start(t, options(&Echo{})...)
	for _, want := range []string{"192.0.2.2:1", "192.0.2.2:2"} {
		p := srv.Connect(t)
		var got []byte
		if err := p.Request(t.Context(), "Echo.Address", nil, &got); err != nil || string(got) != want {
			t.Errorf("the server sees the address %s, %v, want %s", got, err, want)
		}
	}
}

// TestHeartbeatsInFakeTime checks that a client that answers heartbeats stays connected,
// and that one that does not is closed. In fake time intervals of 30 s pass at once.
func TestHeartbeatsInFakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 30 * time.Second
		srv := nanotest.Start(t, options(&Echo{}, nano.WithHeartbeatInterval(interval))...)
		p, mute := srv.Connect(t), srv.Connect(t, client.WithHeartbeat(-1))
		start := time.Now()
		<-mute.Done()
		if silent := time.Since(start); silent < interval*5/2 || silent > 3*interval {
			t.Errorf("a client without heartbeats is closed after %v, want two and a half to three intervals", silent)
		}
		time.Sleep(24 * time.Hour)
		if err := p.Request(t.Context(), "Echo.Say", &Line{"still here"}, nil); err != nil {
			t.Errorf("Request after an idle day = %v", err)
		}

		// conn checks the bytes that the server sends in 90 s after its handshake answer.
		conn, err := srv.Listener.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		got := make(chan []byte, 1)
		go func() {
			b, _ := io.ReadAll(conn)
			got <- b
		}()
		for _, packet := range []string{"\x01\x00\x00\x00", "\x02\x00\x00\x00"} {
			if _, err := io.WriteString(conn, packet); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if b := <-got; !strings.HasSuffix(string(b), "}\x03\x00\x00\x00\x03\x00\x00\x00") {
			t.Errorf("the server sends %q, want a handshake and two heartbeats", b)
		}
	})
}

// failing is a testing.TB for a test that is expected to fail. It keeps what the test says.
type failing struct {
	testing.TB
	out      io.Writer
	mu       sync.Mutex // guards the fields below
	said     string
	failed   bool
	cleanups []func()
}

func (s *failing) Helper() {}

func (s *failing) Output() io.Writer {
	if s.out != nil {
		return s.out
	}
	return s.TB.Output()
}

func (s *failing) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

func (s *failing) Errorf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = true
	s.said += fmt.Sprintf(format, args...)
}

func (s *failing) Logf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said += fmt.Sprintf(format, args...)
}

func (s *failing) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *failing) Error(args ...any) { s.Errorf("%s", fmt.Sprint(args...)) }

func (s *failing) Fatalf(format string, args ...any) {
	s.Errorf(format, args...)
	runtime.Goexit()
}

// end calls the cleanup functions of the test.
func (s *failing) end() {
	for len(s.cleanups) > 0 {
		last := len(s.cleanups) - 1
		f := s.cleanups[last]
		s.cleanups = s.cleanups[:last]
		f()
	}
}

// failure runs f as a test and returns its failure message.
func failure(t *testing.T, f func(testing.TB)) string {
	s := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.end()
		f(s)
	}()
	<-done
	return s.said
}

func TestFailures(t *testing.T) {
	for _, test := range []struct {
		name string
		f    func(*nanotest.Player)
		took time.Duration
		want []string
	}{
		{"nothing came", func(p *nanotest.Player) { p.Wait("onSay", time.Minute) }, time.Minute,
			[]string{`no push to "onSay" within 1m0s; 0 pushes were taken before, 0 came and were not`}},
		{"other things came", func(p *nanotest.Player) {
			for _, text := range []string{"1", strings.Repeat("2", 1000), "3\x00"} {
				_ = p.Notify("Echo.Say", &Line{text})
			}
			p.Wait("onEcho", time.Second)
			p.Wait("onSa", time.Second)
		}, time.Second, []string{
			`no push to "onSa" within 1s; 1 pushes were taken before, 5 came and were not`,
			"\n\tonSay `{\"Text\":\"1\"}`\n\tonSay `{\"Text\":\"22222", "\n\tonEcho \"raw 3\\x00\"",
		}},
		{"kicked", func(p *nanotest.Player) {
			_ = p.Notify("Echo.Kick", &Line{"enough"})
			p.Wait("onSay", time.Second)
			p.Wait("onSay", time.Second)
		}, 0, []string{`no push to "onSay", and the connection has ended: client: kicked by the server: enough; 1 pushes`}},
		{"not kicked", func(p *nanotest.Player) { p.Kicked(time.Second) }, time.Second,
			[]string{"not kicked within 1s; 0 pushes"}},
		{"closed instead of kicked", func(p *nanotest.Player) {
			_ = p.Notify("Echo.Hang", nil)
			p.Kicked(time.Second)
		}, 0, []string{"not kicked, but the connection has ended: client: connection lost: EOF"}},
		{"not what it should be", func(p *nanotest.Player) {
			_ = p.Notify("Echo.Say", &Line{"1"})
			var wrong struct{ Text int }
			p.WaitFor("onSay", time.Second, &wrong)
		}, 0, []string{`the push to "onSay" does not decode into a *struct { Text int }: `, "; its payload is `{\"Text\":\"1\"}`"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var took time.Duration
				got := failure(t, func(t testing.TB) {
					p := nanotest.Start(t, options(&Echo{})...).Connect(t)
					start := time.Now()
					defer func() { took = time.Since(start) }()
					test.f(p)
				})
				for _, want := range test.want {
					if !strings.Contains(got, want) {
						t.Errorf("the test fails with %q, want %q in it", got, want)
					}
				}
				if took != test.took {
					t.Errorf("the test failed after %v, want %v", took, test.took)
				}
			})
		})
	}
}

func TestStartFails(t *testing.T) {
	got := failure(t, func(t testing.TB) { nanotest.Start(t, nano.WithMaxPending(0)) })
	if want := "nanotest: Start = nano: WithMaxPending"; !strings.Contains(got, want) {
		t.Errorf("the test fails with %q, want %q in it", got, want)
	}
}

// Sick is a component whose Shutdown fails.
type Sick struct{ Echo }

func (*Sick) Shutdown() { panic("sick") }

func TestShutdownFails(t *testing.T) {
	got := failure(t, func(t testing.TB) { nanotest.Start(t, options(&Sick{})...) })
	if want := "nanotest: Shutdown = nano: panic in Sick.Shutdown: sick"; !strings.Contains(got, want) {
		t.Errorf("the test fails with %q, want %q in it", got, want)
	}
}

func TestDo(t *testing.T) {
	srv := nanotest.Start(t, options(&Echo{})...)
	on := false
	loop, _ := runloop.Of(srv.Scheduler())
	srv.Do(func() { on = loop.Running() })
	if !on {
		t.Error("Do does not run on the logic goroutine")
	}
	for name, f := range map[string]func(*nanotest.Server){
		"nanotest: Do: panic: ouch":                            func(s *nanotest.Server) { s.Do(func() { panic("ouch") }) },
		"nanotest: Do: the function ended the logic goroutine": func(s *nanotest.Server) { s.Do(runtime.Goexit) },
		"nanotest: Do: the server is shut down": func(s *nanotest.Server) {
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			s.Do(func() { t.Error("Do ran after the end") })
		},
	} {
		if got := failure(t, func(t testing.TB) { f(nanotest.Start(t, options(&Echo{})...)) }); got != name {
			t.Errorf("the test fails with %q, want %q", got, name)
		}
	}
}

func TestLog(t *testing.T) {
	var own, test lockedBuilder
	for _, opts := range [][]nano.Option{
		nil,
		{nano.WithSlog(slog.New(slog.NewTextHandler(&own, nil)))},
	} {
		s := &failing{TB: t, out: &test}
		srv := nanotest.Start(s, options(&Sick{}, opts...)...)
		srv.Do(func() {})
		s.end()
	}
	for name, got := range map[string]string{"the test": test.String(), "the option": own.String()} {
		if n := strings.Count(got, "panic in Sick.Shutdown: sick"); n != 1 {
			t.Errorf("the output of %s has the error %d times, want once:\n%s", name, n, got)
		}
	}
}

type lockedBuilder struct {
	mu sync.Mutex
	strings.Builder
}

func (b *lockedBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func TestListener(t *testing.T) {
	l := nanotest.Listen()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	ours, err := l.DialContext(t.Context(), "tcp", "anywhere:1")
	if err != nil {
		t.Fatal(err)
	}
	theirs := <-accepted
	if a, b := ours.LocalAddr().String(), theirs.RemoteAddr().String(); a != b || a != "192.0.2.2:1" {
		t.Errorf("the client is %s here and %s there, want 192.0.2.2:1", a, b)
	}
	if a, b := ours.RemoteAddr().String(), theirs.LocalAddr().String(); a != b || a != l.Addr().String() {
		t.Errorf("the server is %s here and %s there, want %s", a, b, l.Addr())
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.DialContext(canceled, "", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("DialContext without time = %v, want context.Canceled", err)
	}
	failed := make(chan error, 2)
	go func() { _, err := l.DialContext(context.Background(), "", ""); failed <- err }()
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	go func() { _, err := l.Accept(); failed <- err }()
	for range 2 {
		if err := <-failed; !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close the error is %v, want net.ErrClosed", err)
		}
	}
	go func() { _, _ = ours.Write([]byte("still")) }()
	got := make([]byte, 5)
	if _, err := io.ReadFull(theirs, got); err != nil || string(got) != "still" {
		t.Errorf("a connection reads %q, %v after the listener was closed, want still", got, err)
	}
	_ = ours.Close()
}
