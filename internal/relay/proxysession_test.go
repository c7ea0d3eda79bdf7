package relay

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lonng/nano/internal/flow"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// TestServeLateAnswers checks that a request without an answer is acknowledged when it
// has run, as a notify is. Its late answer does not acknowledge it again.
func TestServeLateAnswers(t *testing.T) {
	s := newScene(t, nil)
	s.shop.do = func(*session.Session, []byte) error { return nil }
	for id := uint64(1); id <= flow.AckMessages; id++ {
		s.says(link.Frame{Kind: kindRequest, Session: 7, ID: id, Route: "Shop.Do", Meta: hello(0)})
		s.eventually("the request has run", func() bool {
			r := (*s.peers.Load())[0].session(7)
			return r != nil && r.requests.Current() == id && r.box.Room() == 4
		})
	}
	s.hears(link.Frame{Kind: kindDone, Session: 7, ID: flow.AckMessages})
	r := s.proxy(7)
	for id := uint64(1); id < flow.AckMessages; id += 2 {
		if err := r.ResponseMid(id, []byte("late")); err != nil {
			t.Fatal(err)
		}
		r.Fail(id+1, message.Errorf("SHOP-1", "sold out"))
	}
	for id := uint64(1); id < flow.AckMessages; id += 2 {
		s.hears(link.Frame{Kind: kindResponse, Flags: flagLater, Session: 7, ID: id, Data: []byte("late")})
		f := s.next()
		want := uint8(flagLater | flagError)
		if id+1 == flow.AckMessages {
			want = flagError // the last one may still be running
		}
		if f.Kind != kindResponse || f.Flags != want || f.ID != id+1 {
			t.Errorf("a frame of kind %d with flags %d for request %d, want %d with %d for %d", f.Kind, f.Flags, f.ID, kindResponse, want, id+1)
		}
	}
	// The last answer has acknowledged its request a second time, so the next
	// acknowledgment comes one message later.
	for range flow.AckMessages + 1 {
		s.says(link.Frame{Kind: kindNotify, Session: 7, Route: "Shop.Do"})
		s.eventually("the notify has run", func() bool { return r.box.Room() == 4 && r.box.Idle() })
	}
	s.hears(link.Frame{Kind: kindDone, Session: 7, ID: flow.AckMessages})
	s.silent()
}

// TestServeAnswers checks that a reply that cannot be sent returns an error to the
// handler, and that its request is answered with an error.
func TestServeAnswers(t *testing.T) {
	s := newScene(t, nil)
	faults := make(chan error, 5)
	s.shop.do = func(sn *session.Session, data []byte) error {
		switch string(data) {
		case "large":
			return sn.Response(make([]byte, 1<<24))
		case "function":
			return sn.Response(func() {})
		case "panic":
			return sn.Response(boom{})
		case "route":
			return sn.Push(strings.Repeat("x", 256), data)
		case "error":
			return sn.Response(message.Errorf("SHOP-1", "sold out"))
		case "typed":
			return sn.Response(map[string]int{"N": 1})
		case "again":
			faults <- sn.Response([]byte("once"))
			faults <- sn.Response([]byte("twice"))
			faults <- sn.Response(message.Errorf("SHOP-1", "thrice"))
			faults <- sn.NetworkEntity().ResponseMid(0, nil)
			faults <- sn.NetworkEntity().ResponseMid(1<<40, []byte("other"))
			return nil
		}
		return nil
	}
	ask := func(id uint64, data string) {
		s.says(link.Frame{Kind: kindRequest, Session: 7, ID: id, Route: "Shop.Do", Data: []byte(data), Meta: hello(0)})
	}
	for i, what := range []string{"large", "function", "panic", "route"} {
		ask(uint64(i+1), what)
		s.hears(failed(link.Frame{Kind: kindResponse, Session: 7, ID: uint64(i + 1)}, message.CodeInternal))
	}
	ask(5, "error")
	s.hears(failed(link.Frame{Kind: kindResponse, Session: 7, ID: 5}, "SHOP-1"))
	ask(5, "typed") // the client reuses the id
	s.hears(link.Frame{Kind: kindResponse, Session: 7, ID: 5, Data: []byte(`{"N":1}`)})
	ask(6, "again")
	s.hears(link.Frame{Kind: kindResponse, Session: 7, ID: 6, Data: []byte("once")})
	for i, want := range []error{nil, session.ErrSessionOnNotify, session.ErrSessionOnNotify, session.ErrSessionOnNotify, session.ErrSessionOnNotify} {
		if got := <-faults; !errors.Is(got, want) {
			t.Errorf("answer %d returned %v, want %v", i, got, want)
		}
	}
}

// boom is a value whose encoding panics.
type boom struct{}

func (boom) MarshalJSON() ([]byte, error) { panic("boom") }

// TestServeAnswersBeforeTheEnd checks that the answer of a handler that closes its own
// session precedes the close, and that nothing follows it.
func TestServeAnswersBeforeTheEnd(t *testing.T) {
	s := newScene(t, nil)
	s.shop.do = func(sn *session.Session, data []byte) error {
		if strings.HasPrefix(string(data), "close") {
			sn.Close()
		} else {
			_ = sn.Kick("bye")
		}
		if err := sn.Push("late", data); !errors.Is(err, session.ErrBrokenPipe) {
			t.Errorf("Push to the closed session = %v, want ErrBrokenPipe", err)
		}
		switch {
		case strings.HasSuffix(string(data), "fail"):
			return message.Errorf("SHOP-1", "sold out")
		case strings.HasSuffix(string(data), "panic"):
			panic("no")
		case strings.HasSuffix(string(data), "defer"):
			sn.Defer()
			return nil
		}
		return sn.Response([]byte("ok"))
	}
	for i, c := range []struct {
		data   string
		answer link.Frame
		end    link.Kind
	}{
		{"close", link.Frame{Data: []byte("ok")}, kindClose},
		{"kick", link.Frame{Data: []byte("ok")}, kindKick},
		{"close, fail", failed(link.Frame{}, "SHOP-1"), kindClose},
		{"kick, fail", failed(link.Frame{}, "SHOP-1"), kindKick},
		{"kick, panic", failed(link.Frame{}, message.CodeInternal), kindKick},
		{"close, defer", link.Frame{}, kindClose},
	} {
		id := int64(i + 7)
		s.says(link.Frame{Kind: kindRequest, Session: id, ID: 1, Route: "Shop.Do", Data: []byte(c.data), Meta: hello(0)})
		if c.answer.Data != nil {
			c.answer.Kind, c.answer.Session, c.answer.ID = kindResponse, id, 1
			s.hears(c.answer)
		}
		end := link.Frame{Kind: c.end, Session: id}
		if c.end == kindKick {
			end.Data = []byte("bye")
		}
		s.hears(end)
		s.silent()
	}
	// Answering a notify returns an error.
	heard := make(chan struct{})
	s.shop.do = func(sn *session.Session, _ []byte) error {
		sn.Close()
		<-heard
		return nil
	}
	s.says(link.Frame{Kind: kindNotify, Session: 20, Route: "Shop.Do", Meta: hello(0)})
	s.hears(link.Frame{Kind: kindClose, Session: 20})
	close(heard)
	s.silent()
}

// TestServeBinds checks that values from the gate do not replace a binding of this node
// until the gate has seen the binding.
func TestServeBinds(t *testing.T) {
	s := newScene(t, nil)
	bound := make(chan error, 10)
	s.shop.do = func(sn *session.Session, data []byte) error {
		for _, uid := range data {
			bound <- sn.Bind(int64(uid))
			sn.Router().Bind("Bank", fmt.Sprint("10.0.0.", uid))
		}
		return nil
	}
	s.says(link.Frame{Kind: kindNotify, Session: 7, Route: "Shop.Do", Data: []byte{1, 2}, Meta: hello(0)})
	for _, uid := range []uint64{1, 2} {
		s.hears(link.Frame{Kind: kindUID, Flags: flagToGate, Session: 7, ID: uid},
			link.Frame{Kind: kindRoute, Flags: flagToGate, Session: 7, Route: "Bank", Data: fmt.Append(nil, "10.0.0.", uid)})
	}
	r := s.proxy(7)
	is := func(uid int64, address string) {
		t.Helper()
		s.silent()
		if got, _ := r.session.Router().Find("Bank"); r.session.UID() != uid || got != address {
			t.Errorf("the session has uid %d and Bank at %q, want %d and %q", r.session.UID(), got, uid, address)
		}
	}
	s.says(link.Frame{Kind: kindUID, Session: 7, ID: 9}, link.Frame{Kind: kindRoute, Session: 7, Route: "Bank", Data: []byte("10.0.0.9")})
	is(2, "10.0.0.2")
	s.says(link.Frame{Kind: kindUID, Flags: flagEcho, Session: 7, ID: 1}, link.Frame{Kind: kindRoute, Flags: flagEcho, Session: 7, Route: "Bank", Data: []byte("10.0.0.1")})
	is(2, "10.0.0.2")
	s.says(link.Frame{Kind: kindUID, Flags: flagEcho, Session: 7, ID: 3}, link.Frame{Kind: kindRoute, Flags: flagEcho, Session: 7, Route: "Bank", Data: []byte("10.0.0.3")})
	is(3, "10.0.0.3") // the gate has another value now
	s.says(link.Frame{Kind: kindUID, Session: 7}, link.Frame{Kind: kindRoute, Session: 7, Route: "Bank"})
	is(0, "")
	if list := s.SessionsByUID(3); len(list) != 0 {
		t.Errorf("SessionsByUID = %v, want none", list)
	}
}
