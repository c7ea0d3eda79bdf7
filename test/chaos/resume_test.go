package chaos_test

import (
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
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

var (
	resumeTime    = flag.Duration("resume", 0, "how long TestResume runs; 10 s by default, 2 s with -short")
	resumeClients = flag.Int("resume.clients", 200, "clients of TestResume")
)

// resumeChaos is a server with resume behind a proxy. The proxy cuts each connection
// after 50 to 500 ms.
type resumeChaos struct {
	t     *testing.T
	at    *testkit.Server
	all   *nano.Group
	until time.Time

	// These fields belong to the logic goroutine.
	rounds int // number of broadcasts

	cuts, resumes, received, requests atomic.Int64
	closed                            atomic.Int64 // sessions that closed before the end
	ending                            atomic.Bool
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
	case testing.Short():
		d = 2 * time.Second
	}
	for _, kind := range testkit.Sockets {
		t.Run(kind, func(t *testing.T) { runResume(t, kind, d/2) })
	}
}

func runResume(t *testing.T, kind string, d time.Duration) {
	c := &resumeChaos{t: t, all: nano.NewGroup("all"), until: time.Now().Add(d)}
	c.at = testkit.Start(t, kind, testkit.NewGame(c.serve), nano.WithResume(nano.Resume{}))
	t.Cleanup(func() { c.ending.Store(true) })
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
				c.at.Invoke(func() {
					_ = c.all.Broadcast("all", fmt.Append(nil, c.rounds))
					c.rounds++
				})
			}
		}
	})
	var clients sync.WaitGroup
	for range *resumeClients {
		clients.Go(func() { c.client(proxy) })
	}
	clients.Wait()
	proxy.relays.Wait()
	close(stop)
	broadcasts.Wait()
	st := c.at.Stats().Resume
	t.Logf("%s: %d clients, %v: %d requests came, %d messages came to clients, %d cuts, %d resumes, %d messages replayed, %d sessions ended",
		kind, *resumeClients, d, c.requests.Load(), c.received.Load(), c.cuts.Load(), st.Resumed, st.Replayed, c.closed.Load())
	if c.cuts.Load() == 0 || st.Resumed == 0 {
		t.Error("nothing was cut")
	}
}

// client sends numbered requests until the time is over, and then reads until every
// request is answered.
func (c *resumeChaos) client(p *cutter) {
	client := &testkit.ResumeClient{}
	var sent atomic.Int64
	var over atomic.Bool
	var sender sync.WaitGroup
	defer sender.Wait()
	defer over.Store(true)
	send := func() {
		for !over.Load() && time.Now().Before(c.until) {
			if client.Waiting() < 200 {
				client.Send(testkit.Request(uint64(sent.Load()+1), "Game.Do", fmt.Sprint(sent.Load())))
				sent.Add(1)
			}
			time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
		}
		over.Store(true)
	}
	next := map[string]int64{} // by route; "" stands for responses
	deadline := c.until.Add(30 * time.Second)
	for time.Now().Before(deadline) {
		w, err := p.dial(len(next) > 0)
		if err != nil {
			continue
		}
		a, err := client.Connect(w)
		switch {
		case err != nil:
			w.Abort()
			continue
		case !a.Resumed && (len(next) > 0 || a.Reason != "" && a.Reason != "unknown"):
			c.t.Errorf("a session was not resumed: %s", a.Reason)
			w.Abort()
			return
		case !a.Resumed: // the first connection, or a reconnect after the first one was cut before its ack
			client.Send(testkit.Request(1, "Game.Do", "0")) // the answer confirms that the session has begun
			sent.Store(1)
		default:
			c.resumes.Add(1)
		}
		for err == nil {
			var m *message.Message
			if m, err = client.Next(w); err != nil {
				break
			}
			c.received.Add(1)
			if !c.check(m, next) {
				return
			}
			if next[""] == 1 && m.Type == message.Response {
				sender.Go(send)
			}
			if over.Load() && next[""] == sent.Load() && next["push"] == sent.Load() {
				client.Lost()
				w.Abort()
				return
			}
		}
		client.Lost()
		w.Abort()
		if kick, ok := errors.AsType[testkit.KickError](err); ok {
			c.t.Errorf("kicked: %v", kick)
			return
		}
	}
	c.t.Errorf("%d answers and %d pushes came, want %d of each", next[""], next["push"], sent.Load())
}

// check checks the number of a message. The first broadcast may have any number.
func (c *resumeChaos) check(m *message.Message, next map[string]int64) bool {
	var n int64
	_, err := fmt.Sscan(string(m.Data), &n)
	want, begun := next[m.Route]
	if m.Route == "all" && !begun {
		want = n
	}
	if err != nil || n != want || m.Err {
		c.t.Errorf("%v %q came, want number %d", m, m.Data, want)
		return false
	}
	next[m.Route] = n + 1
	return true
}

// cutter is a proxy that cuts the connections that pass through it.
type cutter struct {
	c      *resumeChaos
	relays sync.WaitGroup
}

// dial connects to the server through the proxy.
func (p *cutter) dial(cut bool) (*testkit.Wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	near, err := l.Accept()
	if err != nil {
		return nil, err
	}
	far, err := p.c.at.DialConn()
	if err != nil {
		return nil, errors.Join(err, near.Close(), client.Close())
	}
	after := time.Duration(50+rand.IntN(450)) * time.Millisecond
	if !cut {
		after = max(after, 200*time.Millisecond) // the session has to begin first
	}
	p.relay(near.(*net.TCPConn), far.(*net.TCPConn), after)
	w := testkit.NewWire(client)
	w.Patience = 5 * time.Second
	if p.c.at.IsWebSocket() {
		if err := w.Upgrade("/"); err != nil {
			w.Abort()
			return nil, err
		}
	}
	return w, nil
}

// relay copies bytes in both directions until the connection is cut.
func (p *cutter) relay(near, far *net.TCPConn, after time.Duration) {
	var stalled atomic.Bool
	pass := func(to, from *net.TCPConn) {
		b := make([]byte, 1+rand.IntN(4000)) // a cut may fall at any byte
		for {
			n, err := from.Read(b)
			if stalled.Load() {
				_, _ = io.Copy(io.Discard, from) // accepted and never delivered
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
		time.Sleep(after)
		p.c.cuts.Add(1)
		switch rand.IntN(3) {
		case 0: // RST
			_ = near.SetLinger(0)
			_ = far.SetLinger(0)
			cut(near, far)
		case 1: // FIN
			cut(near, far)
		case 2: // the client notices, but for the server the connection is alive
			stalled.Store(true)
			cut(near)
			time.Sleep(300 * time.Millisecond)
			cut(far)
		}
	})
}
