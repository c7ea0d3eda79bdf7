package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	jsonserializer "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// wait is the longest time that a test waits for one event.
const wait = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Room is the component that the clients call. Its routes are room.join and so on.
type Room struct {
	component.Base
	group *nano.Group
}

type Line struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

func (r *Room) Join(s *session.Session, l *Line) (*Line, error) {
	s.Set("name", l.Name)
	return &Line{Text: "welcome, " + l.Name}, errors.Join(s.Push("onHello", l), r.group.Add(s))
}

func (r *Room) Echo(_ *session.Session, l *Line) (*Line, error) { return l, nil }

// Say handles a notify.
func (r *Room) Say(s *session.Session, l *Line) error {
	return r.group.Broadcast("onSay", &Line{Name: s.String("name"), Text: l.Text})
}

func (r *Room) Fail(*session.Session, *Line) (*Line, error) { return nil, nano.Errorf("ROOM-1", "no") }

func (r *Room) Kick(s *session.Session, l *Line) error { return s.Kick(l.Text) }

// serve starts a server and returns its host and port. The end of the test stops it.
func serve(t *testing.T, opts ...nano.Option) (host, port string) {
	t.Helper()
	components := &component.Components{}
	components.Register(&Room{group: nano.NewGroup("room")}, component.WithName("room"), component.WithNameFunc(strings.ToLower))
	srv := nano.New(append([]nano.Option{
		nano.WithComponents(components),
		nano.WithSerializer(jsonserializer.NewSerializer()),
		nano.WithSlog(slog.New(slog.NewTextHandler(t.Output(), nil))),
	}, opts...)...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeWebSocket(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := errors.Join(srv.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	host, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

// event is one line of a driver's output.
type event struct {
	Event      string          `json:"event"`
	Name       string          `json:"name"`
	N          int             `json:"n"`
	Body       json.RawMessage `json:"body"`
	Type       int             `json:"type"`
	Compressed bool            `json:"compressed"`
	Packets    int             `json:"packets"`
}

func (e event) String() string {
	b, err := json.Marshal(e)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// driver runs a client of another project under Node.
type driver struct {
	*testing.T
	in     io.WriteCloser
	events chan event // closed when the process has ended
	sent   int        // number of the last request

	// These fields count the frames that next has passed over.
	compressed map[string]int // messages with a compressed route, by "sent" and "received"
	heartbeats map[string]int
}

// drive starts a driver. The end of the test stops it.
func drive(t *testing.T, script string) *driver {
	t.Helper()
	installed(t)
	cmd := exec.Command("node", script)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &driver{T: t, in: in, events: make(chan event, 1<<16), compressed: map[string]int{}, heartbeats: map[string]int{}}
	go func() {
		defer close(d.events)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Errorf("%s prints %q: %v", script, lines.Text(), err)
				continue
			}
			d.events <- e
		}
		if err := lines.Err(); err != nil {
			t.Errorf("%s: %v", script, err)
		}
	}()
	t.Cleanup(func() {
		_ = in.Close() // closing the input ends the process
		late := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		for range d.events {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", script, err)
		}
	})
	return d
}

// installed skips the test if the clients are not installed.
func installed(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat("node_modules")
	}
	switch {
	case err == nil:
	case os.Getenv("NANO_REQUIRE_NODE") != "":
		t.Fatalf("%v: install Node, and run npm ci in interop/", err)
	default:
		t.Skipf("%v: to run this, install Node, and run npm ci in interop/", err)
	}
}

// do sends one command to the driver. v is the line.
func (d *driver) do(v map[string]any) {
	d.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		d.Fatal(err)
	}
	if _, err := d.in.Write(append(b, '\n')); err != nil {
		d.Fatal(err)
	}
}

// next returns the next event, and counts the frames before it.
func (d *driver) next() event {
	d.Helper()
	late := time.NewTimer(wait)
	defer late.Stop()
	for {
		select {
		case e, ok := <-d.events:
			if !ok {
				d.Fatal("the client has ended")
			}
			if e.Event != "sent" && e.Event != "received" {
				return e
			}
			d.count(e)
			if e.Type == heartbeat {
				return e
			}
		case <-late.C:
			d.Fatalf("nothing happened within %v", wait)
		}
	}
}

const heartbeat = 3 // the packet type

func (d *driver) count(e event) {
	d.Helper()
	if e.Packets != 1 {
		d.Errorf("a WebSocket frame that was %s holds %d packets, want 1", e.Event, e.Packets)
	}
	if e.Compressed {
		d.compressed[e.Event]++
	}
	if e.Type == heartbeat {
		d.heartbeats[e.Event]++
	}
}

// sees checks the next event. It skips heartbeats.
func (d *driver) sees(want event) {
	d.Helper()
	got := d.next()
	for got.Type == heartbeat {
		got = d.next()
	}
	if got.String() != want.String() {
		d.Fatalf("got %v, want %v", got, want)
	}
}

// request sends a request and returns the event of its answer.
func (d *driver) request(route string, body any, answer string) event {
	d.Helper()
	d.sent++
	d.do(map[string]any{"do": "request", "n": d.sent, "route": route, "body": body})
	return event{Event: "response", N: d.sent, Body: json.RawMessage(answer)}
}

func (d *driver) notify(route string, body any) {
	d.Helper()
	d.do(map[string]any{"do": "notify", "route": route, "body": body})
}

// emit is an event for a push. Its name is the route.
func emit(name string, body any) event {
	b, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprint("interop: ", err))
	}
	return event{Event: "emit", Name: name, Body: b}
}
