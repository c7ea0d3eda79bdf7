package nano_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// lines is a program's logger. The library must not end the process.
type lines struct {
	t    testing.TB
	mu   sync.Mutex
	list []string
}

func (l *lines) Println(v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(v) != 1 {
		l.t.Errorf("Println(%v), want one value", v)
	}
	line, ok := v[0].(string)
	if !ok || strings.HasSuffix(line, "\n") || strings.Count(line, "\n") > 0 {
		l.t.Errorf("Println(%q), want one line", v)
	}
	l.list = append(l.list, line)
}

func (l *lines) Fatal(v ...any)            { l.t.Errorf("Fatal(%v)", v) }
func (l *lines) Fatalf(f string, v ...any) { l.t.Errorf("Fatalf(%s, %v)", f, v) }

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.list, "\n")
}

// busy has a server do everything that could be logged at message level, and ends it.
func busy(t *testing.T, opts ...nano.Option) {
	t.Helper()
	components := &component.Components{}
	components.Register(&Game{do: func(s *session.Session, _ []byte) error { return s.Kick("enough") }})
	s := nano.New(append([]nano.Option{nano.WithComponents(components), nano.WithSerializer(json.NewSerializer())}, opts...)...)
	for _, kind := range sockets {
		at := serve(t, s, kind)
		p := at.client()
		p.echo(1, "hello")
		p.call(2, "Game.Double", `{"N":1}`)
		_ = p.fails(3, "Game.Refuse", "")
		_ = p.fails(4, "No.Such", "")
		_ = p.fails(5, "Game.Double", "{")
		p.send(notify("No.Such", ""), notify("Game.Do", ""))
		p.ends()
		p = at.client()
		p.send([]byte{0})
		p.ends()
		p = at.dial()
		p.shake("{")
		p.ends()
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What clients do is not logged, unless in debug mode. The first refusal of a route is: the program may have a typo.
func TestQuietAtMessageLevel(t *testing.T) {
	t.Parallel()
	l := &lines{t: t}
	busy(t, nano.WithLogger(l))
	for line := range strings.Lines(l.all()) {
		if !strings.Contains(line, `level=INFO msg="nano: message refused" route=`) {
			t.Errorf("logged %s, want nothing but refusals", line)
		}
	}
	if n := strings.Count(l.all(), "message refused"); n != 2 {
		t.Errorf("%d refusals logged, want No.Such and Game.Double once", n)
	}
	l = &lines{t: t}
	busy(t, nano.WithLogger(l), nano.WithDebugMode())
	got := l.all()
	for _, want := range []string{"level=DEBUG", "route=Game.Echo", "protocol error", "session closes"} {
		if !strings.Contains(got, want) {
			t.Errorf("logged in debug mode:\n%s\nwant %q in it", got, want)
		}
	}
	if strings.Contains(got, "time=") {
		t.Errorf("logged:\n%s\nwant the time to be left to the program's logger", got)
	}
}

// What a program does wrong is logged, wherever it is told to.
func TestFaultsAreLogged(t *testing.T) {
	t.Parallel()
	l, j := &lines{t: t}, newJournal()
	for _, opt := range []nano.Option{nano.WithLogger(l), j.option()} {
		at := open(t, "tcp", &Game{do: func(*session.Session, []byte) error {
			time.Sleep(2 * time.Millisecond)
			return nil
		}}, opt, nano.WithSlowHandler(time.Millisecond))
		p := at.client()
		_ = p.fails(1, "Game.Fail", "")
		_ = p.fails(2, "Game.Panic", "")
		p.send(notify("Game.Do", ""))
		p.echo(3, "still here")
		at.Invoke(func() { panic("a task") })
		p.abort()
		if err := at.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for name, got := range map[string]string{"Logger": l.all(), "slog": j.all()} {
		for _, want := range []string{
			"nano: handler failed", "route=Game.Fail", errSecret.Error(),
			"nano: panic in a handler", "route=Game.Panic", "site_test.go", // the stack
			"nano: slow handler", "route=Game.Do", "nano: panic in a task",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: logged:\n%s\nwant %q in it", name, got, want)
			}
		}
	}
}

// all returns every record as text.
func (l *journal) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	h := slog.NewTextHandler(&b, nil)
	for _, r := range l.records {
		_ = h.Handle(context.Background(), r)
	}
	return b.String()
}
