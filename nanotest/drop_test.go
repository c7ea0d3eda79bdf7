package nanotest_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/session"
)

// Camp records what happens to the session of its last visitor.
type Camp struct {
	component.Base
	visitor *session.Session // used by the logic goroutine only, like the fields below
	notes   []string
}

func (c *Camp) Enter(s *session.Session, _ []byte) error {
	c.visitor = s
	s.OnSuspend(func(_ *session.Session, err error) { c.notes = append(c.notes, fmt.Sprint("suspend: ", err)) })
	s.OnResume(func(*session.Session) { c.notes = append(c.notes, "resume") })
	s.OnClose(func(_ *session.Session, err error) { c.notes = append(c.notes, fmt.Sprint("close: ", err)) })
	return s.Response([]byte("{}"))
}

// Say pushes the line before it responds with it.
func (c *Camp) Say(s *session.Session, l *Line) (*Line, error) {
	c.notes = append(c.notes, l.Text)
	return l, s.Push("onSay", l)
}

// camp starts a server and connects a player that has entered.
func camp(t testing.TB, opts ...nano.Option) (*nanotest.Server, *Camp, *nanotest.Player) {
	t.Helper()
	c := &Camp{}
	srv := nanotest.Start(t, options(c, opts...)...)
	p := srv.Connect(t)
	if err := p.Request(t.Context(), "Camp.Enter", nil, nil); err != nil {
		t.Fatal(err)
	}
	return srv, c, p
}

// happened checks the events since the last call.
func happened(t *testing.T, srv *nanotest.Server, c *Camp, want ...string) {
	t.Helper()
	srv.Do(func() {
		if got, want := strings.Join(c.notes, "\n"), strings.Join(want, "\n"); got != want {
			t.Errorf("it happened:\n%s\nwant:\n%s", got, want)
		}
		c.notes = nil
	})
}

var (
	withResume = nano.WithResume(nano.Resume{})
	suspended  = "suspend: " + session.ErrClientClosed.Error()
)

// TestDropAndReturn checks that a player that drops and returns any number of times loses
// no message in either direction.
func TestDropAndReturn(t *testing.T) {
	run := func(t *testing.T, rest func()) {
		srv, c, p := camp(t, withResume)
		for round := range 20 {
			p.Drop()
			var gone bool
			srv.Do(func() { gone = c.visitor.Suspended() && !c.visitor.Closed() })
			if !gone || srv.Stats().Resume.Suspended != 1 {
				t.Fatalf("round %d: suspended %v, %d in all, want the session suspended when Drop returns", round, gone, srv.Stats().Resume.Suspended)
			}
			happened(t, srv, c, suspended)
			for i := range 5 {
				srv.Do(func() {
					if err := c.visitor.Push("onTick", &Line{fmt.Sprint(i)}); err != nil {
						t.Error(err)
					}
				})
			}
			answered := make(chan error, 1)
			go func() {
				var reply Line
				err := p.Request(t.Context(), "Camp.Say", &Line{"hello"}, &reply)
				if err == nil && reply.Text != "hello" {
					err = fmt.Errorf("reply %q", reply.Text)
				}
				answered <- err
			}()
			rest()
			p.Return()
			for i := range 5 {
				var tick Line
				if p.WaitFor("onTick", wait, &tick); tick.Text != fmt.Sprint(i) {
					t.Fatalf("round %d: tick %d says %q", round, i, tick.Text)
				}
			}
			p.Wait("onSay", wait)
			if err := <-answered; err != nil {
				t.Fatalf("round %d: Request = %v", round, err)
			}
			happened(t, srv, c, "resume", "hello")
		}
		if left := p.Pushes(""); len(left) != 0 {
			t.Errorf("%s came too", texts(left))
		}
		if st := srv.Stats(); st.Resume.Resumed != 20 || st.Sessions != 1 {
			t.Errorf("%d resumes and %d sessions, want 20 and 1", st.Resume.Resumed, st.Sessions)
		}
	}
	t.Run("real time", func(t *testing.T) { run(t, func() {}) })
	t.Run("fake time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { run(t, func() { time.Sleep(9 * time.Second) }) }) // a request may take 10 s
	})
}

// TestReturnAfterTheWindow checks that a player that returns too late gets a new session.
func TestReturnAfterTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, c, p := camp(t, withResume)
		p.Drop()
		time.Sleep(31 * time.Second)
		happened(t, srv, c, suspended, "close: "+session.ErrResumeExpired.Error()+": "+session.ErrClientClosed.Error())
		p.Return()
		if err := p.Request(t.Context(), "Camp.Enter", nil, nil); err != nil {
			t.Errorf("Request after Return = %v", err)
		}
		if n := srv.Stats().Resume.Refused["expired"]; n != 1 {
			t.Errorf("%d players were told that they are too late, want 1", n)
		}
	})
}

func TestKickedWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, c, p := camp(t, withResume)
		p.Drop()
		srv.Do(func() { _ = c.visitor.Kick("cheater") })
		p.Return()
		if reason := p.Kicked(wait); reason != "cheater" {
			t.Errorf("kicked for %q, want cheater", reason)
		}
	})
}

// TestDropWithoutResume checks that a drop closes the session without resume, and that a
// reconnecting player gets a new one.
func TestDropWithoutResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, c, p := camp(t)
		p.Drop()
		<-p.Done()
		happened(t, srv, c, "close: "+session.ErrClientClosed.Error())

		again := srv.Connect(t, client.WithReconnect(client.Reconnect{}))
		again.Drop()
		if n := srv.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions are open, want none", n)
		}
		again.Return()
		if err := again.Request(t.Context(), "Camp.Enter", nil, nil); err != nil {
			t.Errorf("Request after Return = %v", err)
		}
	})
}

func TestDropFailures(t *testing.T) {
	for _, test := range []struct {
		name string
		f    func(t testing.TB, srv *nanotest.Server, p *nanotest.Player)
		want string
	}{
		{"away already", func(_ testing.TB, _ *nanotest.Server, p *nanotest.Player) { p.Drop(); p.Drop() },
			"nanotest: Drop: the player is away already"},
		{"not away", func(_ testing.TB, _ *nanotest.Server, p *nanotest.Player) { p.Return() },
			"nanotest: Return: the player was not dropped"},
		{"its own dialer", func(t testing.TB, srv *nanotest.Server, _ *nanotest.Player) {
			srv.Connect(t, client.WithDialer(srv.Listener.DialContext)).Drop()
		}, "nanotest: Drop: the player connects with a dialer of the test"},
		{"ended", func(_ testing.TB, _ *nanotest.Server, p *nanotest.Player) {
			p.Drop()
			_ = p.Close()
			<-p.Done()
			p.Return()
		}, "nanotest: Return: the player has ended, because it does not reconnect: "},
		{"the server is gone", func(_ testing.TB, srv *nanotest.Server, p *nanotest.Player) {
			p.Drop()
			_ = srv.Listener.Close()
			p.Return()
		}, "nanotest: Return: the player was not let in within 30s; 0 pushes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := failure(t, func(t testing.TB) {
					srv, _, p := camp(t, withResume)
					test.f(t, srv, p)
				})
				if !strings.HasPrefix(got, test.want) {
					t.Errorf("the test fails with %q, want %q", got, test.want)
				}
			})
		})
	}
}
