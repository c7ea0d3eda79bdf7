package session_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/session"
)

var _ sessionctl.Attacher = (*entity)(nil)

func TestContext(t *testing.T) {
	for _, made := range []string{"before", "after"} {
		s, e := newSession()
		var ctx context.Context
		if made == "before" {
			ctx = s.Context()
			if ctx.Err() != nil || context.Cause(ctx) != nil {
				t.Errorf("Context() of an open session: Err() = %v, Cause = %v, want nil", ctx.Err(), context.Cause(ctx))
			}
		}
		e.control.End(session.ErrHeartbeat)
		if made == "after" {
			ctx = s.Context()
		}
		select {
		case <-ctx.Done():
		default:
			t.Errorf("made %s the end: the context of a closed session is not done", made)
		}
		if !errors.Is(ctx.Err(), context.Canceled) || !errors.Is(context.Cause(ctx), session.ErrHeartbeat) {
			t.Errorf("made %s the end: Err() = %v, Cause = %v, want Canceled and ErrHeartbeat", made, ctx.Err(), context.Cause(ctx))
		}
		if _, ok := ctx.Deadline(); ok {
			t.Error("the context has a deadline, want none")
		}
		if s.Context() != ctx {
			t.Error("Context() returns another one each time, want the same")
		}
		e.control.Finish()
		if s.Context() != ctx {
			t.Error("Context() returns another one when the session has finished, want the same")
		}
	}
}

// TestContextEndsBeforeTheCallbacks checks that the context is canceled before any
// callback runs.
func TestContextEndsBeforeTheCallbacks(t *testing.T) {
	s, e := newSession()
	ctx := s.Context()
	var inCallback error
	s.OnClose(func(s *session.Session, _ error) { inCallback = context.Cause(ctx) })
	child, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	e.control.End(session.ErrClientClosed)
	if !errors.Is(context.Cause(child), session.ErrClientClosed) {
		t.Errorf("Cause = %v of a context made of the session's, want ErrClientClosed", context.Cause(child))
	}
	e.control.Finish()
	if !errors.Is(inCallback, session.ErrClientClosed) {
		t.Errorf("Cause = %v in the close callback, want ErrClientClosed", inCallback)
	}
}

func TestEnd(t *testing.T) {
	s, e := newSession()
	if s.Closed() || e.control.Reason() != nil {
		t.Errorf("Closed() = %v, Reason() = %v of an open session, want false and nil", s.Closed(), e.control.Reason())
	}
	if !e.control.End(session.ErrKicked) || e.control.End(session.ErrProtocol) || e.control.End(nil) {
		t.Error("End: want true of the first call, false of those that follow")
	}
	if !s.Closed() || !errors.Is(e.control.Reason(), session.ErrKicked) {
		t.Errorf("Closed() = %v, Reason() = %v, want true and the first reason, ErrKicked", s.Closed(), e.control.Reason())
	}
	_, e = newSession()
	if e.control.End(nil); !errors.Is(e.control.Reason(), session.ErrClosed) {
		t.Errorf("Reason() = %v after End(nil), want ErrClosed", e.control.Reason())
	}
}

func TestCloseCallbacks(t *testing.T) {
	s, e := newSession()
	var order []string
	note := func(what string) func(*session.Session, error) {
		return func(got *session.Session, reason error) {
			if got != s || !errors.Is(reason, session.ErrSlowClient) {
				t.Errorf("callback %s was called with %p and %v, want %p and ErrSlowClient", what, got, reason, s)
			}
			order = append(order, what)
		}
	}
	onClosed(s, func() { order = append(order, "lifetime 1") })
	onClosed(s, func() {
		order = append(order, "lifetime 2")
		s.OnClose(note("of lifetime 2"))
	})
	s.OnClose(note("1"))
	s.OnClose(func(*session.Session, error) {
		note("2")(s, e.control.Reason())
		s.OnClose(func(*session.Session, error) {
			note("of 2")(s, e.control.Reason())
			s.OnClose(note("of 2 of 2"))
		})
		if len(order) != 4 {
			t.Errorf("order = %q: a callback that a callback registers ran at once, want it to wait for its turn", order)
		}
	})
	s.OnClose(note("3"))
	e.control.Finish()
	if len(order) > 0 {
		t.Errorf("Finish before End called %q, want nothing", order)
	}
	e.control.End(session.ErrSlowClient)
	if len(order) > 0 {
		t.Errorf("End called %q, want it to leave the callbacks to Finish", order)
	}
	s.OnClose(note("after End"))
	e.control.Finish()
	e.control.Finish()
	want := []string{"lifetime 1", "lifetime 2", "1", "2", "3", "after End", "of lifetime 2", "of 2", "of 2 of 2"}
	if !slices.Equal(order, want) {
		t.Errorf("order = %q, want %q", order, want)
	}
	s.OnClose(note("late"))
	if order[len(order)-1] != "late" {
		t.Errorf("order = %q, want a callback that comes late to be called at once", order)
	}
}

// TestCallbacksThatPanic checks that other callbacks run after one has panicked, and that
// the panic is reported.
func TestCallbacksThatPanic(t *testing.T) {
	s, e := newSession()
	var order []string
	onClosed(s, func() { panic("first fault") })
	onClosed(s, func() { order = append(order, "lifetime") })
	s.OnClose(func(*session.Session, error) { panic(errors.New("second fault")) })
	s.OnClose(func(*session.Session, error) { order = append(order, "callback") })
	e.control.Watch("a", func() { panic("third fault") })
	e.control.Watch("b", func() { order = append(order, "watcher") })
	e.control.End(session.ErrClosed)
	p := panicOf(e.control.Finish)
	for _, text := range []string{"first fault", "second fault", "third fault", "ending_test.go"} {
		if !strings.Contains(fmt.Sprint(p), text) {
			t.Errorf("Finish panicked with %v, want %q in it", p, text)
		}
	}
	if want := []string{"lifetime", "callback", "watcher"}; !slices.Equal(order, want) {
		t.Errorf("order = %q, want %q", order, want)
	}
	if p := panicOf(e.control.Finish); p != nil {
		t.Errorf("a second Finish panicked with %v", p)
	}
}

// TestCallbackThatEndsTheGoroutine checks that a session is closed completely even if a
// callback ends its goroutine.
func TestCallbackThatEndsTheGoroutine(t *testing.T) {
	s, e := newSession()
	watched := false
	s.OnClose(func(*session.Session, error) { runtime.Goexit() })
	e.control.Watch("a", func() { watched = true })
	e.control.End(session.ErrClosed)
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.control.Finish()
	}()
	<-done
	if !watched {
		t.Error("the watcher was not called")
	}
	late := false
	s.OnClose(func(*session.Session, error) { late = true })
	if !late || e.control.Watch("b", func() {}) {
		t.Errorf("a late callback was called: %v, and Watch reports an open session; want true and false", late)
	}
}

func panicOf(f func()) (p any) {
	defer func() { p = recover() }()
	f()
	return nil
}

// onClosed calls f when s closes. Callbacks of Lifetime cannot be removed, so the
// function checks the session.
func onClosed(s *session.Session, f func()) {
	session.Lifetime.OnClosed(func(closed *session.Session) {
		if closed == s {
			f()
		}
	})
}

func TestLifetimeAtAnyTime(t *testing.T) {
	first, a := newSession()
	second, b := newSession()
	var closed []*session.Session
	register := sync.OnceFunc(func() { // a callback may register too
		session.Lifetime.OnClosed(func(s *session.Session) {
			if s == first || s == second {
				closed = append(closed, s)
			}
		})
	})
	onClosed(first, register)
	for _, e := range []*entity{a, b} {
		e.control.End(session.ErrClosed)
		e.control.Finish()
	}
	if len(closed) == 0 || closed[len(closed)-1] != second {
		t.Errorf("a callback registered while a session closed saw %v, want it to see the next one", closed)
	}

	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				s, e := newSession()
				calls := 0
				onClosed(s, func() { calls++ })
				e.control.End(session.ErrClosed)
				e.control.Finish()
				if calls != 1 {
					t.Errorf("the callback was called %d times, want once", calls)
				}
			}
		})
	}
	wg.Wait()
}

// TestLifetimeClose checks that Lifetime.Close calls the callbacks. Programs use it in
// unit tests.
func TestLifetimeClose(t *testing.T) {
	s := session.New(mock.NewNetworkEntity())
	calls := 0
	onClosed(s, func() { calls++ })
	session.Lifetime.Close(s)
	if calls != 1 {
		t.Errorf("the callback was called %d times, want once", calls)
	}
	faulty := session.New(mock.NewNetworkEntity())
	onClosed(faulty, func() { panic("fault") })
	onClosed(faulty, func() { calls++ })
	if p := panicOf(func() { session.Lifetime.Close(faulty) }); !strings.Contains(fmt.Sprint(p), "fault") || calls != 2 {
		t.Errorf("Close panicked with %v and the callback behind was called %d times, want the fault, and once", p, calls-1)
	}
}

func TestWatch(t *testing.T) {
	s, e := newSession()
	var order []string
	note := func(what string) func() { return func() { order = append(order, what) } }
	s.OnClose(func(*session.Session, error) {
		order = append(order, "callback")
		if !e.control.Watch("d", note("d, of a callback")) {
			t.Error("Watch() = false in a close callback, want true")
		}
		e.control.Unwatch("b")
	})
	for _, key := range []string{"a", "b", "c"} {
		if !e.control.Watch(key, note(key)) {
			t.Errorf("Watch(%s) = false on an open session, want true", key)
		}
	}
	e.control.Watch("a", note("a, the second"))
	e.control.Unwatch("c")
	e.control.Unwatch("c")
	e.control.Unwatch("never")
	e.control.End(session.ErrClosed)
	e.control.Watch("e", note("e, after End"))
	e.control.Finish()
	if want := []string{"callback", "a, the second", "e, after End", "d, of a callback"}; !slices.Equal(order, want) {
		t.Errorf("order = %q, want %q", order, want)
	}
	if e.control.Watch("f", func() { t.Error("a watch was called that Watch had refused") }) {
		t.Error("Watch() = true when the session has finished, want false")
	}
	e.control.Unwatch("a")
}

// TestConcurrentEnd checks that every callback runs once if End, Finish, OnClose, Watch
// and Context are called concurrently.
func TestConcurrentEnd(t *testing.T) {
	for range 50 {
		s, e := newSession()
		var calls, ended int
		var mu sync.Mutex
		count := func(n *int) { mu.Lock(); defer mu.Unlock(); *n++ }
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				s.OnClose(func(*session.Session, error) { count(&calls) })
				if !e.control.Watch(i, func() { count(&calls) }) {
					count(&calls)
				}
				ctx := s.Context()
				if e.control.End(session.ErrClosed) {
					count(&ended)
				}
				e.control.Finish()
				<-ctx.Done()
			})
		}
		wg.Wait()
		if calls != 8 || ended != 1 {
			t.Fatalf("%d callbacks were called, End was true %d times, want 8 and once", calls, ended)
		}
	}
}

// TestSessionOverAMockStaysOpen checks that a session stays open if its entity does not
// control the session's end.
func TestSessionOverAMockStaysOpen(t *testing.T) {
	s := session.New(mock.NewNetworkEntity())
	s.OnClose(func(*session.Session, error) { t.Error("a close callback was called") })
	s.Close()
	if s.Closed() || s.Context().Err() != nil {
		t.Errorf("Closed() = %v, Context().Err() = %v, want false and nil", s.Closed(), s.Context().Err())
	}
}

func ExampleLifetime() {
	online := map[int64]string{}
	session.Lifetime.OnClosed(func(s *session.Session) { delete(online, s.ID()) })

	s := session.New(mock.NewNetworkEntity())
	online[s.ID()] = "ann"
	session.Lifetime.Close(s) // the server calls this when a client has left
	fmt.Println(len(online))
	// Output: 0
}

func TestWatchEnd(t *testing.T) {
	s, e := newSession()
	var order []string
	note := func(what string) func() { return func() { order = append(order, what) } }
	e.control.Watch("a", note("watch"))
	e.control.WatchEnd("a", note("end, the first"))
	if !e.control.WatchEnd("a", note("end")) || !e.control.WatchEnd("b", note("forgotten")) {
		t.Error("WatchEnd() = false on an open session, want true")
	}
	e.control.Unwatch("b")
	s.OnClose(func(*session.Session, error) { order = append(order, "callback") })
	e.control.End(session.ErrKicked)
	if want := []string{"end"}; !slices.Equal(order, want) {
		t.Errorf("order = %q after End, want %q", order, want)
	}
	if e.control.WatchEnd("c", note("refused")) {
		t.Error("WatchEnd() = true after End, want false")
	}
	e.control.End(session.ErrClosed)
	e.control.Finish()
	if want := []string{"end", "callback", "watch"}; !slices.Equal(order, want) {
		t.Errorf("order = %q, want %q", order, want)
	}
}

// TestDiscard checks that a session that was never open runs its own callbacks and
// watchers, but not those of Lifetime.
func TestDiscard(t *testing.T) {
	s, e := newSession()
	var order []string
	onClosed(s, func() { order = append(order, "Lifetime") })
	s.OnClose(func(_ *session.Session, reason error) { order = append(order, fmt.Sprint("callback ", reason)) })
	e.control.Watch("a", func() { order = append(order, "watch") })
	e.control.End(session.ErrHandshake)
	e.control.Discard()
	e.control.Discard()
	e.control.Finish()
	if want := []string{"callback " + session.ErrHandshake.Error(), "watch"}; !slices.Equal(order, want) {
		t.Errorf("order = %q, want %q", order, want)
	}
}
