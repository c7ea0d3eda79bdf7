package nano_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// lines is a program's logger. The library must not end the process through it.
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

func (l *lines) Fatal(v ...any) { l.t.Errorf("Fatal(%v)", v) }

func (l *lines) Fatalf(f string, v ...any) { l.t.Errorf("Fatalf(%s, %v)", f, v) }

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.list, "\n")
}

// busy runs a server, causes every event that could be logged for each message, and shuts
// the server down.
func busy(t *testing.T, opts ...nano.Option) {
	t.Helper()
	components := &component.Components{}
	components.Register(&testkit.Game{OnDo: func(s *session.Session, _ []byte) error { return s.Kick("enough") }})
	s := nano.New(append([]nano.Option{nano.WithComponents(components), nano.WithSerializer(json.NewSerializer())}, opts...)...)
	for _, kind := range testkit.Sockets {
		at := testkit.Serve(t, s, kind)
		p := at.Join()
		p.Echo(1, "hello")
		p.Call(2, "Game.Double", `{"N":1}`)
		_ = p.CallError(3, "Game.Refuse", "")
		_ = p.CallError(4, "No.Such", "")
		_ = p.CallError(5, "Game.Double", "{")
		p.Send(testkit.Notify("No.Such", ""), testkit.Notify("Game.Do", ""))
		p.ReadEnd()
		p = at.Join()
		p.Send([]byte{0})
		p.ReadEnd()
		p = at.Dial()
		p.Handshake("{")
		p.ReadEnd()
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestQuietAtMessageLevel checks that actions of clients are logged only in debug mode,
// except for the first refusal of a route. The program may have a typo in it.
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
	if strings.Contains(got, " node=") {
		t.Errorf("logged:\n%s\nwant no node without a cluster", got)
	}
	if strings.Contains(got, "time=") {
		t.Errorf("logged:\n%s\nwant the time to be left to the program's logger", got)
	}
}

// TestFaultsAreLogged checks that faults of the program are logged to every kind of
// logger.
func TestFaultsAreLogged(t *testing.T) {
	t.Parallel()
	l, j := &lines{t: t}, testkit.NewLogCapture()
	for _, opt := range []nano.Option{nano.WithLogger(l), j.Option()} {
		at := testkit.Start(t, "tcp", &testkit.Game{OnDo: func(*session.Session, []byte) error {
			time.Sleep(2 * time.Millisecond)
			return nil
		}}, opt, nano.WithSlowHandler(time.Millisecond))
		p := at.Join()
		_ = p.CallError(1, "Game.Fail", "")
		_ = p.CallError(2, "Game.Panic", "")
		p.Send(testkit.Notify("Game.Do", ""))
		p.Echo(3, "still here")
		at.Invoke(func() { panic("a task") })
		p.Abort()
		if err := at.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for name, got := range map[string]string{"Logger": l.all(), "slog": j.All()} {
		for _, want := range []string{
			"nano: handler failed", "route=Game.Fail", testkit.ErrSecret.Error(),
			"nano: panic in a handler", "route=Game.Panic", "game.go", // the stack trace
			"nano: slow handler", "route=Game.Do", "nano: panic in a task",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: logged:\n%s\nwant %q in it", name, got, want)
			}
		}
	}
}

// leveled is a program's logger with one method for each level, like those of logrus and
// zap.
type leveled struct {
	lines
	levels []string
}

func (l *leveled) Println(v ...any) { l.t.Errorf("Println(%v), want the method of the level", v) }
func (l *leveled) Debug(v ...any)   { l.add("debug", v) }
func (l *leveled) Info(v ...any)    { l.add("info", v) }
func (l *leveled) Warn(v ...any)    { l.add("warn", v) }
func (l *leveled) Error(v ...any)   { l.add("error", v) }

func (l *leveled) add(level string, v []any) {
	l.lines.Println(v...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.levels = append(l.levels, level)
}

// has reports whether a line was logged at the level.
func (l *leveled) has(level, line string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, got := range l.list {
		if l.levels[i] == level && strings.HasPrefix(got, line) {
			return true
		}
	}
	return false
}

// TestLoggerWithLevels checks that a logger with levels gets each line at its level,
// without the level in the text.
func TestLoggerWithLevels(t *testing.T) {
	t.Parallel()
	l := &leveled{lines: lines{t: t}}
	at := testkit.Start(t, "tcp", testkit.NewGame(func(*session.Session, []byte) error {
		time.Sleep(2 * time.Millisecond)
		return nil
	}), nano.WithLogger(l), nano.WithDebugMode(), nano.WithSlowHandler(time.Millisecond))
	p := at.Join()
	_ = p.CallError(1, "Game.Fail", "")
	p.Send(testkit.Notify("Game.Do", ""))
	p.Echo(2, "hello")
	for level, line := range map[string]string{
		"error": "nano: handler failed route=Game.Fail",
		"warn":  "nano: slow handler route=Game.Do",
		"debug": "nano: ",
	} {
		if !l.has(level, line) {
			t.Errorf("logged:\n%s\nat levels %v, want %q at %s", l.all(), l.levels, line, level)
		}
	}
	if got := l.all(); strings.Contains(got, "level=") || strings.Contains(got, "time=") {
		t.Errorf("logged:\n%s\nwant neither level nor time in the text", got)
	}
}
