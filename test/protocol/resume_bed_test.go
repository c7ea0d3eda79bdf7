package protocol_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// resumeBed is a server with resume in fake time, and one client with its session.
type resumeBed struct {
	t      *testing.T
	at     *testkit.Server
	client *testkit.ResumeClient
	wire   *testkit.Wire
	s      *session.Session

	mu    sync.Mutex
	trace []string
}

func inResumeBed(t *testing.T, kind string, opts []nano.Option, f func(b *resumeBed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &resumeBed{t: t, client: &testkit.ResumeClient{}}
		game := testkit.NewGame(func(s *session.Session, data []byte) error {
			if b.s == nil {
				b.s = s
				s.OnSuspend(func(_ *session.Session, err error) { b.note("suspend: %v", err) })
				s.OnResume(func(*session.Session) { b.note("resume") })
				s.OnClose(func(_ *session.Session, err error) { b.note("close: %v", err) })
			}
			b.note("do %s", data)
			return s.Response(data)
		})
		b.at = testkit.Start(t, kind, game, append([]nano.Option{nano.WithResume(nano.Resume{})}, opts...)...)
		b.connect()
		b.client.Send(testkit.Request(1, "Game.Do", "hello"))
		b.next("hello")
		b.forget()
		f(b)
	})
}

func (b *resumeBed) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trace = append(b.trace, fmt.Sprintf(format, args...))
}

// steps checks the events since the last call.
func (b *resumeBed) steps(want ...string) {
	b.t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if got, want := strings.Join(b.trace, "\n"), strings.Join(want, "\n"); got != want {
		b.t.Errorf("it happened:\n%s\nwant:\n%s", got, want)
	}
	b.trace = nil
}

// forget drops the recorded events.
func (b *resumeBed) forget() {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trace = nil
}

// closed checks that the session closed, that the reason's text begins with that of err,
// and that there was no other event.
func (b *resumeBed) closed(err error) {
	b.t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.trace) != 1 || !strings.HasPrefix(b.trace[0], "close: "+err.Error()) {
		b.t.Errorf("it happened: %v, want a close: %v", b.trace, err)
	}
}

// dial opens a connection.
func (b *resumeBed) dial() *testkit.Wire {
	b.t.Helper()
	return b.at.DialPatient().Wire
}

// connect resumes the client's session over a new connection.
func (b *resumeBed) connect() testkit.ResumeAnswer {
	b.t.Helper()
	b.wire = b.dial()
	a, err := b.client.Connect(b.wire)
	if err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
	return a
}

// ask sends a handshake over a new connection.
func (b *resumeBed) ask(token string, received uint64) (*testkit.Wire, testkit.ResumeAnswer) {
	b.t.Helper()
	w := b.dial()
	a, err := testkit.Ask(w, fmt.Sprintf(`{"sys":{"resume":{"token":%q,"received":%d}}}`, token, received))
	if err != nil {
		b.t.Fatal(err)
	}
	return w, a
}

// drop cuts the connection.
func (b *resumeBed) drop() {
	b.t.Helper()
	_ = b.wire.Conn.Close()
	b.client.Lost()
	synctest.Wait()
}

// next checks the payloads of the next messages.
func (b *resumeBed) next(want ...string) {
	b.t.Helper()
	for _, text := range want {
		m, err := b.client.Next(b.wire)
		if err != nil || string(m.Data) != text {
			b.t.Fatalf("%v, %v came, want %q", m, err, text)
		}
	}
}

func (b *resumeBed) push(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		if err := b.s.Push("news", []byte(text)); err != nil {
			b.t.Errorf("Push = %v", err)
		}
	}
	synctest.Wait()
}

// refused checks that the resume is refused, and its reason.
func (b *resumeBed) refused(reason string) {
	b.t.Helper()
	if a := b.connect(); a.Resumed || a.Reason != reason || a.Token == "" {
		b.t.Errorf("answer %+v, want a new session for the reason %q", a, reason)
	}
}
