package cluster_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// goesAway closes the connection and resumes the session at the other gate.
func (g *gates) goesAway() {
	g.t.Helper()
	g.drop()
	g.resumes(g.away)
	g.happens("resume")
}

// ends checks that the client's connection ends soon without a kick.
func (g *gates) ends() {
	g.t.Helper()
	e := g.wire.ReadUntilEnd()
	var timeout net.Error
	if e.Kick != "" || errors.As(e.Err, &timeout) && timeout.Timeout() {
		g.t.Fatalf("the connection ended with %+v", e)
	}
	g.client.Lost()
}

// If the carrier goes down or loses its link, the session is suspended. The client can
// then resume it at another node.
func TestClusterResumeCarrierDown(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(g *gates){
		"shutdown": func(g *gates) { g.nodes[g.away].Stop() },
		"link":     func(g *gates) { g.nodes[g.away].Kill() },
	} {
		for _, kind := range testkit.Sockets {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				g := startGates(t, kind, nil, nil)
				g.goesAway()
				end(g)
				g.happens("suspend: " + session.ErrClientClosed.Error())
				g.ends()
				g.push("1")
				g.request("a")
				g.resumes(g.home)
				g.happens("resume")
				g.gets("1", "home a")
				if name != "link" {
					return
				}
				g.nodes[g.away].Links.Mend()
				testkit.AwaitMembers(t, g.nodes[g.home], g.nodes[g.away])
				g.goesAway()
				g.ask("b", "home b")
			})
		}
	}
}

// If the session's gate is gone, the carrier reports that at once, and the client gets a
// new session at the carrier.
func TestClusterResumeGateDown(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(g *gates){
		"shutdown": func(g *gates) {
			g.nodes[g.home].Stop()
			if e := g.wire.ReadUntilEnd(); !strings.Contains(e.Kick, "server shutdown") {
				g.t.Errorf("the client got %+v, want a kick", e)
			}
		},
		"link": func(g *gates) {
			g.nodes[g.home].Kill()
			g.ends()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startGates(t, "tcp", nil, nil)
			g.goesAway()
			end(g)
			g.nodes[g.away].AwaitAlone()
			began := time.Now()
			g.refused(g.away, "unknown")
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the answer took %v", took)
			}
			g.next = 0
			g.ask("new", "away new")
		})
	}
}

// The client receives the reason that the session's gate gives.
func TestClusterResumeReasons(t *testing.T) {
	t.Parallel()
	short := []nano.Option{nano.WithResume(nano.Resume{Window: time.Second, Buffer: 100})}
	for reason, end := range map[string]func(g *gates){
		"expired": func(g *gates) {
			g.drop()
			g.happens("close: " + session.ErrResumeExpired.Error())
		},
		"overflow": func(g *gates) {
			g.drop()
			for g.s.Push("news", make([]byte, 60)) == nil {
			}
			g.happens("close: " + session.ErrResumeOverflow.Error())
		},
		"ended": func(g *gates) {
			g.drop()
			g.s.Close()
			g.happens("close: " + session.ErrClosed.Error())
		},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			g := startGates(t, "tcp", short, short)
			end(g)
			g.refused(g.away, reason)
			g.next = 0
			g.ask("new", "away new")
		})
	}
	// The session's gate detects these errors when it reads the handshake, not when it
	// looks up the token.
	for reason, received := range map[string]uint64{"overflow": 0, "ended": 100} {
		t.Run("received/"+reason, func(t *testing.T) {
			t.Parallel()
			g := startGates(t, "tcp", short, nil)
			for range 10 {
				g.push(strings.Repeat("x", 60))
				if _, err := g.client.Next(g.wire); err != nil {
					t.Fatal(err)
				}
			}
			g.drop()
			w := g.dial(g.away)
			a, err := testkit.Ask(w, fmt.Sprintf(`{"sys":{"resume":{"token":%q,"received":%d}}}`, g.client.Token(), received))
			if err != nil || a.Resumed || a.Reason != reason || a.Token == "" {
				t.Fatalf("answer %+v, %v, want a new session for the reason %q", a, err, reason)
			}
			g.happens("close: ")
			w.Abort()
		})
	}
}

// guess returns a token that names the gate of a session but was never issued.
func guess(t *testing.T, token string, i int) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)-16:], fmt.Sprintf("%016d", i))
	return base64.RawURLEncoding.EncodeToString(b)
}

// Guessed tokens that name a gate are unknown. They affect neither the gate's sessions
// nor its limits. No token is logged.
func TestClusterResumeGuesses(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var log strings.Builder
	opts := []nano.Option{nano.WithDebugMode(), nano.WithSlog(slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug})))}
	g := startGates(t, "tcp", opts, opts)
	first := g.client.Token()
	g.goesAway()
	before := g.home.Stats()
	const guesses = 500
	var wg sync.WaitGroup
	for c := range 10 {
		wg.Go(func() {
			for i := range guesses / 10 {
				conn, err := g.away.DialConn()
				if err != nil {
					t.Error(err)
					return
				}
				w := testkit.NewWire(conn)
				a, err := testkit.Ask(w, fmt.Sprintf(`{"sys":{"resume":{"token":%q}}}`, guess(t, first, 100*c+i)))
				if err != nil || a.Resumed || a.Reason != "unknown" {
					t.Errorf("answer %+v, %v, want unknown", a, err)
				}
				w.Abort()
			}
		})
	}
	wg.Wait()
	g.ask("still", "home still")
	after := g.home.Stats()
	if after.Accepted != before.Accepted || after.Sessions != 1 || after.Closed["client"] != before.Closed["client"] {
		t.Errorf("home has accepted %d connections and closed %v for guesses", after.Accepted-before.Accepted, after.Closed)
	}
	if n := g.away.Stats().Resume.Refused["unknown"]; n != guesses {
		t.Errorf("the carrier has refused %d guesses, want %d", n, guesses)
	}
	g.carried(g.away, 1)
	mu.Lock()
	defer mu.Unlock()
	for _, token := range []string{first, g.client.Token(), guess(t, first, 1)} {
		if strings.Contains(log.String(), token) {
			t.Error("a token is in the log")
		}
	}
	if log.Len() == 0 {
		t.Error("nothing was logged")
	}
}

// A token that names another process is unknown at every gate, although the rest of it is
// right.
func TestClusterResumeWrongName(t *testing.T) {
	t.Parallel()
	g := startGates(t, "tcp", nil, nil)
	b, err := base64.RawURLEncoding.DecodeString(g.client.Token())
	if err != nil {
		t.Fatal(err)
	}
	b[3] ^= 1
	for _, at := range []*testkit.Server{g.home, g.away} {
		testkit.Eventually(t, "a gate that knows all others answers", func() bool {
			w := g.dial(at)
			defer w.Abort()
			a, err := testkit.Ask(w, fmt.Sprintf(`{"sys":{"resume":{"token":%q,"received":1}}}`, base64.RawURLEncoding.EncodeToString(b)))
			if err == nil && (a.Resumed || a.Reason != "unknown") {
				t.Errorf("answer %+v, want unknown", a)
			}
			return err == nil
		})
	}
	g.ask("still", "home still")
}

// lockedWriter is a writer for several goroutines.
type lockedWriter struct {
	mu *sync.Mutex
	to io.Writer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}

// A client that resumes at another gate counts only toward the limits of the carrier, and
// is accepted beyond them.
func TestClusterResumeLimits(t *testing.T) {
	t.Parallel()
	g := startGates(t, "tcp", []nano.Option{nano.WithMaxConnections(1)}, []nano.Option{nano.WithMaxConnections(1)})
	full := g.away.Join() // the carrier has reached its limit
	g.goesAway()
	other := g.home.Join() // home is below its limit
	g.ask("a", "home a")
	w := g.dial(g.away)
	if answer, err := w.Handshake("{}"); err != nil || !strings.Contains(answer, "too many connections") {
		t.Errorf("a third client at the carrier got %s, %v, want a refusal", answer, err)
	}
	full.Abort()
	g.drop()
	g.carried(g.away, 0)
	testkit.Eventually(t, "the places are free", func() bool { return g.away.Stats().Connections == 0 })
	g.away.Join().Abort()
	g.resumes(g.home) // accepted beyond the limit
	g.ask("b", "home b")
	other.Abort()
}

// A gate without resume answers as it would without a cluster. A gate with resume is not
// asked by it.
func TestClusterResumeOff(t *testing.T) {
	t.Parallel()
	g := startGates(t, "tcp", nil, nil)
	plain := testkit.StartNode(t, nil, []*testkit.Node{g.nodes[g.home], g.nodes[g.away]})
	at := testkit.Serve(t, plain.Server, "tcp")
	g.drop()
	w := g.dial(at)
	answer, err := w.Handshake(g.client.Handshake())
	if err != nil || strings.Contains(answer, "resume") {
		t.Errorf("answer %s, %v, want nothing of resume", answer, err)
	}
	g.resumes(g.away)
}

// The session's gate monitors heartbeats: a client that is silent there is lost.
func TestClusterResumeSilence(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	g := startGates(t, "tcp", []nano.Option{nano.WithHeartbeatInterval(time.Second)}, []nano.Option{nano.WithHeartbeatInterval(time.Hour)})
	g.goesAway()
	beats := 0
	for {
		typ, _, err := g.wire.Packet()
		if err != nil {
			break
		}
		if typ == packet.Heartbeat {
			beats++
		}
	}
	if beats == 0 {
		t.Error("no heartbeat came")
	}
	g.happens("suspend: " + session.ErrHeartbeat.Error())
	g.client.Lost()
	g.resumes(g.away)
	g.happens("resume")
}

// A client that does not read is lost, as if it were connected to the gate of its
// session. The carrier releases its resources.
func TestClusterResumeStalled(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	home := []nano.Option{nano.WithHeartbeatInterval(time.Second), nano.WithWriteBuffer(64<<20, nano.CloseSlowClient), nano.WithResume(nano.Resume{Buffer: 64 << 20})}
	g := startGates(t, "tcp", home, nil)
	g.goesAway()
	for range 200 { // more than the socket buffers hold
		g.push(strings.Repeat("x", 100<<10))
	}
	old, stop := g.wire, make(chan struct{})
	var beats sync.WaitGroup
	beats.Go(func() { // keeps the client from being silent
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if old.Send(testkit.Pack(packet.Heartbeat, "")) != nil {
					return
				}
			case <-stop:
				return
			}
		}
	})
	defer beats.Wait()
	defer close(stop)
	g.happens("suspend: ")
	testkit.Eventually(t, "the carrier has closed the connection", func() bool { return g.away.Stats().Connections == 0 })
	g.client.Lost()
	g.resumes(g.home)
	for range 200 {
		g.gets(strings.Repeat("x", 100<<10))
	}
	old.Abort()
}

// A backend does not detect where a client is connected.
func TestClusterResumeBackend(t *testing.T) {
	t.Parallel()
	g := startGates(t, "tcp", nil, nil)
	group := nano.NewGroup("all")
	closed := make(chan error, 1)
	room := testkit.NewGame(func(s *session.Session, data []byte) error {
		if group.Contains(s.UID()) {
			return s.Response(data)
		}
		s.OnClose(func(_ *session.Session, err error) { closed <- err })
		return errors.Join(s.Bind(7), group.Add(s), s.Response(data))
	})
	testkit.StartNode(t, testkit.Services{"Room": room}, []*testkit.Node{g.nodes[g.home], g.nodes[g.away]})
	enter := func(text string) {
		t.Helper()
		g.next++
		g.client.Send(testkit.Request(g.next, "Room.Do", text))
		g.gets(text)
	}
	enter("in")
	g.drop()
	if err := group.Broadcast("news", []byte("1")); err != nil {
		t.Error(err)
	}
	g.resumes(g.away)
	g.gets("1")
	enter("again")
	if err := group.Broadcast("news", []byte("2")); err != nil {
		t.Error(err)
	}
	g.gets("2")
	if n := group.Count(); n != 1 {
		t.Errorf("the group has %d members, want 1", n)
	}
	g.happens("resume")
	_ = g.s.Kick("out")
	if err := testkit.Receive(t, closed, "OnClose at the backend"); !errors.Is(err, session.ErrKicked) {
		t.Errorf("OnClose = %v", err)
	}
}

// A gate that shuts down while clients resume its sessions through another gate ends in
// time, and leaks nothing.
func TestClusterResumeShutdownRace(t *testing.T) {
	t.Parallel()
	g := startGates(t, "tcp", nil, nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			c := &testkit.ResumeClient{}
			for at := g.home; ; at = g.away {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := at.DialConn()
				if err != nil {
					continue // home has closed its listener
				}
				w := testkit.NewWire(conn)
				if _, err := c.Connect(w); err == nil {
					c.Send(testkit.Request(1, "Game.Do", "x"))
					_, _ = c.Next(w)
				}
				c.Lost()
				w.Abort()
			}
		})
	}
	testkit.Eventually(t, "clients have come back", func() bool { return g.home.Stats().Resume.Resumed > 20 })
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := g.home.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	close(stop)
	wg.Wait()
	if st := g.home.Stats(); st.Sessions != 0 || st.Resume.Suspended != 0 {
		t.Errorf("%d sessions are left, %d suspended", st.Sessions, st.Resume.Suspended)
	}
	g.carried(g.away, 0)
}

// Many clients that resume at another gate at once receive all missed messages. The queue
// of the link stays bounded.
func TestClusterResumeStorm(t *testing.T) {
	t.Parallel()
	g := startGates(t, "tcp", nil, nil)
	const clients, pushes = 120, 10
	text := strings.Repeat("x", 10<<10) // 12 MB in total
	var all, ready sync.WaitGroup
	storm := make(chan struct{})
	for range clients {
		ready.Add(1)
		all.Go(func() { g.stormClient(ready.Done, storm, pushes, text) })
	}
	ready.Wait()
	testkit.Eventually(t, "the sessions are suspended", func() bool { return g.home.Stats().Resume.Suspended == clients || t.Failed() })
	for i := range pushes {
		if err := g.all.Broadcast("news", []byte(fmt.Sprint(i, text))); err != nil {
			t.Error(err)
		}
	}
	close(storm)
	most, done := 0, make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(time.Millisecond):
			most = max(most, g.home.Stats().Cluster.QueuedBytes)
		}
	}
	if most > 4<<20+256<<10 {
		t.Errorf("%d bytes waited for the link, want 4 MiB and little more at most", most)
	}
	if st := g.home.Stats(); st.Resume.Resumed < clients || st.Resume.Overflowed != 0 {
		t.Errorf("Stats().Resume = %+v", st.Resume)
	}
}

// stormClient starts a session at its home gate and loses its connection. After the storm
// it resumes at the other gate and receives the messages it missed. If the link breaks on a
// busy machine, it resumes again.
func (g *gates) stormClient(ready func(), storm <-chan struct{}, pushes int, text string) {
	c := &testkit.ResumeClient{}
	join := func(at *testkit.Server) (*testkit.Wire, bool) {
		conn, err := at.DialConn()
		if err != nil {
			g.t.Error(err)
			return nil, false
		}
		w := testkit.NewWire(conn)
		a, err := c.Connect(w)
		if err == nil && a.Resumed != (at == g.away) {
			g.t.Errorf("answer %+v", a)
			w.Abort()
			return nil, false
		}
		return w, true
	}
	w, ok := join(g.home)
	if ok {
		c.Send(testkit.Request(1, "Game.Do", "join"))
		if _, err := c.Next(w); err != nil {
			g.t.Error(err)
		}
		w.Abort()
		c.Lost()
	}
	ready()
	<-storm
	for next, deadline := 0, time.Now().Add(testkit.Patience); ok && next < pushes; {
		if time.Now().After(deadline) {
			g.t.Errorf("%d messages came, want %d", next, pushes)
			return
		}
		if w, ok = join(g.away); !ok {
			return
		}
		for next < pushes {
			m, err := c.Next(w)
			if err != nil {
				break
			}
			if string(m.Data) != fmt.Sprint(next, text) {
				g.t.Errorf("message %d: %.20q came", next, m.Data)
				ok = false
				break
			}
			next++
		}
		c.Lost()
		w.Abort()
	}
}

// The bytes that a client sends before its handshake are bounded. A client that exceeds
// the bound cannot resume its session at another gate.
func TestClusterResumeLargeOpening(t *testing.T) {
	t.Parallel()
	g := startGates(t, "ws", nil, nil)
	g.drop()
	ask := func(pings int) testkit.ResumeAnswer {
		t.Helper()
		w := g.dial(g.away)
		go func() {
			for range pings {
				if w.Raw(testkit.Frame(0x8a, make([]byte, 100))) != nil { // a pong, which is not answered
					return
				}
			}
			_ = w.Send(testkit.Pack(packet.Handshake, g.client.Handshake()))
		}()
		typ, body, err := w.Packet()
		var answer struct {
			Sys struct{ Resume testkit.ResumeAnswer }
		}
		if err != nil || typ != packet.Handshake || json.Unmarshal([]byte(body), &answer) != nil {
			t.Fatalf("%v %s, %v came", typ, body, err)
		}
		w.Abort()
		return answer.Sys.Resume
	}
	if a := ask(2000); a.Resumed || a.Reason != "unknown" {
		t.Errorf("answer %+v, want unknown", a)
	}
	if a := ask(100); !a.Resumed {
		t.Errorf("answer %+v, want the session", a)
	}
}
