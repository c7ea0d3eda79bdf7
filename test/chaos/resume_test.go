package chaos_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

var (
	resumeTime     = flag.Duration("resume", 0, "how long TestResume runs; 10 s by default, 2 s with -short, an hour at most with -resume.messages")
	resumeClients  = flag.Int("resume.clients", 200, "clients of TestResume")
	resumeMessages = flag.Int64("resume.messages", 0, "messages after which TestResume ends before its time; use it with -timeout 0")
)

// resumeChaos is a server with resume behind a proxy. The proxy cuts each connection
// after 50 to 500 ms.
type resumeChaos struct {
	t     *testing.T
	at    *testkit.Server
	all   *nano.Group
	until time.Time
	most  int64 // largest number of messages; 0 for no limit

	// These fields belong to the logic goroutine.
	rounds int // number of broadcasts

	cuts, resumes, received, requests atomic.Int64
	closed                            atomic.Int64 // serve starts the server. It numbers the requests of each session and sends pushes.
	ending                            atomic.Bool

	done sync.WaitGroup // waits for the clients that still lack messages
	over chan struct{}  // closed when all clients have every message
}

// serve starts the server. It numbers the requests of each session and sends pushes.
func (c *resumeChaos) serve(s *session.Session, data []byte) error {
	n := s.Int("requests")
	if n == 0 {
		if err := c.all.Add(s); err != nil {
			c.t.Errorf("Add = %v", err)
		}
		s.Set("first", c.rounds)
		s.OnClose(func(_ *session.Session, err error) {
			if !c.ending.Load() {
				c.t.Errorf("a session closed: %v", err)
				c.closed.Add(1)
			}
		})
	}
	if want := fmt.Sprint(n); string(data) != want {
		c.t.Errorf("session %d: request %s came, want %s", s.ID(), data, want)
	}
	s.Set("requests", n+1)
	c.requests.Add(1)
	if err := s.Push("push", fmt.Append(nil, n)); err != nil {
		c.t.Errorf("Push = %v", err)
	}
	return s.Response(data)
}

// TestResume makes clients and the server number what they send, while a proxy cuts their
// connections with RST, FIN or a stall. Every message has to arrive once and in order,
// and no session may end.
func TestResume(t *testing.T) {
	d := 10 * time.Second
	switch {
	case *resumeTime > 0:
		d = *resumeTime
	case *resumeMessages > 0:
		d = time.Hour
	case testing.Short():
		d = 2 * time.Second
	}
	for _, kind := range testkit.Sockets {
		t.Run(kind, func(t *testing.T) { runResume(t, kind, d/2) })
	}
}

func runResume(t *testing.T, kind string, d time.Duration) {
	began := time.Now()
	c := &resumeChaos{t: t, all: nano.NewGroup("all"), until: began.Add(d), over: make(chan struct{}),
		most: *resumeMessages / int64(len(testkit.Sockets))}
	c.at = testkit.Start(t, kind, testkit.NewGame(c.serve), nano.WithResume(nano.Resume{}))
	proxy := &cutter{c: c}
	stop := make(chan struct{})
	var broadcasts sync.WaitGroup
	broadcasts.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if c.enough() {
					return // what the clients missed does not grow while they catch up
				}
				c.at.Invoke(func() {
					_ = c.all.Broadcast("all", fmt.Append(nil, c.rounds))
					c.rounds++
				})
			}
		}
	})
	var clients sync.WaitGroup
	c.done.Add(*resumeClients)
	for range *resumeClients {
		clients.Go(func() { c.client(proxy) })
	}
	c.done.Wait()
	c.ending.Store(true)
	close(c.over)
	clients.Wait()
	proxy.relays.Wait()
	close(stop)
	broadcasts.Wait()
	st := c.at.Stats().Resume
	t.Logf("%s: %d clients, %v: %d requests came, %d messages came to clients, %d cuts, %d resumes, %d messages replayed, %d sessions ended",
		kind, *resumeClients, time.Since(began).Round(time.Second), c.requests.Load(), c.received.Load(), c.cuts.Load(), st.Resumed, st.Replayed, c.closed.Load())
	if c.cuts.Load() == 0 || st.Resumed == 0 {
		t.Error("nothing was cut")
	}
}

// enough reports whether clients have sent all their messages.
func (c *resumeChaos) enough() bool {
	return !time.Now().Before(c.until) || c.most > 0 && c.requests.Load()+c.received.Load() >= c.most
}

// client sends numbered requests until the time is over, and then waits until every
// request is answered.
func (c *resumeChaos) client(p *cutter) {
	begun := make(chan struct{}) // closed when the session has begun, because a cut before that ends it
	begin := sync.OnceFunc(func() { close(begun) })
	defer begin()
	next := map[string]int64{} // by route; used by the goroutine of the client's handlers
	arrived := make(chan struct{}, 1)
	var answers, pushes atomic.Int64
	check := func(m *client.Message) {
		c.received.Add(1)
		c.check(m, next)
		switch m.Route {
		case "Game.Do":
			answers.Add(1)
			begin()
		case "push":
			pushes.Add(1)
		}
		select {
		case arrived <- struct{}{}:
		default:
		}
	}
	first := true
	address := "tcp://game:3250"
	if c.at.IsWebSocket() {
		address = "ws://game:3250/"
	}
	player, err := client.Dial(c.t.Context(), address, client.WithResume(), client.WithRequestTimeout(0), client.WithFallback(check),
		client.WithReconnect(client.Reconnect{Min: time.Millisecond, Max: 50 * time.Millisecond}),
		client.WithDialer(func(context.Context, string, string) (net.Conn, error) {
			return p.dial(begun)
		}),
		client.WithOnStatus(func(_ *client.Client, s client.Status) {
			switch {
			case s.State == client.Closed && errors.Is(s.Err, client.ErrClosed), s.State != client.Connected && s.State != client.Closed:
			case s.Resumed:
				c.resumes.Add(1)
			case s.State == client.Closed || !first:
				c.t.Errorf("a session did not go on: %v, %s: %v", s.State, s.Reason, s.Err)
			default:
				first = false
			}
		}))
	if err != nil {
		c.t.Error(err)
		c.done.Done()
		return
	}
	defer func() {
		c.done.Done()
		<-c.over
		_ = player.Close() // it may have no connection
	}()
	sent := int64(0)
	send := func() {
		err := player.RequestFunc(c.t.Context(), "Game.Do", fmt.Append(nil, sent), func(m *client.Message, err error) {
			if err != nil {
				c.t.Errorf("a request = %v", err)
				return
			}
			check(m)
		})
		if err != nil {
			c.t.Errorf("RequestFunc = %v", err)
		}
		sent++
	}
	send()
	late := time.After(time.Until(c.until) + 30*time.Second) // the tick itself may be late
	tick := time.NewTicker(time.Duration(1+rand.IntN(9)) * time.Millisecond)
	defer tick.Stop()
	for over := false; !over || answers.Load() < sent || pushes.Load() < sent; {
		select {
		case <-tick.C:
			if !over && c.enough() {
				over, late = true, time.After(30*time.Second)
			}
			if begun := answers.Load() > 0; begun && !over && sent-answers.Load() < 200 {
				send()
			}
		case <-arrived:
		case <-player.Done():
			c.t.Errorf("the client has ended: %v", player.Err())
			return
		case <-late:
			c.t.Errorf("%d answers and %d pushes came, want %d of each", answers.Load(), pushes.Load(), sent)
			return
		}
	}
}

// check checks the number of a message. The first broadcast may have any number.
func (c *resumeChaos) check(m *client.Message, next map[string]int64) {
	var n int64
	_, err := fmt.Sscan(string(m.Data), &n)
	want, begun := next[m.Route]
	if m.Route == "all" && !begun {
		want = n
	}
	if err != nil || n != want || m.Err {
		c.t.Errorf("%s %q came, want number %d", m.Route, m.Data, want)
	}
	next[m.Route] = n + 1
}

// cutter is a proxy that cuts the connections that pass through it.
type cutter struct {
	c      *resumeChaos
	relays sync.WaitGroup
}

// dial connects to the server through the proxy. The proxy cuts the connection some time
// after begun is closed.
func (p *cutter) dial(begun <-chan struct{}) (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	relay, err := l.Accept()
	if err != nil {
		return nil, err
	}
	far, err := p.c.at.DialConn()
	if err != nil {
		return nil, errors.Join(err, near.Close(), relay.Close())
	}
	after := time.Duration(50+rand.IntN(450)) * time.Millisecond
	p.relay(begun, relay.(*net.TCPConn), far.(*net.TCPConn), after)
	return near, nil
}

// relay copies bytes in both directions until the connection is cut. The cut splits the
// next bytes.
func (p *cutter) relay(begun <-chan struct{}, near, far *net.TCPConn, after time.Duration) {
	var cutting, stalled atomic.Bool
	passed := make(chan struct{}, 2) // receives a value when a direction has reached its cut
	pass := func(to, from *net.TCPConn) {
		b := make([]byte, 1+rand.IntN(4000))
		for {
			n, err := from.Read(b)
			if cutting.Load() {
				_, _ = to.Write(b[:rand.IntN(n+1)])
				passed <- struct{}{}
				if stalled.Load() {
					_, _ = io.Copy(io.Discard, from) // accepted and never delivered
				}
				return
			}
			if n > 0 {
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	p.relays.Go(func() { pass(far, near); _ = far.CloseWrite() })
	p.relays.Go(func() { pass(near, far); _ = near.CloseWrite() })
	cut := func(conns ...*net.TCPConn) {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
	p.relays.Go(func() {
		<-begun
		time.Sleep(after)
		if p.c.enough() { // even a busy machine delivers everything in the end
			<-p.c.over
			cut(near, far)
			return
		}
		p.c.cuts.Add(1)
		kind := rand.IntN(3)
		stalled.Store(kind == 2)
		cutting.Store(true)
		select {
		case <-passed:
		case <-time.After(20 * time.Millisecond):
		}
		switch kind {
		case 0: // RST
			_ = near.SetLinger(0)
			_ = far.SetLinger(0)
			cut(near, far)
		case 1: // FIN
			cut(near, far)
		case 2: // the client notices, but for the server the connection is alive
			cut(near)
			time.Sleep(300 * time.Millisecond)
			cut(far)
		}
	})
}
