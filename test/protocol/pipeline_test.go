package protocol_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/session"
)

// TestInboundHooks checks that inbound hooks get every message in order, and may change
// or refuse it.
func TestInboundHooks(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		var mu sync.Mutex
		var seen []string
		note := func(name string) pipeline.Func {
			return func(s *session.Session, m *pipeline.Message) error {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, fmt.Sprintf("%s %v %d %s %s", name, m.Type, m.ID, m.Route, m.Data))
				if s == nil || s.RemoteAddr() == nil {
					t.Error("a hook has no session")
				}
				return nil
			}
		}
		hooks := pipeline.New()
		hooks.Inbound().PushBack(note("second"))
		hooks.Inbound().PushFront(note("first"))
		hooks.Inbound().PushBack(func(_ *session.Session, m *pipeline.Message) error {
			text := string(m.Data)
			switch {
			case m.Route == "Game.Alias":
				m.Route = "Game.Echo"
			case text == "change":
				m.Data = []byte("changed")
			case text == "change in place":
				copy(m.Data, "CHANGE")
			case text == "refuse":
				return nano.Errorf("HOOK-1", "refused")
			case text == "fail":
				return testkit.ErrSecret
			case text == "panic":
				panic(testkit.ErrSecret)
			case text == "break":
				m.ID, m.Type = 77, message.Push // changes that have no effect
			}
			return nil
		})
		hooks.Inbound().PushBack(note("last"))
		at := testkit.Start(t, kind, &testkit.Game{}, nano.WithPipeline(hooks), nano.WithDictionary(map[string]uint16{"Game.Alias": 5}))
		p := at.Join()
		for i, test := range []struct{ send, want string }{
			{"hello", "hello"}, {"change", "changed"}, {"change in place", "CHANGE in place"}, {"break", "break"},
			{"refuse", "HOOK-1: refused"}, {"fail", "NANO-500: internal error"}, {"panic", "NANO-500: internal error"}, {"", ""},
		} {
			id := uint64(i) + 1
			m, err := p.Wire.Call(id, "Game.Echo", test.send)
			if err != nil {
				t.Fatal(err)
			}
			got := string(m.Data)
			if m.Err {
				got = p.ErrorOf(m).Error()
			}
			if got != test.want {
				t.Errorf("%q was answered by %q, want %q", test.send, got, test.want)
			}
			p.Send(testkit.Notify("Game.Echo", test.send))
		}
		p.Send(testkit.DataPacket("\x01\x14\x00\x05by code"))
		if m := p.Next(); m.ID != 20 || string(m.Data) != "by code" {
			t.Errorf("%v %q came, want the answer of the handler that the hook named", m, m.Data)
		}
		if e := p.CallError(21, "Game.Missing", ""); e.Code != nano.CodeNotFound {
			t.Errorf("%v, want NANO-404", e)
		}
		mu.Lock()
		want := []string{
			"first request 1 Game.Echo hello", "second request 1 Game.Echo hello", "last request 1 Game.Echo hello",
			"first notify 0 Game.Echo hello", "second notify 0 Game.Echo hello", "last notify 0 Game.Echo hello",
			"first request 2 Game.Echo change", "second request 2 Game.Echo change", "last request 2 Game.Echo changed",
		}
		if len(seen) < len(want) || !slices.Equal(seen[:len(want)], want) {
			t.Errorf("the hooks saw %q, want %q first", seen, want)
		}
		if !slices.Contains(seen, "first request 20 Game.Alias by code") || !slices.Contains(seen, "last request 20 Game.Echo by code") {
			t.Errorf("the hooks did not see the compressed route spelled out: %q", seen)
		}
		if slices.ContainsFunc(seen, func(s string) bool { return strings.HasPrefix(s, "last") && strings.Contains(s, "refuse") }) {
			t.Error("hooks ran after one that refused the message")
		}
		mu.Unlock()
		if n := at.Stats().Panics; n != 2 {
			t.Errorf("%d panics were counted, want 2", n)
		}
	}
}

// TestOutboundHooks checks that outbound hooks get every message that the program sends,
// with the route of its request, and may change or refuse it.
func TestOutboundHooks(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		var mu sync.Mutex
		var seen []string
		hooks := pipeline.New()
		hooks.Outbound().PushBack(func(s *session.Session, m *pipeline.Message) error {
			mu.Lock()
			seen = append(seen, fmt.Sprintf("%v %d %s %v", m.Type, m.ID, m.Route, m.Err))
			mu.Unlock()
			switch text := string(m.Data); {
			case strings.HasPrefix(text, "change"):
				m.Data = append(m.Data, fmt.Sprint(" for ", s.UID())...)
			case text == "refuse":
				return errors.New("refused")
			case text == "panic":
				panic(testkit.ErrSecret)
			case text == "break":
				m.ID, m.Type, m.Err = 77, message.Request, true
			case text == "move":
				m.Route = "onMoved"
			}
			return nil
		})
		group := nano.NewGroup("all")
		pushed := make(chan error, 10)
		at := testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
			if string(data) == "in" {
				if err := errors.Join(s.Bind(int64(group.Count())+1), group.Add(s)); err != nil {
					return err
				}
			}
			pushed <- s.Push("onNews", data)
			return s.Response(data)
		}}, nano.WithPipeline(hooks))
		p, q := at.Join(), at.Join()
		for _, c := range []*testkit.Client{p, q} {
			c.Send(testkit.Request(1, "Game.Do", "in"))
			if a, b := c.Next(), c.Next(); a.Route != "onNews" || b.ID != 1 {
				t.Fatalf("%v and %v came", a, b)
			}
			if err := testkit.Receive(t, pushed, "the push"); err != nil {
				t.Fatal(err)
			}
		}
		for i, test := range []struct{ send, push, answer string }{
			{"hello", "onNews hello", "hello"},
			{"change", "onNews change for 1", "change for 1"},
			{"refuse", "", "NANO-500: internal error"},
			{"panic", "", "NANO-500: internal error"},
			{"break", "onNews break", "break"},
			{"move", "onMoved move", "move"},
		} {
			id := uint64(i) + 2
			p.Send(testkit.Request(id, "Game.Do", test.send))
			err := testkit.Receive(t, pushed, "the push")
			if (err == nil) != (test.push != "") {
				t.Errorf("%s: Push = %v", test.send, err)
			}
			if test.push != "" {
				if m := p.Next(); m.Type != message.Push || m.Route+" "+string(m.Data) != test.push {
					t.Errorf("%s: %v %q came, want %q", test.send, m, m.Data, test.push)
				}
			}
			m := p.Next()
			got := string(m.Data)
			if m.Err {
				got = p.ErrorOf(m).Error()
			}
			if m.ID != id || got != test.answer {
				t.Errorf("%s: %v %q came, want %q", test.send, m, got, test.answer)
			}
		}
		// Hooks run once for each member of a broadcast.
		if err := group.Broadcast("onAll", []byte("change")); err != nil {
			t.Fatal(err)
		}
		for i, c := range []*testkit.Client{p, q} {
			if m := c.Next(); m.Route != "onAll" || string(m.Data) != fmt.Sprint("change for ", i+1) {
				t.Errorf("%v %q came to member %d", m, m.Data, i+1)
			}
		}
		mu.Lock()
		for _, want := range []string{"push 0 onNews false", "response 2 Game.Do false", "response 4 Game.Do true", "push 0 onAll false"} {
			if !slices.Contains(seen, want) {
				t.Errorf("the hooks saw %q, want %q among it", seen, want)
			}
		}
		mu.Unlock()
	}
}
