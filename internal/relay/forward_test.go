package relay

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/lonng/nano/internal/flow"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// TestForwardAnswers checks that a forwarded request is answered once, whatever the other
// node sends.
func TestForwardAnswers(t *testing.T) {
	s := newScene(t, nil)
	v := s.enter(7)
	ask := func(id uint64) {
		t.Helper()
		if err := s.Forward(v.session, &message.Message{Type: message.Request, ID: id, Route: "Far.Do", Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		s.hears(link.Frame{Kind: kindRequest, Session: 7, ID: id, Route: "Far.Do", Data: []byte("x")})
	}
	answer := func(id uint64, data string) link.Frame {
		return link.Frame{Kind: kindResponse, Session: 7, ID: id, Data: []byte(data)}
	}
	ask(1)
	ask(2)
	ask(3)
	late := answer(2, "two")
	late.Flags = flagLater
	s.says(link.Frame{Kind: kindDone, Session: 7, ID: 1}, late, answer(1, "one"), answer(2, "again"), answer(9, "nine"))
	s.gets(v, "response 2 Far.Do two", "response 1 Far.Do one")
	e, _ := message.Errorf("FAR-1", "no").MarshalProtobuf()
	bad := answer(3, string(e))
	bad.Flags = flagError
	s.says(bad)
	s.gets(v, "error 3 Far.Do FAR-1")
	ask(4)
	bad.ID, bad.Data = 4, []byte{0xff}
	s.says(bad)
	s.gets(v, "error 4 Far.Do NANO-500")
	v.mu.Lock()
	v.fault = session.ErrBufferExceed
	v.mu.Unlock()
	ask(5)
	s.says(answer(5, "five"), link.Frame{Kind: kindPush, Session: 7, Route: "onNews"})
	s.gets(v, "error 5 Far.Do NANO-500")
	s.silent()
	if lost, late := s.Stats().Lost, s.Stats().Late; lost != 2 || late != 2 {
		t.Errorf("%d were lost and %d late, want 2 and 2", lost, late)
	}

	for id := uint64(100); id < 100+maxWaiting; id++ {
		if err := s.Forward(v.session, &message.Message{Type: message.Request, ID: id, Route: "Far.Do"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Forward(v.session, &message.Message{Type: message.Request, ID: 1, Route: "Far.Do"}); !errors.Is(err, errWaiting) {
		t.Errorf("Forward = %v with %d requests waiting, want errWaiting", err, maxWaiting)
	}
	// Each answer counts for one message, including the two late ones. Messages that the
	// other node may not have acknowledged do not count.
	if room := v.box.Room(); room != 1<<20-(maxWaiting-2)+flow.AckMessages-1 {
		t.Errorf("the mailbox has room for %d with %d messages forwarded", room, maxWaiting-2)
	}
	v.mu.Lock()
	v.sent = nil
	v.mu.Unlock()
	s.far.stop(t)
	s.eventually("all of them failed", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(v.sent) == maxWaiting
	})
	if n := s.Dispatcher.Counts.Failed.Load(); n != maxWaiting {
		t.Errorf("%d requests were counted as refused, want %d", n, maxWaiting)
	}
	if v.sent[0] != "error 100 Far.Do NANO-503" || v.box.Room() != 1<<20 {
		t.Errorf("the client got %q first, and the mailbox has room for %d, want NANO-503 and all of it", v.sent[0], v.box.Room())
	}
	if _, bound := v.session.Router().Find("Far"); bound {
		t.Error("the session is still bound to the node that is down")
	}
	err := s.Forward(v.session, &message.Message{Type: message.Request, ID: 1, Route: "Far.Do"})
	if e := (&message.Error{}); !errors.As(err, &e) || e.Code != message.CodeUnavailable {
		t.Errorf("Forward to a service whose node is down = %v, want NANO-503", err)
	}
}

// TestForwardToBrokenLink checks that a link on which a send has failed is not chosen
// again, even before it is reported down.
func TestForwardToBrokenLink(t *testing.T) {
	s := newScene(t, nil)
	v := s.enter(7)
	pc := (*s.peers.Load())[0]
	pc.mu.Lock()
	pc.down = true
	pc.mu.Unlock()
	err := s.Forward(v.session, &message.Message{Type: message.Notify, Route: "Far.Do"})
	if e := (&message.Error{}); !errors.As(err, &e) || e.Code != message.CodeUnavailable || !pc.dead.Load() {
		t.Errorf("Forward = %v, want NANO-503", err)
	}
	for what, call := range map[string]func() error{
		"CallNode": func() error { return s.CallNode(t.Context(), "Far.Do", nil, nil) },
		"Call":     func() error { return s.Call(t.Context(), v.session, "Far.Do", nil, nil) },
	} {
		if e := (&message.Error{}); !errors.As(call(), &e) || e.Code != message.CodeUnavailable {
			t.Errorf("%s = %v, want NANO-503", what, call())
		}
	}
	if links := alive(slices.Repeat(s.node.LinksTo("Far"), 2)); len(links) != 0 {
		t.Errorf("%d links are alive, want none", len(links))
	}
}

// TestForwardEntity checks that pushes, kicks and bindings from the other node reach the
// client and its session until the session closes.
func TestForwardEntity(t *testing.T) {
	s := newScene(t, func(c *Config) { c.SingleLogin = true })
	v, w := s.enter(7), s.enter(8)
	for _, v := range []*visitor{v, w} {
		if err := s.Forward(v.session, &message.Message{Type: message.Notify, Route: "Far.Do"}); err != nil {
			t.Fatal(err)
		}
		f := s.next()
		if i, err := parseIntroduction(f.Meta); err != nil || i.routes["Far"] != s.far.addr {
			t.Errorf("the session was introduced as %+v, %v, want Far at %s", i, err, s.far.addr)
		}
	}
	s.says(link.Frame{Kind: kindPush, Session: 7, Route: "onNews", Data: []byte("1")},
		link.Frame{Kind: kindMulticast, Route: "onNews", Meta: appendIDs(nil, []int64{8, 99, 7}), Data: []byte("2")})
	s.gets(v, "push 0 onNews 1", "push 0 onNews 2")
	s.gets(w, "push 0 onNews 2")
	s.says(link.Frame{Kind: kindUID, Flags: flagToGate, Session: 7, ID: 5})
	logins := func() (list []login) {
		t.Helper()
		if err := parseLogins(s.next().Data, func(l login) { list = append(list, l) }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	l := logins()
	if len(l) != 1 || l[0].session != 7 || l[0].uid != 5 || l[0].old != 0 {
		t.Errorf("the other node got %+v, want session 7 of user 5", l)
	}
	s.hears(link.Frame{Kind: kindUID, Session: 7, ID: 5}, link.Frame{Kind: kindUID, Flags: flagEcho, Session: 7, ID: 5})
	s.says(link.Frame{Kind: kindRoute, Flags: flagToGate, Session: 7, Route: "Bank", Data: []byte("10.0.0.1:1")})
	s.hears(link.Frame{Kind: kindRoute, Session: 7, Route: "Bank", Data: []byte("10.0.0.1:1")}, link.Frame{Kind: kindRoute, Flags: flagEcho, Session: 7, Route: "Bank", Data: []byte("10.0.0.1:1")})
	// A uid that the other node bound is bound here, unless the session is bound already.
	s.says(link.Frame{Kind: kindRoute, Flags: flagToGate, Session: 7, ID: ifUnbound, Route: "Bank", Data: []byte("10.0.0.2:1")})
	s.hears(link.Frame{Kind: kindRoute, Flags: flagEcho, Session: 7, Route: "Bank", Data: []byte("10.0.0.1:1")})
	s.says(link.Frame{Kind: kindRoute, Flags: flagToGate, Session: 7, ID: ifUnbound, Route: "Post", Data: []byte("10.0.0.2:1")})
	s.hears(link.Frame{Kind: kindRoute, Session: 7, Route: "Post", Data: []byte("10.0.0.2:1")}, link.Frame{Kind: kindRoute, Flags: flagEcho, Session: 7, Route: "Post", Data: []byte("10.0.0.2:1")})
	s.says(link.Frame{Kind: kindPushUser, ID: 5, Route: "onNews", Data: []byte("3")})
	s.gets(v, "push 0 onNews 3")

	// An earlier login at another node has no effect. A later one closes the session.
	older := login{session: 1, uid: 5, when: l[0].when - 1}
	later := login{session: 2, uid: 5, when: l[0].when + 1e9}
	s.says(link.Frame{Kind: kindLogins, Data: older.append(nil)})
	s.silent()
	s.gets(v)
	s.says(link.Frame{Kind: kindLogins, Data: later.append(nil)})
	s.gets(v, "kick logged in elsewhere")
	for range 2 { // logins may arrive in any order
		switch f := s.next(); f.Kind {
		case kindClosed:
			if f.Session != 7 || !errors.Is(reasonOf(&f), session.ErrReplaced) {
				t.Errorf("the other node got the end of session %d: %v, want 7, ErrReplaced", f.Session, reasonOf(&f))
			}
		case kindLogins:
			if want := (login{session: 7, old: 5}).append(nil); !bytes.Equal(f.Data, want) {
				t.Errorf("the other node got logins %x, want %x", f.Data, want)
			}
		default:
			t.Errorf("the other node got a frame of kind %d", f.Kind)
		}
	}
	if err := s.Forward(v.session, &message.Message{Type: message.Notify, Route: "Far.Do"}); !errors.Is(err, session.ErrBrokenPipe) {
		t.Errorf("Forward for a session that has finished = %v, want ErrBrokenPipe", err)
	}

	// A login that follows a login at another node gets a later time, whatever the clocks
	// are.
	if err := w.session.Bind(5); err != nil {
		t.Fatal(err)
	}
	if l := logins(); len(l) != 1 || l[0].session != 8 || !l[0].later(later) {
		t.Errorf("the other node got %+v, want session 8, later than %+v", l, later)
	}
	s.hears(link.Frame{Kind: kindUID, Session: 8, ID: 5})
	if n, err := s.Push(5, "onNews", func() {}); n != 1 || err == nil {
		t.Errorf("Push of what does not encode = %d, %v, want an error", n, err)
	}
	if n, err := s.Push(5, "onNews", []byte("x")); n != 1 || err != nil {
		t.Errorf("Push = %d, %v, want one node", n, err)
	}
	s.hears(link.Frame{Kind: kindPushUser, ID: 5, Route: "onNews", Data: []byte("x")})
	if n, err := s.Kick(5, "out"); n != 1 || err != nil {
		t.Errorf("Kick = %d, %v, want one node", n, err)
	}
	s.hears(link.Frame{Kind: kindKickUser, ID: 5, Data: []byte("out")})
	s.says(link.Frame{Kind: kindKickUser, ID: 5, Data: []byte("in")})
	s.gets(w, "kick in")
}

// TestFullQueue checks that a request fails at once if the queue to the other node is
// full, and that other dropped frames are counted.
func TestFullQueue(t *testing.T) {
	s := newScene(t, func(c *Config) { c.Node.Timing.Link.QueueBytes = 4 << 10 })
	big := bytes.Repeat([]byte("x"), 4<<10) // fills the queue
	full := func(what string, err error) {
		t.Helper()
		if e := (&message.Error{}); !errors.Is(err, link.ErrQueueFull) || !errors.As(err, &e) || e.Code != message.CodeUnavailable {
			t.Errorf("%s = %v, want NANO-503 and ErrQueueFull", what, err)
		}
	}
	v := s.enter(7)
	full("Forward", s.Forward(v.session, &message.Message{Type: message.Request, ID: 1, Route: "Far.Do", Data: big}))
	full("RPC", s.RPC(v.session, "Far.Do", big))
	full("Call", s.Call(t.Context(), v.session, "Far.Do", big, nil))
	full("CallNode", s.CallNode(t.Context(), "Far.Do", big, nil))
	for range 2 {
		if f := s.next(); f.Kind != kindCancel {
			t.Errorf("the other node got %+v, want only that the calls are given up", f)
		}
	}
	if err := s.Forward(v.session, &message.Message{Type: message.Request, ID: 2, Route: "Far.Do"}); err != nil {
		t.Fatal(err)
	}
	if f := s.next(); f.Kind != kindRequest || f.ID != 2 || len(f.Meta) == 0 {
		t.Errorf("the other node got %+v, want request 2 with an introduction", f)
	}

	s.shop.do = func(sn *session.Session, _ []byte) error {
		if err := sn.Push("onNews", big); !errors.Is(err, session.ErrBufferExceed) {
			t.Errorf("Push = %v, want ErrBufferExceed", err)
		}
		if err := sn.Response(big); !errors.Is(err, session.ErrBufferExceed) {
			t.Errorf("Response = %v, want ErrBufferExceed", err)
		}
		var m Multicast
		m.Add(sn.NetworkEntity())
		if err := errors.Join(m.Send("onNews", big), m.Send("onNews", []byte("y"))); err != nil {
			t.Errorf("Send = %v, want nil", err)
		}
		return sn.Response([]byte("z"))
	}
	s.says(link.Frame{Kind: kindRequest, Session: 9, ID: 1, Route: "Shop.Do", Meta: hello(0)})
	s.hears(link.Frame{Kind: kindMulticast, Route: "onNews", Data: []byte("y")}, link.Frame{Kind: kindResponse, Session: 9, ID: 1, Data: []byte("z")})
	if n := s.Stats().Unsent; n != 1 {
		t.Errorf("%d pushes for many clients were not sent, want 1", n)
	}
}
