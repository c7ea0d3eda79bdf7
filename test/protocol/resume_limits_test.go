package protocol_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// TestResumeBehindProxyBeyondTheLimits checks that a client behind a trusted proxy can
// resume although the connection limits are reached. With the PROXY protocol the server
// decides after the header and the handshake.
func TestResumeBehindProxyBeyondTheLimits(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				game := testkit.NewGame(func(s *session.Session, data []byte) error { return s.Response(data) })
				from, srv := openFrom(t, kind, game, nano.WithTrustedProxies("10.0.0.0/8"), nano.WithMaxConnections(2),
					nano.WithMaxConnectionsPerAddress(2), nano.WithResume(nano.Resume{}))
				dial := func(source string) *testkit.Wire {
					t.Helper()
					conn, err := from("10.0.0.1:1").DialConn()
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = conn.Close() })
					w := testkit.NewWire(conn)
					w.Patience = time.Hour
					if kind == "wspipe" {
						w.RequestUpgrade(t, "X-Forwarded-For: "+source)
						return w
					}
					if err := w.Raw(header(t, 2, source+":1")); err != nil {
						t.Fatal(err)
					}
					return w
				}
				client := &testkit.ResumeClient{}
				w := dial("203.0.113.9")
				if _, err := client.Connect(w); err != nil {
					t.Fatal(err)
				}
				client.Send(testkit.Request(1, "Game.Do", "hello"))
				if m, err := client.Next(w); err != nil || string(m.Data) != "hello" {
					t.Fatalf("%v, %v came, want hello", m, err)
				}
				_ = w.Conn.Close()
				client.Lost()
				synctest.Wait()
				for range 2 {
					if err := dial("203.0.113.9").Join(); err != nil {
						t.Fatal(err)
					}
				}
				for _, handshake := range []string{`{}`, `{"sys":{"resume":{"token":"guess"}}}`} {
					w := dial("203.0.113.8")
					if text, err := w.Handshake(handshake); !strings.Contains(text, "too many connections") {
						t.Errorf("handshake %s was answered by %s, %v", handshake, text, err)
					}
					_ = w.Conn.Close()
					synctest.Wait()
				}
				a, err := client.Connect(dial("203.0.113.9"))
				if err != nil || !a.Resumed {
					t.Errorf("answer %+v, %v, want a resume", a, err)
				}
				var silent []*testkit.Wire
				for range 64 {
					conn, err := from("10.0.0.1:1").DialConn()
					if err != nil {
						t.Fatal(err)
					}
					silent = append(silent, testkit.NewWire(conn))
				}
				synctest.Wait()
				full := srv.Stats().Refused["connections"]
				conn, err := from("10.0.0.1:1").DialConn()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				synctest.Wait()
				if n := srv.Stats().Refused["connections"]; n != full+1 {
					t.Errorf("%d connections were refused beyond 64 silent ones, want 1", n-full)
				}
				for _, w := range silent {
					_ = w.Conn.Close()
				}
				synctest.Wait()
				if text, err := dial("203.0.113.8").Handshake(`{}`); !strings.Contains(text, "too many connections") {
					t.Errorf("a handshake was answered by %s, %v: want the places beyond the limits free again", text, err)
				}
			})
		})
	}
}

// secrets collects every token sent over the connections.
type secrets struct {
	mu   sync.Mutex
	list []string
}

func (s *secrets) add(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, token)
}

// TestTokensAreNotLogged begins, ends, refuses and resumes sessions in every way, with
// the debug log on.
func TestTokensAreNotLogged(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, tokens := testkit.NewLogCapture(), &secrets{}
				takeThroughResume(t, kind, log, tokens)
				text := log.All()
				if !strings.Contains(text, "session closes") || !strings.Contains(text, "panic") || !strings.Contains(text, "handshake refused") {
					t.Errorf("the log is too short to tell:\n%s", text)
				}
				for _, token := range tokens.list {
					raw, err := base64.RawURLEncoding.DecodeString(token)
					if err != nil {
						t.Fatal(err)
					}
					for _, form := range []string{token, fmt.Sprintf("%x", raw), strings.Trim(fmt.Sprintf("%d", raw), "[]")} {
						if strings.Contains(text, form) {
							t.Fatalf("a token is in the log:\n%s", text)
						}
					}
				}
				if len(tokens.list) < 20 {
					t.Errorf("%d tokens were seen, want 20 or more", len(tokens.list))
				}
			})
		})
	}
}

func takeThroughResume(t *testing.T, kind string, log *testkit.LogCapture, tokens *secrets) {
	var last *session.Session
	game := testkit.NewGame(func(s *session.Session, data []byte) error {
		if string(data) == "again" {
			return s.Response(data)
		}
		last = s
		s.OnSuspend(func(s *session.Session, _ error) { panic(fmt.Sprintf("%v %+v", s, s)) })
		s.OnResume(func(s *session.Session) { panic(s) })
		s.OnClose(func(s *session.Session, _ error) { panic(s.RemoteAddr()) })
		return s.Response(data)
	})
	refuse := false
	srv := testkit.Start(t, kind, game, log.Option(), nano.WithDebugMode(),
		nano.WithResume(nano.Resume{Buffer: 4000, Window: 30 * time.Second}),
		nano.WithHandshakeValidator(func(*session.Session, []byte) error {
			if refuse {
				return fmt.Errorf("not you")
			}
			return nil
		}))
	ask := func(handshake string) (*testkit.Wire, testkit.ResumeAnswer, error) {
		w := srv.DialPatient().Wire
		a, err := testkit.Ask(w, handshake)
		if a.Token != "" {
			tokens.add(a.Token)
		}
		return w, a, err
	}
	with := func(token string, received int) string {
		return fmt.Sprintf(`{"sys":{"resume":{"token":%q,"received":%d}}}`, token, received)
	}
	// begin starts a session and returns its connection, its token and the session.
	begin := func() (*testkit.Wire, string, *session.Session) {
		w, a, err := ask(`{"sys":{"resume":{}}}`)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Send(append(testkit.Pack(packet.Ack, ""), testkit.Request(1, "Game.Do", "x")...)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Message(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		return w, a.Token, last
	}
	cut := func(w *testkit.Wire) {
		_ = w.Conn.Close()
		synctest.Wait()
	}
	for name, lose := range map[string]func(w *testkit.Wire, s *session.Session){
		"nothing": func(*testkit.Wire, *session.Session) {}, // a takeover
		"cut":     func(w *testkit.Wire, _ *session.Session) { cut(w) },
		"window":  func(w *testkit.Wire, _ *session.Session) { cut(w); time.Sleep(time.Minute) },
		"kick":    func(w *testkit.Wire, s *session.Session) { cut(w); _ = s.Kick("out") },
		"close":   func(w *testkit.Wire, s *session.Session) { cut(w); s.Close() },
		"overflow": func(w *testkit.Wire, s *session.Session) {
			cut(w)
			_ = s.Push("big", make([]byte, 3000))
			_ = s.Push("big", make([]byte, 3000))
		},
		"malformed": func(w *testkit.Wire, _ *session.Session) {
			_ = w.Send([]byte("\x09\x00\x00\x00"))
			w.ReadUntilEnd()
			cut(w)
		},
		"farewell": func(w *testkit.Wire, _ *session.Session) {
			_ = w.Send(testkit.Pack(packet.Kick, ""))
			w.ReadUntilEnd()
			cut(w)
		},
		"bad ack": func(w *testkit.Wire, _ *session.Session) {
			_ = w.Send(testkit.Acknowledge(99))
			w.ReadUntilEnd()
			cut(w)
		},
		"silence": func(w *testkit.Wire, _ *session.Session) { time.Sleep(10 * time.Minute); cut(w) },
	} {
		w, token, s := begin()
		lose(w, s)
		next, a, err := ask(with(token, 1))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a.Resumed != (name == "nothing" || name == "cut") {
			t.Errorf("%s: answer %+v", name, a)
		}
		_ = next.Send(append(testkit.Pack(packet.Ack, ""), testkit.Request(2, "Game.Do", "again")...))
		_, _ = next.Message()
		_ = next.Send(testkit.Pack(packet.Data, "\xff")) // a malformed message
		next.ReadUntilEnd()
		cut(next)
	}
	// These handshakes are refused.
	_, token, _ := begin()
	for _, handshake := range []string{
		with(token, 99), with(token+"x", 1), `{"sys":{"resume":{"token":["` + token + `"]}}}`, `{"sys":{"resume":"` + token + `"}}`,
		`{"sys":{"resume":{"token":"` + token + `","received":-1}}}`, `{"sys":{"resume":{"token":"` + token + `"`,
		with(token, 1) + strings.Repeat(" ", 1<<16),
	} {
		w, _, _ := ask(handshake)
		w.ReadUntilEnd()
		cut(w)
	}
	w, token, _ := begin()
	cut(w)
	time.Sleep(time.Minute)
	refuse = true
	if w, _, err := ask(with(token, 1)); err == nil {
		t.Error("the validator was not asked about a new session")
	} else {
		cut(w)
	}
	refuse = false
	_, _, _ = begin()
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Log(err) // the callbacks panic
	}
}
