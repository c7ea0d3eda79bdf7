package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// These constants say how a brittle connection ends.
const (
	byRST     = iota // with a reset
	byFIN            // with an orderly close
	byStall          // the client detects it, and the server still considers the connection open
	bySilence        // neither side detects it: bytes are accepted and not delivered
	endings
)

// brittle is a TCP connection that ends after a number of bytes in either direction.
type brittle struct {
	*net.TCPConn
	how    int
	in     atomic.Int64
	out    atomic.Int64
	ended  atomic.Bool
	broken chan struct{} // closed by Close
	once   sync.Once
}

func (c *brittle) Read(b []byte) (int, error) {
	for {
		if left := c.in.Load(); left <= 0 || c.ended.Load() {
			return 0, c.end()
		}
		n, err := c.TCPConn.Read(b[:min(int64(len(b)), c.in.Load())])
		c.in.Add(int64(-n))
		if c.ended.Load() && c.how == bySilence {
			continue
		}
		return n, err
	}
}

func (c *brittle) Write(b []byte) (int, error) {
	if c.ended.Load() && c.how == bySilence {
		return len(b), nil
	}
	n := min(int64(len(b)), max(c.out.Load(), 0))
	c.out.Add(-n)
	if n > 0 {
		if m, err := c.TCPConn.Write(b[:n]); err != nil {
			return m, err
		}
	}
	if n == int64(len(b)) {
		return len(b), nil
	}
	if err := c.end(); c.how != bySilence {
		return int(n), err
	}
	return len(b), nil
}

// end ends the connection. For an end by silence, it returns when the client has closed.
func (c *brittle) end() error {
	first := !c.ended.Swap(true)
	switch c.how {
	case byRST:
		if first {
			_ = c.SetLinger(0)
		}
		_ = c.TCPConn.Close()
	case byFIN:
		_ = c.TCPConn.Close()
	case byStall:
		_ = c.SetReadDeadline(time.Unix(1, 0)) // a waiting read also ends
	case bySilence:
		if !first {
			<-c.broken
		}
	}
	return net.ErrClosed
}

// Close ends the connection for the client. A stalled connection stays open for the
// server.
func (c *brittle) Close() error {
	c.once.Do(func() { close(c.broken) })
	if c.ended.Load() && (c.how == byStall || c.how == bySilence) {
		return nil
	}
	return c.TCPConn.Close()
}

// cutter creates connections to a server that break. Stop closes those that the server
// still considers open.
type cutter struct {
	at   *testkit.Server
	cut  atomic.Bool
	cuts atomic.Int64

	mu    sync.Mutex
	conns []*net.TCPConn // mu guards it
}

func (c *cutter) dial(context.Context, string, string) (net.Conn, error) {
	conn, err := c.at.DialConn()
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	c.mu.Lock()
	c.conns = append(c.conns, tcp)
	c.mu.Unlock()
	if !c.cut.Load() {
		return tcp, nil
	}
	b := &brittle{TCPConn: tcp, how: rand.IntN(bySilence), broken: make(chan struct{})}
	if c.cuts.Add(1) == 5 { // only once, because it takes several heartbeats
		b.how = bySilence
	}
	b.in.Store(int64(100 + rand.IntN(1+rand.IntN(8000))))
	b.out.Store(int64(100 + rand.IntN(1+rand.IntN(8000))))
	return b, nil
}

func (c *cutter) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// address returns the address at which a client dials at.
func address(at *testkit.Server) string {
	if at.IsWebSocket() {
		return "ws://game:3250/"
	}
	return "tcp://game:3250"
}

// statuses gathers the statuses of a client.
type statuses chan client.Status

// until returns the first status for which f is true.
func (s statuses) until(t *testing.T, f func(client.Status) bool) client.Status {
	t.Helper()
	late := time.After(testkit.Patience)
	for {
		select {
		case got := <-s:
			if f(got) {
				return got
			}
		case <-late:
			t.Fatal("the client does not come to the state that is waited for")
		}
	}
}

func isConnected(s client.Status) bool { return s.State == client.Connected }
func isClosed(s client.Status) bool    { return s.State == client.Closed }

// numbered returns a game whose sessions number the received messages, and push one
// number per message.
func numbered(t *testing.T) *testkit.Game {
	return testkit.NewGame(func(s *session.Session, data []byte) error {
		n := s.Int("n")
		if want := fmt.Appendf(nil, "%d ", n); !bytes.HasPrefix(data, want) {
			t.Errorf("message %.20q came, want number %d", data, n)
		}
		s.Set("n", n+1)
		if err := s.Push("news", fmt.Append(nil, n)); err != nil {
			t.Errorf("Push = %v", err)
		}
		if s.LastMid() == 0 {
			return nil
		}
		return s.Response(data)
	})
}

// Connections break at random bytes. Every request, notify, push and answer still arrives
// once and in order.
func TestResumeLosesNothing(t *testing.T) {
	for _, kind := range testkit.Sockets {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			messages := 2000
			if testing.Short() {
				messages = 500
			}
			at := testkit.Start(t, kind, numbered(t), nano.WithResume(nano.Resume{}), nano.WithHeartbeatInterval(time.Second))
			cut := &cutter{at: at}
			defer cut.stop()
			pushes := make(chan struct{})
			news := 0
			var fresh atomic.Int64
			c, err := client.Dial(t.Context(), address(at), client.WithDialer(cut.dial), client.WithResume(),
				client.WithReconnect(client.Reconnect{Min: time.Millisecond, Max: 10 * time.Millisecond}),
				client.WithRequestTimeout(0),
				client.WithOnStatus(func(_ *client.Client, s client.Status) {
					if s.State == client.Connected && !s.Resumed {
						fresh.Add(1)
					}
				}),
				client.WithHandler("news", func(m *client.Message) {
					if string(m.Data) != fmt.Sprint(news) {
						t.Errorf("push %q came, want %d", m.Data, news)
					}
					if news++; news == messages {
						close(pushes)
					}
				}))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Request(t.Context(), "Game.Echo", []byte("begun"), nil); err != nil {
				t.Fatal(err)
			}
			cut.cut.Store(true)
			cut.stop() // the first connection
			var answers sync.WaitGroup
			last := -1
			slots := make(chan struct{}, 100) // limits the data that the client keeps to its bound
			for n := range messages {
				body := []byte(fmt.Sprint(n, " ", strings.Repeat("x", rand.IntN(400))))
				if n%3 == 0 {
					slots <- struct{}{}
					answers.Add(1)
					err = c.RequestFunc(t.Context(), "Game.Do", body, func(m *client.Message, err error) {
						defer answers.Done()
						<-slots
						switch {
						case err != nil:
							t.Errorf("request %d: %v", n, err)
						case !bytes.Equal(m.Data, body) || n <= last:
							t.Errorf("answer %.20q came behind that of %d, want %d", m.Data, last, n)
						}
						last = n
					})
				} else {
					err = c.Notify("Game.Do", body)
				}
				if err != nil {
					t.Fatalf("message %d: %v", n, err)
				}
			}
			select {
			case <-pushes:
			case <-time.After(testkit.Patience):
				t.Fatal("pushes are missing")
			}
			answers.Wait()
			st := at.Stats().Resume
			t.Logf("%d messages each way, %d connections, %d resumes, %d replayed", messages, cut.cuts.Load(), st.Resumed, st.Replayed)
			if n := fresh.Load(); n != 1 || st.Resumed == 0 {
				t.Errorf("the client had %d sessions, and %d resumes", n, st.Resumed)
			}
		})
	}
}

// gate is a dialer that refuses connections while it is shut.
type gate struct {
	at     atomic.Pointer[testkit.Server]
	shut   atomic.Bool
	kicked func(reason string) error // kicks the session of away

	mu   sync.Mutex
	last net.Conn // mu guards it
}

var errShut = errors.New("no network")

func (g *gate) dial(context.Context, string, string) (net.Conn, error) {
	if g.shut.Load() {
		return nil, errShut
	}
	conn, err := g.at.Load().DialConn()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = conn
	return conn, err
}

// drop closes the connection, and refuses new ones.
func (g *gate) drop() {
	g.shut.Store(true)
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.last.Close()
}

// away connects a client with resume, and closes its connection while a request runs.
// release ends the request.
func away(t *testing.T, kind string, r nano.Resume, opts ...client.Option) (g *gate, c *client.Client, s statuses, answer chan error, release func()) {
	t.Helper()
	hold := make(chan struct{})
	running := make(chan *session.Session, 1)
	at := testkit.Start(t, kind, testkit.NewGame(func(s *session.Session, data []byte) error {
		mid := s.LastMid()
		go func() {
			<-hold
			_ = s.ResponseMID(mid, data) // the session may have ended
		}()
		running <- s
		return nil
	}), nano.WithResume(r))
	g = &gate{}
	g.at.Store(at)
	s = make(statuses, 1000)
	opts = append([]client.Option{client.WithDialer(g.dial), client.WithResume(), client.WithRequestTimeout(0),
		client.WithReconnect(client.Reconnect{Min: time.Millisecond, Max: 10 * time.Millisecond}),
		client.WithOnStatus(func(_ *client.Client, status client.Status) { s <- status })}, opts...)
	c, err := client.Dial(t.Context(), address(at), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	answer = make(chan error, 1)
	go func() { answer <- c.Request(t.Context(), "Game.Do", []byte("x"), nil) }()
	g.kicked = (<-running).Kick
	s.until(t, isConnected)
	g.drop()
	s.until(t, func(s client.Status) bool { return s.State == client.Reconnecting })
	var once sync.Once
	release = func() { once.Do(func() { close(hold) }) }
	t.Cleanup(release)
	return g, c, s, answer, release
}

// Requests that run when the connection is lost are answered, and messages sent meanwhile
// arrive.
func TestResumeGoesOn(t *testing.T) {
	for _, kind := range testkit.Sockets {
		t.Run(kind, func(t *testing.T) {
			g, c, s, answer, release := away(t, kind, nano.Resume{})
			release()
			echo := make(chan error, 1)
			go func() { echo <- c.Request(t.Context(), "Game.Echo", []byte("waits"), nil) }()
			g.shut.Store(false)
			if got := s.until(t, isConnected); !got.Resumed || got.Reason != "" || got.Err != nil {
				t.Errorf("the client comes back with %+v, want its session", got)
			}
			if err := <-answer; err != nil {
				t.Errorf("the request that ran = %v", err)
			}
			if err := <-echo; err != nil {
				t.Errorf("the request without a connection = %v", err)
			}
		})
	}
}

func TestResumeWindowPasses(t *testing.T) {
	g, c, s, answer, _ := away(t, "tcp", nano.Resume{Window: time.Second})
	testkit.Eventually(t, "the window has passed", func() bool { return g.at.Load().Stats().Resume.Expired == 1 })
	if err := c.Notify("Game.Note", []byte("waits in vain")); err != nil {
		t.Error(err)
	}
	g.shut.Store(false)
	got := s.until(t, isConnected)
	if got.Resumed || got.Reason != client.ReasonExpired || got.Unconfirmed == 0 {
		t.Errorf("the client comes back with %+v, want a new session because the window has passed", got)
	}
	err := <-answer
	lost, ok := errors.AsType[*client.SessionError](err)
	if !errors.Is(err, client.ErrDisconnected) || !ok || lost.Reason != client.ReasonExpired || lost.Kick != nil {
		t.Errorf("the request that waited = %v, want ErrDisconnected with a SessionError", err)
	}
	if err := c.Request(t.Context(), "Game.Echo", []byte("new"), nil); err != nil {
		t.Errorf("a request of the new session = %v", err)
	}
}

func TestResumeAfterRestart(t *testing.T) {
	g, _, s, answer, _ := away(t, "ws", nano.Resume{})
	g.at.Store(testkit.Start(t, "ws", testkit.NewNamedGame("second"), nano.WithResume(nano.Resume{})))
	g.shut.Store(false)
	if got := s.until(t, isConnected); got.Resumed || got.Reason != client.ReasonUnknown {
		t.Errorf("the client comes back with %+v, want a new session of a server that does not know it", got)
	}
	if lost, ok := errors.AsType[*client.SessionError](<-answer); !ok || lost.Reason != client.ReasonUnknown {
		t.Errorf("the request that waited has the error %v, want a SessionError", lost)
	}
}

// A client that missed a kick ends when it reconnects.
func TestResumeAfterKick(t *testing.T) {
	g, c, s, answer, _ := away(t, "tcp", nano.Resume{})
	if err := g.kicked("cheating"); err != nil {
		t.Error(err)
	}
	g.shut.Store(false)
	got := s.until(t, isClosed)
	kick, ok := errors.AsType[*client.KickError](got.Err)
	if got.Reason != client.ReasonKicked || !ok || kick.Reason != "cheating" {
		t.Errorf("the client ends with %+v, want the kick", got)
	}
	if err := <-answer; !errors.Is(err, client.ErrDisconnected) || !errors.As(err, &kick) {
		t.Errorf("the request that waited = %v, want ErrDisconnected with the kick", err)
	}
	<-c.Done()
}

// A client that closes leaves no suspended session behind.
func TestCloseEndsTheSession(t *testing.T) {
	for _, kind := range testkit.Sockets {
		ended := make(chan error, 1)
		at := testkit.Start(t, kind, testkit.NewGame(func(s *session.Session, _ []byte) error {
			s.OnClose(func(_ *session.Session, err error) { ended <- err })
			return s.Response([]byte("ok"))
		}), nano.WithResume(nano.Resume{}))
		g := &gate{}
		g.at.Store(at)
		c, err := client.Dial(t.Context(), address(at), client.WithDialer(g.dial), client.WithResume())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Request(t.Context(), "Game.Do", []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		select {
		case err := <-ended:
			if !errors.Is(err, session.ErrClientClosed) || errors.Is(err, session.ErrResumeExpired) {
				t.Errorf("%s: the session ends with %v, want ErrClientClosed at once", kind, err)
			}
		case <-time.After(testkit.Patience):
			t.Errorf("%s: the session does not end", kind)
		}
		if n := at.Stats().Resume.Suspended; n != 0 {
			t.Errorf("%s: %d suspensions, want none", kind, n)
		}
	}
}
