package relay

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// A gate reports a suspended session to the nodes that know it, and to a node that learns
// of it later.
func TestGateSendsSuspensions(t *testing.T) {
	s := newScene(t, nil)
	v := s.enter(7)
	s.Suspended(v.session, session.ErrHeartbeat) // no node knows the session
	if err := s.Forward(v.session, &message.Message{Type: message.Notify, Route: "Far.Do"}); err != nil {
		t.Fatal(err)
	}
	s.Suspended(v.session, session.ErrHeartbeat)
	s.Resumed(v.session)
	s.hears(
		link.Frame{Kind: kindNotify, Session: 7, Route: "Far.Do"},
		link.Frame{Kind: kindSuspended, Session: 7, ID: uint64(slices.Index(reasons, session.ErrHeartbeat))},
		link.Frame{Kind: kindResumed, Session: 7},
	)
	away := &sleeper{}
	away.id, away.broker = 8, s.Broker
	away.session = session.New(away)
	away.box.Init(s.Dispatcher, away.session, away, 1<<20, 1<<30)
	if err := s.Forward(away.session, &message.Message{Type: message.Notify, Route: "Far.Do"}); err != nil {
		t.Fatal(err)
	}
	s.hears(
		link.Frame{Kind: kindNotify, Session: 8, Route: "Far.Do"},
		link.Frame{Kind: kindSuspended, Session: 8, ID: uint64(slices.Index(reasons, session.ErrClientClosed))},
	)
	s.silent()
}

// sleeper is a suspended client.
type sleeper struct{ visitor }

func (*sleeper) Suspended() bool { return true }

// A suspension of another node's session takes effect in order with its messages, and
// once even if it is reported again.
func TestProxySessionIsSuspended(t *testing.T) {
	s := newScene(t, nil)
	var mu sync.Mutex
	var steps []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		steps = append(steps, fmt.Sprintf(format, args...))
	}
	s.shop.do = func(sn *session.Session, data []byte) error {
		if string(data) == "first" {
			sn.OnSuspend(func(_ *session.Session, err error) {
				note("suspend %v %v", errors.Is(err, session.ErrHeartbeat), sn.Suspended())
			})
			sn.OnResume(func(*session.Session) { note("resume") })
		}
		note("%s", data)
		return nil
	}
	say := func(data string) link.Frame {
		return link.Frame{Kind: kindNotify, Session: 7, Route: "Shop.Do", Data: []byte(data)}
	}
	first := say("first")
	first.Meta = hello(0)
	suspended := link.Frame{Kind: kindSuspended, Session: 7, ID: uint64(slices.Index(reasons, session.ErrHeartbeat))}
	s.says(first)
	s.eventually("the first message has run", func() bool { mu.Lock(); defer mu.Unlock(); return len(steps) == 1 })
	s.says(link.Frame{Kind: kindResumed, Session: 7}, suspended, suspended)
	s.eventually("the session is suspended", func() bool { mu.Lock(); defer mu.Unlock(); return len(steps) == 2 })
	s.says(say("a"), link.Frame{Kind: kindResumed, Session: 7}, say("b"), link.Frame{Kind: kindSuspended, Session: 99})
	s.eventually("all has happened", func() bool { mu.Lock(); defer mu.Unlock(); return len(steps) == 5 })
	if want := []string{"first", "suspend true true", "a", "resume", "b"}; !slices.Equal(steps, want) {
		t.Errorf("it happened: %q, want %q", steps, want)
	}
	if s.proxy(7).Suspended() {
		t.Error("the session is suspended after the resume")
	}
}

// The client gets the will of a node when the node goes down, unless the will was removed
// or the session has closed.
func TestWill(t *testing.T) {
	s := newScene(t, nil)
	var all []*visitor
	for id := range int64(4) {
		v := s.enter(id + 1)
		all = append(all, v)
		if err := s.Forward(v.session, &message.Message{Type: message.Notify, Route: "Far.Do"}); err != nil {
			t.Fatal(err)
		}
		s.next()
		s.says(link.Frame{Kind: kindWill, Session: id + 1, Route: "over", Data: []byte(fmt.Sprint("will ", id+1))})
	}
	s.says(
		link.Frame{Kind: kindWill, Session: 99, Route: "over"}, // no session
		link.Frame{Kind: kindWill, Session: 2, Route: "end", Data: []byte("another")},
		link.Frame{Kind: kindWill, Session: 3},
	)
	s.silent()
	_ = all[3].end(session.ErrClosed)
	s.link.Close(errors.New("cut"))
	s.gets(all[0], "push 0 over will 1")
	s.gets(all[1], "push 0 end another")
	s.eventually("the other is down", func() bool { return len(s.node.LinksTo("Far")) == 0 })
	s.gets(all[2])
	s.gets(all[3])
}

// A proxy session sets its will with a frame.
func TestSetWill(t *testing.T) {
	s := newScene(t, nil)
	s.shop.do = func(*session.Session, []byte) error { return nil }
	s.says(link.Frame{Kind: kindNotify, Session: 7, Route: "Shop.Do", Meta: hello(0)})
	s.silent()
	s.proxy(7).SetWill("over", []byte("bye"))
	s.proxy(7).SetWill("", nil)
	s.hears(link.Frame{Kind: kindWill, Session: 7, Route: "over", Data: []byte("bye")}, link.Frame{Kind: kindWill, Session: 7})
}

// drinker is a client with an outbox.
type drinker struct {
	visitor
	waiting atomic.Int64
}

func (r *drinker) PushReplaceable(route string, data []byte) error {
	r.got("state %s %d", route, len(data))
	r.waiting.Add(int64(len(data)))
	return nil
}

func (r *drinker) Queued() int { return int(r.waiting.Load()) }

// A gate reports the bytes queued for a client after a replaceable push, and until few
// are left.
func TestQueueReports(t *testing.T) {
	s := newScene(t, nil)
	r := &drinker{}
	r.id, r.broker = 7, s.Broker
	r.session = session.New(r)
	r.box.Init(s.Dispatcher, r.session, r, 1<<20, 1<<30)
	if err := s.Forward(r.session, &message.Message{Type: message.Notify, Route: "Far.Do"}); err != nil {
		t.Fatal(err)
	}
	s.hears(link.Frame{Kind: kindNotify, Session: 7, Route: "Far.Do"})
	state := func(n int) link.Frame {
		return link.Frame{Kind: kindPush, Flags: flagReplaceable, Session: 7, Route: "state", Data: make([]byte, n)}
	}
	s.says(state(1000))
	s.gets(&r.visitor, "state state 1000")
	s.silent() // few bytes are queued
	s.says(state(queueStep))
	s.hears(link.Frame{Kind: kindQueued, Session: 7, ID: queueStep + 1000})
	s.says(state(100))
	s.silent() // the number of bytes has hardly changed
	r.waiting.Store(3*queueStep + 5)
	s.hears(link.Frame{Kind: kindQueued, Session: 7, ID: 3*queueStep + 5})
	r.waiting.Store(9)
	s.hears(link.Frame{Kind: kindQueued, Session: 7, ID: 9})
	s.eventually("nothing is watched", func() bool {
		pc := (*s.peers.Load())[0]
		pc.mu.Lock()
		defer pc.mu.Unlock()
		return pc.watch.timer == nil && len(pc.watch.sessions) == 0
	})
	s.says(state(2 * queueStep))
	s.hears(link.Frame{Kind: kindQueued, Session: 7, ID: 2*queueStep + 9})
	_ = r.end(session.ErrClosed)
	s.hears(link.Frame{Kind: kindClosed, Session: 7})
	s.eventually("a client that has closed is not watched", func() bool {
		pc := (*s.peers.Load())[0]
		pc.mu.Lock()
		defer pc.mu.Unlock()
		return pc.watch.timer == nil
	})
	// The serving node uses the value that its gate has reported.
	s.shop.do = func(*session.Session, []byte) error { return nil }
	s.says(link.Frame{Kind: kindNotify, Session: 70, Route: "Shop.Do", Meta: hello(0)}, link.Frame{Kind: kindQueued, Session: 70, ID: 1 << 63},
		link.Frame{Kind: kindQueued, Session: 99, ID: 5})
	s.silent()
	if n := s.proxy(70).Queued(); n != 1<<40 {
		t.Errorf("Queued = %d, want a bounded report", n)
	}
	s.says(link.Frame{Kind: kindQueued, Session: 70, ID: 70_000})
	s.silent()
	if n := s.proxy(70).Queued(); n != 70_000 {
		t.Errorf("Queued = %d, want 70000", n)
	}
	if err := s.proxy(70).PushReplaceable("state", []byte("x")); err != nil {
		t.Fatal(err)
	}
	s.hears(link.Frame{Kind: kindPush, Flags: flagReplaceable, Session: 70, Route: "state", Data: []byte("x")})
}
