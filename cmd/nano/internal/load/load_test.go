package load

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cmd/nano/internal/payload"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

type note struct{ Text string }

// echo is the component for the clients of a load. stall blocks the logic goroutine once.
type echo struct {
	component.Base
	stall   time.Duration
	stalled bool
	names   map[string]bool
}

func (e *echo) Join(_ *session.Session, n *note) (*note, error) {
	e.names[n.Text] = true
	return n, nil
}

func (e *echo) Say(_ *session.Session, n *note) (*note, error) {
	if e.stall > 0 && !e.stalled {
		e.stalled = true
		time.Sleep(e.stall)
	}
	return n, nil
}

func (*echo) Shout(s *session.Session, n *note) error { return s.Push("onShout", n) }

func (*echo) Refuse(*session.Session, *note) (*note, error) { return nil, nano.Errorf("ECHO-NO", "no") }

// serve runs a server and returns its address.
func serve(t *testing.T, e *echo) string {
	t.Helper()
	e.names = map[string]bool{}
	cs := &component.Components{}
	cs.Register(e, component.WithName("echo"))
	srv := nano.New(nano.WithComponents(cs), nano.WithSerializer(json.NewSerializer()))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) }) // ends with Shutdown
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return l.Addr().String()
}

func config(t *testing.T, addr, scenario string) Config {
	t.Helper()
	s, err := Read(strings.NewReader(scenario))
	if err != nil {
		t.Fatal(err)
	}
	codec, err := payload.New(nil, payload.JSON)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Addr: addr, Clients: 3, Rate: 600, For: 500 * time.Millisecond, Timeout: 10 * time.Second, Scenario: s, Codec: codec}
}

func TestRun(t *testing.T) {
	e := &echo{}
	addr := serve(t, e)
	r, err := Run(t.Context(), config(t, addr, "request echo.Join {\"Text\": \"user {n}\"}\nloop\nrequest echo.Say {}\nnotify echo.Shout {}\nrequest echo.Refuse {}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != 300 || r.Answers != 201 && r.Answers != 200 || r.Errors["ECHO-NO"] < 99 || int64(len(r.Errors)) != 1 {
		t.Errorf("the result is %+v, want 300 messages, two of three answered and one of three refused", r)
	}
	if r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.P999 || r.P999 > r.Max {
		t.Errorf("the latencies are %v, %v, %v and %v", r.P50, r.P99, r.P999, r.Max)
	}
	if len(e.names) != 3 || !e.names["user 3"] {
		t.Errorf("%v joined, want user 1 to 3", e.names)
	}
}

// A stall of the server shows in every request that was due meanwhile, not only in those that were on their way.
func TestStall(t *testing.T) {
	addr := serve(t, &echo{stall: 300 * time.Millisecond})
	r, err := Run(t.Context(), config(t, addr, "request echo.Say {}"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Max < 300*time.Millisecond || r.P50 < 10*time.Millisecond {
		t.Errorf("half of the requests took %v and one took %v, although the server stood still for 300 of 500 ms", r.P50, r.Max)
	}
}

func TestFaults(t *testing.T) {
	addr := serve(t, &echo{})
	for scenario, want := range map[string]string{
		"request echo.Refuse {}\nloop\nrequest echo.Say {}": "echo.Refuse: ECHO-NO",
		"request echo.Say {\nloop\nrequest echo.Say {}":     "not JSON",
	} {
		if _, err := Run(t.Context(), config(t, addr, scenario)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run(%q) = %v, want %q in it", scenario, err, want)
		}
	}
	r, err := Run(t.Context(), config(t, addr, "request echo.None {}"))
	if err != nil || r.Errors["NANO-404"] != 300 {
		t.Errorf("an unknown route = %+v, %v, want 300 errors NANO-404", r, err)
	}
	for text, want := range map[string]string{
		"":                        "no message to repeat",
		"# nothing\nloop\n":       "no message to repeat",
		"loop\nloop\nnotify a":    "line 2: there is a loop already",
		"shout a":                 "line 1: want request ROUTE",
		"request":                 "line 1: want request ROUTE",
		"request a\nloop\n\nfoo ": "line 4: want request ROUTE",
	} {
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Read(%q) = %v, want %q in it", text, err, want)
		}
	}
}
