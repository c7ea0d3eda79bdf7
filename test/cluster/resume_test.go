package cluster_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// gates are two gates of a cluster with resume, and a client whose session belongs to the first one.
type gates struct {
	t          *testing.T
	home, away *testkit.Server
	nodes      map[*testkit.Server]*testkit.Node
	client     *testkit.ResumeClient
	wire       *testkit.Wire
	s          *session.Session // of the client
	all        *nano.Group      // of those that sent "join"
	next       uint64

	events  chan string   // what happens to the session
	blocked chan struct{} // the handler waits until it is closed for the payload "block"
}

// startGates starts the gates, and begins the session over one kind of transport. A home or away of nil has the default
// options.
func startGates(t *testing.T, kind string, home, away []nano.Option) *gates {
	t.Helper()
	g := &gates{
		t: t, client: &testkit.ResumeClient{}, all: nano.NewGroup("all"), nodes: map[*testkit.Server]*testkit.Node{},
		events: make(chan string, 100), blocked: make(chan struct{}),
	}
	start := func(name string, seeds []*testkit.Node, opts []nano.Option) *testkit.Server {
		all := []nano.Option{nano.WithResume(nano.Resume{})}
		if kind == "tls" || kind == "wss" {
			all = append(all, nano.WithTLSConfig(&tls.Config{Certificates: []tls.Certificate{testkit.Certificate()}}))
		}
		game := testkit.NewGame(func(s *session.Session, data []byte) error { return g.serve(name, s, data) })
		n := testkit.StartNode(t, testkit.Services{"Game": game}, seeds, append(all, opts...)...)
		at := testkit.Serve(t, n.Server, kind)
		g.nodes[at] = n
		return at
	}
	g.home = start("home", nil, home)
	g.away = start("away", []*testkit.Node{g.nodes[g.home]}, away)
	g.connect(g.home)
	g.ask("begin", "home begin")
	return g
}

func (g *gates) serve(name string, s *session.Session, data []byte) error {
	if string(data) == "begin" {
		g.s = s
		s.OnSuspend(func(_ *session.Session, err error) { g.events <- "suspend: " + err.Error() })
		s.OnResume(func(*session.Session) { g.events <- "resume" })
		s.OnClose(func(_ *session.Session, err error) { g.events <- "close: " + err.Error() })
	}
	switch string(data) {
	case "later":
		time.AfterFunc(1500*time.Millisecond, func() { _ = s.Push("news", []byte("late")) })
	case "block":
		<-g.blocked
	case "join":
		if err := g.all.Add(s); err != nil {
			return err
		}
	}
	return s.Response(fmt.Append(nil, name, " ", string(data)))
}

// dial opens a connection to a gate.
func (g *gates) dial(at *testkit.Server) *testkit.Wire {
	g.t.Helper()
	return at.Dial().Wire
}

// connect lets the client come back at a gate.
func (g *gates) connect(at *testkit.Server) testkit.ResumeAnswer {
	g.t.Helper()
	g.wire = g.dial(at)
	a, err := g.client.Connect(g.wire)
	if err != nil {
		g.t.Fatal(err)
	}
	return a
}

// resumes lets the client come back at a gate, to the same session.
func (g *gates) resumes(at *testkit.Server) {
	g.t.Helper()
	if a := g.connect(at); !a.Resumed {
		g.t.Fatalf("answer %+v, want the session", a)
	}
}

// refused lets the client come back at a gate, which gives it a new session for a reason.
func (g *gates) refused(at *testkit.Server, reason string) testkit.ResumeAnswer {
	g.t.Helper()
	a := g.connect(at)
	if a.Resumed || a.Reason != reason || a.Token == "" {
		g.t.Fatalf("answer %+v, want a new session for the reason %q", a, reason)
	}
	return a
}

// request sends a request and does not wait for its answer.
func (g *gates) request(text string) {
	g.next++
	g.client.Send(testkit.Request(g.next, "Game.Do", text))
}

// gets checks the payloads of the next messages.
func (g *gates) gets(want ...string) {
	g.t.Helper()
	for _, text := range want {
		m, err := g.client.Next(g.wire)
		if err != nil || string(m.Data) != text {
			g.t.Fatalf("%v, %v came, want %.100q", m, err, text)
		}
	}
}

func (g *gates) ask(text, want string) {
	g.t.Helper()
	g.request(text)
	g.gets(want)
}

func (g *gates) push(texts ...string) {
	g.t.Helper()
	for _, text := range texts {
		if err := g.s.Push("news", []byte(text)); err != nil {
			g.t.Fatalf("Push = %v", err)
		}
	}
}

// drop cuts the client's connection, and waits until the session is suspended.
func (g *gates) drop() {
	g.t.Helper()
	g.wire.Abort()
	g.client.Lost()
	g.happens("suspend: " + session.ErrClientClosed.Error())
}

// happens checks what happens to the session next: the events begin with want.
func (g *gates) happens(want ...string) {
	g.t.Helper()
	for _, w := range want {
		if got := testkit.Receive(g.t, g.events, w); !strings.HasPrefix(got, w) {
			g.t.Fatalf("it happened: %s, want %s", got, w)
		}
	}
}

// carried waits until a gate carries n connections.
func (g *gates) carried(at *testkit.Server, n int) {
	g.t.Helper()
	testkit.Eventually(g.t, fmt.Sprintf("%d connections are carried", n), func() bool { return at.Stats().Cluster.Carried == n })
}

// A session can be resumed at another gate over every transport, and nothing is lost in either direction.
func TestClusterResume(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Transports {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			g := startGates(t, kind, nil, nil)
			id := g.s.ID()
			g.drop()
			g.push("1", "2")
			g.request("a")
			g.request("b")
			g.resumes(g.away)
			g.happens("resume")
			g.gets("1", "2", "home a", "home b")
			g.carried(g.away, 1)
			g.push("3")
			g.ask("c", "3")
			g.gets("home c")
			if conn, ok := g.wire.Conn.LocalAddr().(*net.TCPAddr); ok && g.s.RemoteAddr().String() != conn.String() {
				t.Errorf("RemoteAddr() = %v, want %v", g.s.RemoteAddr(), conn)
			}

			g.drop()
			g.carried(g.away, 0)
			g.push("4")
			g.resumes(g.home)
			g.happens("resume")
			g.gets("4")
			g.drop()
			g.resumes(g.away)
			g.happens("resume")

			// The client comes back while the server believes in its connection.
			for _, at := range []*testkit.Server{g.away, g.home, g.away, g.away} {
				old := g.wire
				g.push("5")
				g.resumes(at)
				g.happens("suspend: "+session.ErrClientClosed.Error(), "resume")
				g.gets("5")
				if e := old.ReadUntilEnd(); e.Kick != "" {
					t.Errorf("the connection that was taken over ended with %+v", e)
				}
			}
			g.ask("d", "home d")
			if g.s.ID() != id || g.s.Closed() {
				t.Error("want the same session, open")
			}
			g.carried(g.away, 1)
			testkit.Eventually(t, "one session at home, and one connection at away", func() bool {
				home, away := g.home.Stats(), g.away.Stats()
				return home.Sessions == 1 && away.Sessions == 0 && home.Connections == 0 && away.Connections == 1
			})
			home, away := g.home.Stats(), g.away.Stats()
			if home.Resume.Resumed != 7 || away.Resume.Resumed != 0 || away.Resume.Suspensions != 0 || away.Closed["client"] != 0 {
				t.Errorf("Stats of home %+v, of away %+v %v", home.Resume, away.Resume, away.Closed)
			}
		})
	}
}

// TestClusterResumeOfQuietClient checks that a session continues over connections that were
// idle for longer than they keep their goroutines, at its own gate and at another one. The
// client comes back while the server still has the idle connection.
func TestClusterResumeOfQuietClient(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tcp", "ws"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			g := startGates(t, kind, nil, nil)
			for i, at := range []*testkit.Server{g.home, g.away, g.home} {
				old := g.wire
				if i > 0 {
					g.resumes(at)
					g.happens("suspend: "+session.ErrClientClosed.Error(), "resume")
					if e := old.ReadUntilEnd(); e.Kick != "" {
						t.Errorf("the quiet connection ended with %+v", e)
					}
				}
				g.ask("later", "home later")
				g.gets("late")
				g.ask("a", "home a")
				g.ask("later", "home later")
				g.gets("late")
			}
		})
	}
}

// The other gate carries more than its windows and buffers hold, in both directions, and stops reading from a client
// whose messages wait.
func TestClusterResumeFlow(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			g := startGates(t, kind, []nano.Option{nano.WithWriteBuffer(16<<20, nano.CloseSlowClient), nano.WithResume(nano.Resume{Buffer: 16 << 20})}, nil)
			g.drop()
			g.resumes(g.away)
			g.happens("resume")
			const n = 500
			text := strings.Repeat("x", 20<<10)
			// The client reads without acknowledging: an acknowledgment would wait behind the requests.
			gets := func(want string) {
				t.Helper()
				for {
					typ, body, err := g.wire.Packet()
					if err != nil {
						t.Fatal(err)
					}
					if typ == packet.Heartbeat {
						continue
					}
					m, err := message.Decode([]byte(body), nil)
					if err != nil || string(m.Data) != want {
						t.Fatalf("%v %.20q, %v came, want %.20q", m, m.Data, err, want)
					}
					return
				}
			}
			for i := range n { // 10 MB, which the client does not read yet
				g.push(fmt.Sprint(i, text))
			}
			for i := range n {
				gets(fmt.Sprint(i, text))
			}
			var sent atomic.Int64
			var sender sync.WaitGroup
			sender.Go(func() {
				for i := range n + 1 {
					data := fmt.Sprint(i, text)
					if i == 0 {
						data = "block"
					}
					if err := g.wire.Send(testkit.Request(uint64(i+2), "Game.Do", data)); err != nil {
						t.Error(err)
						return
					}
					sent.Add(1)
				}
			})
			var last int64
			var since time.Time
			testkit.Eventually(t, "the sender waits", func() bool {
				if now := sent.Load(); now != last || last < 5 {
					last, since = now, time.Now()
				}
				return time.Since(since) > 300*time.Millisecond
			})
			if last > n {
				t.Errorf("a client has sent %d requests, and none has run", n)
			}
			if st := g.away.Stats().Cluster; st.QueuedBytes > 1<<20 {
				t.Errorf("%d bytes wait at the carrier", st.QueuedBytes)
			}
			close(g.blocked)
			gets("home block")
			for i := range n {
				gets(fmt.Sprint("home ", i+1, text))
			}
			sender.Wait()
		})
	}
}

// What the server ends, ends at the client with the same last words, wherever that is connected.
func TestClusterResumeKick(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			g := startGates(t, kind, nil, nil)
			g.drop()
			g.resumes(g.away)
			g.happens("resume")
			g.push("last")
			if err := g.s.Kick("out"); err != nil {
				t.Fatal(err)
			}
			e := g.wire.ReadUntilEnd()
			wantCode := 0
			if kind == "ws" {
				wantCode = 1000
			}
			if len(e.Messages) != 1 || e.Kick != `{"reason":"out","code":"kicked"}` || e.Code != wantCode {
				t.Errorf("the client got %+v", e)
			}
			g.wire.Abort()
			g.happens("close: " + session.ErrKicked.Error())
			if a := g.refused(g.away, "ended"); string(a.Kick) != e.Kick {
				t.Errorf("the answer has the kick %s, want %s", a.Kick, e.Kick)
			}
			if n := g.away.Stats().Resume.Refused["ended"]; n != 1 || g.home.Stats().Resume.Refused["ended"] != 0 {
				t.Errorf("the carrier has counted %d refusals, want 1, and home none", n)
			}
			g.ask("new", "away new")
		})
	}
}

// A client that leaves over another gate ends its session, and one that means to come back does not.
func TestClusterResumeLeave(t *testing.T) {
	t.Parallel()
	kick := testkit.Pack(packet.Kick, "")
	for name, c := range map[string]struct {
		kind  string
		bytes []byte
		leave bool
	}{
		"kick":       {"tcp", kick, true},
		"framed":     {"ws", testkit.Frame(0x82, kick), true},
		"close 1000": {"ws", testkit.Frame(0x88, []byte{0x03, 0xe8}), true},
		"close 3000": {"ws", testkit.Frame(0x88, []byte{0x0b, 0xb8}), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startGates(t, c.kind, nil, nil)
			g.drop()
			g.resumes(g.away)
			g.happens("resume")
			if err := g.wire.Raw(c.bytes); err != nil {
				t.Fatal(err)
			}
			e := g.wire.ReadUntilEnd()
			if c.leave {
				g.happens("close: " + session.ErrClientClosed.Error())
				g.refused(g.away, "ended")
				return
			}
			if e.Code != 3000 {
				t.Errorf("the client got %+v, want its close frame", e)
			}
			g.happens("suspend: ")
			g.resumes(g.away)
		})
	}
}

// The bytes of a client may arrive in any pieces, even the ack and later packets with the handshake.
func TestClusterResumePieces(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		for name, size := range map[string]int{"bytes": 1, "pieces": 7, "one": 1 << 20} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				g := startGates(t, kind, nil, nil)
				g.drop()
				g.wire = g.dial(g.away)
				first, rest := testkit.Pack(packet.Handshake, g.client.Handshake()), append(testkit.Pack(packet.Ack, ""), testkit.Request(2, "Game.Do", "behind")...)
				all := append(first, rest...)
				if kind == "ws" { // one message in two fragments, with a ping between them and behind
					all = append(testkit.Frame(0x02, all[:9]), testkit.Frame(0x89, []byte("p"))...)
					all = append(all, testkit.Frame(0x80, append(first[9:len(first):len(first)], rest...))...)
					all = append(all, testkit.Frame(0x89, []byte("q"))...)
				}
				for b := all; len(b) > 0; b = b[min(size, len(b)):] {
					if err := g.wire.Raw(b[:min(size, len(b))]); err != nil {
						t.Fatal(err)
					}
				}
				if typ, body, err := g.wire.Packet(); err != nil || typ != packet.Handshake || !strings.Contains(body, `"resumed":true`) {
					t.Fatalf("%v %s, %v came", typ, body, err)
				}
				g.gets("home behind")
			})
		}
	}
}

// A handshake that resumes a session calls neither validator. Any other handshake calls the validator of the gate.
func TestClusterResumeValidator(t *testing.T) {
	t.Parallel()
	var asked sync.Map
	validate := func(name string) []nano.Option {
		return []nano.Option{nano.WithHandshakeValidator(func(*session.Session, []byte) error {
			n, _ := asked.LoadOrStore(name, 0)
			asked.Store(name, n.(int)+1)
			return nil
		})}
	}
	g := startGates(t, "tcp", validate("home"), validate("away"))
	g.drop()
	g.resumes(g.away)
	if _, ok := asked.Load("away"); ok {
		t.Error("the validator of the carrier was asked")
	}
	g.happens("resume")
	_ = g.s.Kick("out")
	g.happens("close")
	g.refused(g.away, "ended")
	home, _ := asked.Load("home")
	away, _ := asked.Load("away")
	if home != 1 || away != 1 {
		t.Errorf("the validator of home was asked %v times, and that of away %v times, want once each", home, away)
	}
}

// The Go client comes back at another gate without its program noticing.
func TestClusterResumeGoClient(t *testing.T) {
	t.Parallel()
	g := startGates(t, "tcp", nil, nil)
	var mu sync.Mutex
	var last net.Conn
	at := []*testkit.Server{g.home, g.away, g.home, g.away}
	dial := func(context.Context, string, string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		conn, err := at[0].DialConn()
		if err == nil {
			at, last = at[1:], conn
		}
		return conn, err
	}
	c, err := client.Dial(t.Context(), "tcp://game:3250", client.WithResume(), client.WithDialer(dial))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 4 {
		var reply []byte
		ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
		err := c.Request(ctx, "Game.Do", []byte(fmt.Sprint(i)), &reply)
		cancel()
		if want := fmt.Sprint("home ", i); err != nil || string(reply) != want {
			t.Fatalf("request %d = %q, %v, want %q", i, reply, err, want)
		}
		mu.Lock()
		if len(at) > 0 {
			_ = last.Close()
		}
		mu.Unlock()
	}
	if n := g.home.Stats().Resume.Resumed; n != 3 {
		t.Errorf("%d resumes, want 3", n)
	}
}

// The session sees the address that a proxy in front of the carrier reports.
func TestClusterResumeProxied(t *testing.T) {
	t.Parallel()
	trusted := []nano.Option{nano.WithTrustedProxies("127.0.0.0/8")}
	g := startGates(t, "tcp", trusted, trusted)
	g.drop()
	g.wire = g.dial(g.away)
	head := append([]byte("PROXY TCP4 192.0.2.9 127.0.0.1 4711 80\r\n"), testkit.Pack(packet.Handshake, g.client.Handshake())...)
	if err := g.wire.Raw(append(head, testkit.Pack(packet.Ack, "")...)); err != nil {
		t.Fatal(err)
	}
	if typ, body, err := g.wire.Packet(); err != nil || typ != packet.Handshake || !strings.Contains(body, `"resumed":true`) {
		t.Fatalf("%v %s, %v came", typ, body, err)
	}
	g.happens("resume")
	if a := g.s.RemoteAddr().String(); a != "192.0.2.9:4711" {
		t.Errorf("RemoteAddr() = %s, want the client's", a)
	}
}
