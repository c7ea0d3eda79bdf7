package repl

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/cmd/nano/internal/contract"
	"github.com/lonng/nano/cmd/nano/internal/payload"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

type note struct {
	Text  string
	Count int
}

// echo is the component that serves the sessions' requests.
type echo struct{ component.Base }

func (*echo) Say(_ *session.Session, n *note) (*note, error) { return n, nil }

func (*echo) Refuse(*session.Session, *note) (*note, error) {
	return nil, nano.Errorf("ECHO-NO", "not that")
}

func (*echo) Shout(s *session.Session, n *note) error {
	for i := range n.Count {
		if err := s.Push("onShout", &note{strings.ToUpper(n.Text), i}); err != nil {
			return err
		}
	}
	return nil
}

func (*echo) Leave(s *session.Session, _ *note) error { return s.Kick("bye") }

// output is a buffer that a session writes and the test reads.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// dial starts a server and connects a session to it.
func dial(t *testing.T, c *contract.Contract) (*Session, *output) {
	t.Helper()
	cs := &component.Components{}
	cs.Register(&echo{}, component.WithName("echo"))
	srv := nano.New(nano.WithComponents(cs), nano.WithSerializer(json.NewSerializer()))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) }) // Shutdown ends it
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	codec, err := payload.New(c, payload.JSON)
	if err != nil {
		t.Fatal(err)
	}
	out := &output{}
	s, err := Dial(t.Context(), Config{Addr: l.Addr().String(), Codec: codec, Contract: c, Out: out, Timeout: 10 * time.Second,
		Options: []client.Option{client.WithDialTimeout(10 * time.Second)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, out
}

func TestScript(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"a reply", "request echo.Say {\"Text\": \"a b\", \"Count\": 3}\nexpect reply {\"Count\": 3}", ""},
		{"another reply", "request echo.Say {\"Count\": 3}\n\nexpect reply {\"Count\": 4}", "s:3: Count is 3, want 4"},
		{"the zero request", "request echo.Say\nexpect reply {\"Text\": \"\", \"Count\": 0}", ""},
		{"an error", "request echo.Refuse\nexpect error ECHO-NO", ""},
		{"an error in the middle", "request echo.Refuse\nrequest echo.Say", "s:2: echo.Refuse: ECHO-NO: not that"},
		{"an error at the end", "request echo.Refuse", "s:1: echo.Refuse: ECHO-NO: not that"},
		{"another error", "request echo.Refuse\nexpect error OTHER", "want the error OTHER"},
		{"no error", "request echo.Say\nexpect error OTHER", "did not fail"},
		{"an unknown route", "request echo.None\nexpect error NANO-404", ""},
		{"no reply", "expect reply {}", "has no reply"},
		{"a push", "notify echo.Shout {\"Text\": \"hi\", \"Count\": 3}\nexpect push onShout {\"Count\": 1}\nexpect push onShout {\"Text\": \"HI\", \"Count\": 2}", ""},
		{"a kick", "notify echo.Leave\nexpect closed", ""},
		{"a push that cannot come", "notify echo.Leave\nexpect push onShout", "before the connection ended"},
		{"comments", "# a comment\n   \nquit\nnonsense", ""},
		{"nonsense", "nonsense", `s:1: there is no command "nonsense"`},
		{"no route", "request", "want a route"},
		{"no JSON", "notify echo.Say {", "the payload is not JSON"},
		{"hex", "request echo.Say hex:7b7d\nexpect reply {\"Count\": 0}", ""},
		{"no hex", "request echo.Say hex:7", "the payload: encoding/hex"},
		{"no duration", "sleep long", "want a duration"},
		{"no expectation", "expect rain", "want expect reply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, out := dial(t, nil)
			err := s.Script(t.Context(), "s", strings.NewReader(c.script))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("the script = %v, want %q; it printed\n%s", err, c.want, out)
			}
		})
	}
}

// TestPushThatDoesNotCome checks that a wait for a push ends after the timeout, and that
// the error names the push that came instead.
func TestPushThatDoesNotCome(t *testing.T) {
	s, _ := dial(t, nil)
	s.timeout = 50 * time.Millisecond
	err := s.Script(t.Context(), "s", strings.NewReader("notify echo.Shout {\"Count\": 1}\nrequest echo.Say\nexpect push onShout {\"Count\": 5}"))
	if err == nil || !strings.Contains(err.Error(), "Count is 0, want 5") {
		t.Errorf("the script = %v, want what differs", err)
	}
}

func TestOutput(t *testing.T) {
	s, out := dial(t, nil)
	for _, line := range []string{"on onOther", "notify echo.Shout {\"Count\": 1}", "expect push onShout", "request echo.Say", "on",
		"notify echo.Shout {\"Count\": 1}", "expect push onShout", "request echo.Refuse", "expect error ECHO-NO", "handshake", "history", "help"} {
		if err := s.Exec(t.Context(), line); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(out.String(), "push onShout {"); n != 1 {
		t.Errorf("%d pushes are printed, want 1 of 2:\n%s", n, out)
	}
	for _, want := range []string{`reply {"Text":"","Count":0} (`, "error ECHO-NO not that (", "user data of the server: none", "history\n", "request ROUTE [PAYLOAD]", "expect push ROUTE"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	if err := s.Exec(t.Context(), "quit"); !errors.Is(err, ErrQuit) {
		t.Errorf("quit = %v, want ErrQuit", err)
	}
}

func TestComplete(t *testing.T) {
	s := &Session{contract: &contract.Contract{
		Routes: []contract.Route{{Route: "echo.Say"}, {Route: "echo.Shout"}, {Route: "echo.Sync", Internal: true}},
		Pushes: []contract.Push{{Route: "onShout"}},
		Rooms:  []contract.Room{{Messages: []contract.Route{{Route: "pond.Jump"}}}},
	}}
	for line, want := range map[string]string{
		"":                     "expect handshake help history notify on quit request sleep",
		"h":                    "handshake help history",
		"request ":             "echo.Say echo.Shout pond.Jump",
		"notify echo.S":        "echo.Say echo.Shout",
		"request echo.Say {":   "",
		"on onOther on":        "onShout",
		"expect p":             "push",
		"expect push o":        "onShout",
		"sleep ":               "",
		"request pond.Jump {}": "",
	} {
		if got := strings.Join(s.Complete(line), " "); got != want {
			t.Errorf("Complete(%q) = %q, want %q", line, got, want)
		}
	}
}
