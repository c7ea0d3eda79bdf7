package nanotest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// Room is the component of the examples in the package documentation.
type Room struct {
	component.Base
	group *nano.Group
}

func (r *Room) Join(s *session.Session, _ []byte) error {
	if err := r.group.Add(s); err != nil {
		return err
	}
	return s.Response([]byte("{}"))
}

func (r *Room) Say(_ *session.Session, l *Line) error { return r.group.Broadcast("onSay", l) }

func (r *Room) Tick() { _ = r.group.Broadcast("onTick", nil) }

func start(t *testing.T) (*nanotest.Server, *Room) {
	room := &Room{group: nano.NewGroup("lobby")}
	rooms := &component.Components{}
	rooms.Register(room)
	return nanotest.Start(t, nano.WithComponents(rooms), nano.WithSerializer(json.NewSerializer())), room
}

func TestSay(t *testing.T) {
	srv, _ := start(t)
	ann, bob := srv.Connect(t), srv.Connect(t)
	for _, p := range []*nanotest.Player{ann, bob} {
		if err := p.Request(t.Context(), "Room.Join", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := bob.Notify("Room.Say", &Line{Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	var heard Line
	ann.WaitFor("onSay", time.Second, &heard)
	if heard.Text != "hello" {
		t.Errorf("Ann heard %q, want hello", heard.Text)
	}
}

func TestTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, room := start(t)
		srv.Scheduler().NewTimer(10*time.Second, room.Tick)
		ann := srv.Connect(t)
		if err := ann.Request(t.Context(), "Room.Join", nil, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(65 * time.Second) // heartbeats are sent in both directions
		if n := len(ann.Pushes("onTick")); n != 6 {
			t.Errorf("%d ticks in 65 s, want one every 10 s", n)
		}
	})
}

func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &Room{group: nano.NewGroup("lobby")}
		rooms := &component.Components{}
		rooms.Register(room)
		srv := nanotest.Start(t, nano.WithComponents(rooms), nano.WithSerializer(json.NewSerializer()),
			nano.WithResume(nano.Resume{Window: time.Minute}))
		ann := srv.Connect(t)
		if err := ann.Request(t.Context(), "Room.Join", nil, nil); err != nil {
			t.Fatal(err)
		}
		ann.Drop()
		time.Sleep(59 * time.Second)
		srv.Do(room.Tick)
		ann.Return()
		ann.Wait("onTick", time.Second)
	})
}

// A player that loses its connection returns within the window, and receives the messages
// sent meanwhile.
func ExamplePlayer_Drop() {
	var t *testing.T // of the test
	srv := nanotest.Start(t, nano.WithResume(nano.Resume{Window: time.Minute}))
	ann := srv.Connect(t)
	ann.Drop()
	time.Sleep(59 * time.Second) // takes no time in a test with testing/synctest
	ann.Return()
	ann.Wait("onTick", time.Second)
}

// Greeter is a component with one handler.
type Greeter struct{ component.Base }

func (*Greeter) Greet(_ *session.Session, l *Line) (*Line, error) {
	return &Line{Text: "Hello, " + l.Text}, nil
}

// A Listener also serves examples, which have no testing.TB.
func ExampleListen() {
	components := &component.Components{}
	components.Register(&Greeter{})
	srv := nano.New(nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()),
		nano.WithSlog(slog.New(slog.DiscardHandler)))
	l := nanotest.Listen()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, l.Addr().String(), client.WithDialer(l.DialContext))
	if err != nil {
		log.Fatal(err)
	}
	var greeting Line
	if err := c.Request(ctx, "Greeter.Greet", &Line{Text: "Ada"}, &greeting); err != nil {
		log.Fatal(err)
	}
	fmt.Println(greeting.Text)
	if err := errors.Join(c.Close(), srv.Shutdown(ctx), <-served); err != nil {
		log.Fatal(err)
	}
	// Output: Hello, Ada
}
