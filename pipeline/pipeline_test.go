package pipeline_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/session"
)

func TestOrder(t *testing.T) {
	p := pipeline.New()
	for name, c := range map[string]pipeline.Channel{"inbound": p.Inbound(), "outbound": p.Outbound()} {
		var order []string
		hook := func(name string) pipeline.Func {
			return func(*session.Session, *pipeline.Message) error {
				order = append(order, name)
				return nil
			}
		}
		c.PushBack(hook("b"))
		c.PushBack(hook("c"))
		c.PushFront(hook("a"))
		c.PushBack(hook("d"))
		c.PushFront(hook("first"))
		if err := c.Process(nil, &pipeline.Message{}); err != nil {
			t.Errorf("%s: Process = %v, want nil", name, err)
		}
		if want := []string{"first", "a", "b", "c", "d"}; !slices.Equal(order, want) {
			t.Errorf("%s: order = %q, want %q", name, order, want)
		}
	}
}

func TestChannelsAreTheSameEachTime(t *testing.T) {
	p := pipeline.New()
	if p.Inbound() != p.Inbound() || p.Outbound() != p.Outbound() || p.Inbound() == p.Outbound() {
		t.Error("Inbound and Outbound: want each the same every time, and two of them")
	}
	p.Inbound().PushBack(func(*session.Session, *pipeline.Message) error { return errors.New("inbound") })
	if err := p.Outbound().Process(nil, &pipeline.Message{}); err != nil {
		t.Errorf("outbound Process = %v with an inbound hook, want nil", err)
	}
	if err := pipeline.New().Inbound().Process(nil, &pipeline.Message{}); err != nil {
		t.Errorf("Process of another pipeline = %v, want nil", err)
	}
}

func TestFirstErrorEnds(t *testing.T) {
	c := pipeline.New().Inbound()
	refused := errors.New("refused")
	behind := false
	c.PushBack(func(*session.Session, *pipeline.Message) error { return refused })
	c.PushBack(func(*session.Session, *pipeline.Message) error { behind = true; return nil })
	if err := c.Process(nil, &pipeline.Message{}); err != refused || behind {
		t.Errorf("Process = %v, the hook behind ran: %v, want the very error, and false", err, behind)
	}
}

func TestHooksSeeAndChangeTheMessage(t *testing.T) {
	c := pipeline.New().Inbound()
	s := session.New(mock.NewNetworkEntity())
	c.PushBack(func(got *session.Session, m *pipeline.Message) error {
		if got != s {
			t.Errorf("the hook got session %p, want %p", got, s)
		}
		m.Data = append(m.Data, '1')
		return nil
	})
	c.PushBack(func(_ *session.Session, m *pipeline.Message) error {
		m.Data, m.Route = append(m.Data, '2'), strings.ToUpper(m.Route)
		return nil
	})
	m := &pipeline.Message{Route: "room.join", Data: []byte("0")}
	if err := c.Process(s, m); err != nil || m.Route != "ROOM.JOIN" || string(m.Data) != "012" {
		t.Errorf("Process = %v, route %q, data %q, want ROOM.JOIN and 012", err, m.Route, m.Data)
	}
}

// TestHooksAddedByAHook checks that a hook that adds hooks changes the list for the next
// message, but not for its own.
func TestHooksAddedByAHook(t *testing.T) {
	c := pipeline.New().Outbound()
	var order []string
	note := func(what string) pipeline.Func {
		return func(*session.Session, *pipeline.Message) error { order = append(order, what); return nil }
	}
	once := false
	c.PushBack(func(*session.Session, *pipeline.Message) error {
		order = append(order, "hook")
		if !once {
			once = true
			c.PushFront(note("front"))
			c.PushBack(note("back"))
		}
		return nil
	})
	c.PushBack(note("next"))
	for range 2 {
		if err := c.Process(nil, &pipeline.Message{}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"hook", "next", "front", "hook", "next", "back"}; !slices.Equal(order, want) {
		t.Errorf("order = %q, want %q", order, want)
	}
}

// TestConcurrentUse checks that no hook is lost if hooks are added concurrently, and that
// every message passes a complete list.
func TestConcurrentUse(t *testing.T) {
	const goroutines, each = 4, 50
	c := pipeline.New().Inbound()
	var ran atomic.Int64
	hook := func(*session.Session, *pipeline.Message) error { ran.Add(1); return nil }
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for range each {
				if i%2 == 0 {
					c.PushFront(hook)
				} else {
					c.PushBack(hook)
				}
				if err := c.Process(nil, &pipeline.Message{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	ran.Store(0)
	if err := c.Process(nil, &pipeline.Message{}); err != nil || ran.Load() != goroutines*each {
		t.Errorf("Process = %v, %d hooks ran, want nil and %d", err, ran.Load(), goroutines*each)
	}
}

func TestProcessAllocatesNothing(t *testing.T) {
	c := pipeline.New().Inbound()
	for range 3 {
		c.PushBack(func(*session.Session, *pipeline.Message) error { return nil })
	}
	m := &pipeline.Message{}
	n := testing.AllocsPerRun(100, func() {
		if err := c.Process(nil, m); err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("Process allocates %v times, want 0", n)
	}
}

func Example() {
	p := pipeline.New() // passed to nano.WithPipeline
	p.Inbound().PushBack(func(s *session.Session, msg *pipeline.Message) error {
		if len(msg.Data) > 16 {
			return errors.New("the message is too long")
		}
		return nil
	})
	p.Inbound().PushFront(func(s *session.Session, msg *pipeline.Message) error {
		msg.Data = []byte(strings.TrimSpace(string(msg.Data)))
		return nil
	})

	s := session.New(mock.NewNetworkEntity())
	msg := &pipeline.Message{Route: "room.say", Data: []byte("  hello  ")}
	err := p.Inbound().Process(s, msg) // the server calls this for every message
	fmt.Printf("%q %v\n", msg.Data, err)
	// Output: "hello" <nil>
}
