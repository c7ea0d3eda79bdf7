package nano_test

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/session"
)

// TestGroupForgetsWhoCloses checks that a group removes a session after its close
// callbacks have run, however the session closes.
func TestGroupForgetsWhoCloses(t *testing.T) {
	for name, end := range map[string]func(c *club, u *guest){
		"Close":         func(_ *club, u *guest) { u.session.Close() },
		"Kick":          func(_ *club, u *guest) { _ = u.session.Kick("bye") },
		"client leaves": func(_ *club, u *guest) { _ = u.conn.Close() },
		"Shutdown":      func(c *club, _ *guest) { c.shutdown() },
		"a panic in the callback": func(_ *club, u *guest) {
			u.session.OnClose(func(*session.Session, error) { panic("boom") })
			u.session.Close()
		},
		"Leave in the callback": func(_ *club, u *guest) {
			u.session.OnClose(func(s *session.Session, _ error) {
				for _, g := range s.Value("groups").([]*nano.Group) {
					if err := g.Leave(s); err != nil {
						panic(err)
					}
				}
			})
			u.session.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClub(t, nano.WithSlog(slog.New(slog.DiscardHandler)))
				defer c.shutdown()
				u := c.join()
				stays := session.New(mock.NewNetworkEntity())
				groups := []*nano.Group{nano.NewGroup("hall"), nano.NewGroup("bar"), nano.NewGroup("left")}
				u.session.Set("groups", groups)
				if err := u.session.Bind(7); err != nil {
					t.Fatal(err)
				}
				for _, g := range groups {
					if err := errors.Join(g.Add(u.session), g.Add(stays)); err != nil {
						t.Fatal(err)
					}
				}
				if err := groups[2].Leave(u.session); err != nil {
					t.Fatal(err)
				}
				var inCallback []bool
				u.session.OnClose(func(s *session.Session, _ error) {
					for _, g := range groups {
						inCallback = append(inCallback, g.Contains(7))
						if err := g.Broadcast("onLeave", 7); err != nil {
							t.Errorf("Broadcast in a close callback = %v, want nil", err)
						}
					}
				})
				end(c, u)
				synctest.Wait()
				time.Sleep(time.Minute)
				synctest.Wait()
				if want := []bool{false, false, false}; !slices.Equal(inCallback, want) {
					t.Errorf("Contains in the close callback = %v, want %v", inCallback, want)
				}
				for _, g := range groups {
					if g.Contains(7) || g.Count() != 1 {
						t.Errorf("group %s: Contains = %v, Count() = %d, want false and 1", g.Name(), g.Contains(7), g.Count())
					}
				}
				// The session is not added again.
				if err := groups[0].Add(u.session); !errors.Is(err, session.ErrBrokenPipe) || groups[0].Count() != 1 {
					t.Errorf("Add of a closed session = %v, Count() = %d, want ErrBrokenPipe and 1", err, groups[0].Count())
				}
			})
		})
	}
}

// TestGroupAddWhileClosing checks that a group refuses a session while its close
// callbacks run, because the session is closed.
func TestGroupAddWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClub(t)
		defer c.shutdown()
		u := c.join()
		g := nano.NewGroup("ghosts")
		u.session.OnClose(func(s *session.Session, _ error) {
			if err := g.Add(s); !errors.Is(err, session.ErrBrokenPipe) {
				t.Errorf("Add in a close callback = %v, want ErrBrokenPipe", err)
			}
			if g.Count() != 0 {
				t.Errorf("Count() = %d in the callback, want 0", g.Count())
			}
		})
		u.session.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		if g.Count() != 0 {
			t.Errorf("Count() = %d when the session has finished, want 0", g.Count())
		}
	})
}

// kept is an entity whose session control the test can pause.
type kept struct {
	mock.NetworkEntity
	pausedControl
}

func (k *kept) Attach(c sessionctl.Control) { k.pausedControl.Control = c }

func (k *kept) Control() sessionctl.Control { return &k.pausedControl }

// pausedControl calls unwatched before it removes a watch.
type pausedControl struct {
	sessionctl.Control
	unwatched func()
}

func (l *pausedControl) Unwatch(key any) {
	l.unwatched()
	l.Control.Unwatch(key)
}

// TestGroupLeaveWhileAdding checks that a group removes a closed session even if one
// goroutine removes it while another one adds it.
func TestGroupLeaveWhileAdding(t *testing.T) {
	for name, leave := range map[string]func(*nano.Group, *session.Session) error{
		"Leave":    (*nano.Group).Leave,
		"LeaveAll": func(g *nano.Group, _ *session.Session) error { return g.LeaveAll() },
	} {
		k := &kept{}
		s := session.New(k)
		g := nano.NewGroup("hall")
		if err := g.Add(s); err != nil {
			t.Fatal(err)
		}
		k.unwatched = func() { _ = g.Add(s) }
		if err := leave(g, s); err != nil {
			t.Errorf("%s = %v", name, err)
		}
		k.End(session.ErrClosed)
		k.Finish()
		if g.Count() != 0 {
			t.Errorf("%s: Count() = %d when the session has finished, want 0", name, g.Count())
		}
	}
}

// TestGroupWhileMembersComeAndGo checks that each member gets every message once and in
// order. Clients connect, leave and close in real time while several goroutines
// broadcast.
func TestGroupWhileMembersComeAndGo(t *testing.T) {
	c := newClub(t)
	g := nano.NewGroup("hall")
	steady := c.join()
	if err := g.Add(steady.session); err != nil {
		t.Fatal(err)
	}
	const senders, each = 2, 150
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for n := range each {
				if err := g.Broadcast("on"+strconv.Itoa(i), n); err != nil {
					t.Errorf("Broadcast = %v, want nil", err)
				}
				_ = g.Multicast("onNobody", n, func(*session.Session) bool { return false })
				_, _ = g.FindMember(func(*session.Session) bool { return false })
				_, _ = g.Members(), g.Count()
			}
		})
	}
	guests := make(chan *guest, 6)
	for range cap(guests) {
		guests <- c.join()
	}
	for i := range cap(guests) {
		u := <-guests
		wg.Go(func() {
			for range 30 {
				if err := g.Add(u.session); err != nil {
					t.Errorf("Add = %v, want nil", err)
				}
				if err := g.Leave(u.session); err != nil {
					t.Errorf("Leave = %v, want nil", err)
				}
			}
			if err := g.Add(u.session); err != nil {
				t.Errorf("Add = %v, want nil", err)
			}
			switch i % 3 {
			case 0:
				u.session.Close()
			case 1:
				_ = u.session.Kick("bye")
			default:
				_ = u.conn.Close()
			}
			<-u.session.Context().Done()
			if n := len(u.pushes()); n > senders*each {
				t.Errorf("a guest got %d messages, more than were sent", n)
			}
		})
	}
	wg.Wait()
	deadline := time.Now().Add(10 * time.Second)
	for g.Count() != 1 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if g.Count() != 1 || g.Members()[0] != steady.session.UID() {
		t.Errorf("Count() = %d, want only the member that stayed", g.Count())
	}
	for len(steady.peek()) < senders*each && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	next := map[string]int{}
	for _, m := range steady.pushes() {
		route, data, _ := strings.Cut(m, " ")
		if data != strconv.Itoa(next[route]) {
			t.Fatalf("%s: got %s, want %d", route, data, next[route])
		}
		next[route]++
	}
	if want := map[string]int{"on0": each, "on1": each}; !maps.Equal(next, want) {
		t.Errorf("the member that stayed got %v, want %v", next, want)
	}
	c.shutdown()
	if g.Count() != 0 {
		t.Errorf("Count() = %d after Shutdown, want 0", g.Count())
	}
}
