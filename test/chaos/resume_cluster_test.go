package chaos_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// resumeGame is the component of a process. It answers the numbered requests of each session, and pushes and broadcasts
// numbers of its own.
type resumeGame struct {
	component.Base
	group *nano.Group
	fault func(error)

	rounds int // of broadcasts; for the logic goroutine
}

// Do checks the number of a request, and pushes and answers it.
func (g *resumeGame) Do(s *session.Session, data []byte) error {
	n := s.Int("requests")
	if n == 0 {
		if err := g.group.Add(s); err != nil {
			g.fault(fmt.Errorf("Add = %w", err))
		}
		s.OnClose(func(s *session.Session, err error) { g.fault(fmt.Errorf("session %d closed: %w", s.ID(), err)) })
	}
	if want := fmt.Sprint(n); string(data) != want {
		g.fault(fmt.Errorf("session %d: request %s came, want %s", s.ID(), data, want))
	}
	s.Set("requests", n+1)
	if err := s.Push("push", fmt.Append(nil, n)); err != nil {
		g.fault(fmt.Errorf("Push = %w", err))
	}
	return s.Response(data)
}

// broadcast broadcasts numbers until the process ends.
func (g *resumeGame) broadcast(srv *nano.Server) {
	for range time.Tick(50 * time.Millisecond) {
		srv.Invoke(func() {
			_ = g.group.Broadcast("all", fmt.Append(nil, g.rounds))
			g.rounds++
		})
	}
}

// resumeGate is the process of a gate, and those that come after it at its addresses.
type resumeGate struct {
	mu      sync.Mutex
	process *nodeCmd     // mu guards it; only the goroutine of the test changes it
	kills   atomic.Int64 // processes that were killed
}

// addr returns where clients connect.
func (g *resumeGate) addr(framed bool) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if framed {
		return g.process.spec.Pages
	}
	return g.process.spec.Players
}

// kill kills the process.
func (g *resumeGate) kill() {
	g.kills.Add(1)
	g.process.kill()
}

// restart starts another process at the addresses of the killed one, from the goroutine of the test.
func (g *resumeGate) restart(t *testing.T) {
	t.Helper()
	p := spawn(t, g.process.spec)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.process = p
}

// resumeCluster is gates in processes of their own, and clients that come back at any of them.
type resumeCluster struct {
	t     *testing.T
	gates []*resumeGate
	cut   bool // connections are cut all the time, and not by cutAll alone

	clients sync.WaitGroup
	over    atomic.Bool           // clients send nothing more
	only    atomic.Pointer[[]int] // the gates that clients connect to
	wires   sync.Map              // *testkit.Wire that are open

	cuts, begun, ended, resumes, carried, requests, received atomic.Int64
	entered                                                  atomic.Int64 // clients whose session has begun
}

// startResumeCluster starts n gates.
func startResumeCluster(t *testing.T, n int) *resumeCluster {
	t.Helper()
	c := &resumeCluster{t: t}
	seeds := ""
	all := make([]int, n)
	for i := range n {
		p := spawn(t, nodeSpec{
			Name: fmt.Sprint("gate", i), Listen: "127.0.0.1:0", Players: "127.0.0.1:0", Pages: "127.0.0.1:0", Seeds: seeds, Resume: true,
		})
		c.gates = append(c.gates, &resumeGate{process: p})
		seeds, all[i] = c.gates[0].process.addr(), i
	}
	// The restarted first gate joins the cluster through another gate.
	c.gates[0].process.spec.Seeds = c.gates[n-1].process.addr()
	c.only.Store(&all)
	c.converge()
	return c
}

// converge waits until every gate sees the others.
func (c *resumeCluster) converge() {
	c.t.Helper()
	for _, g := range c.gates {
		testkit.Eventually(c.t, "the gates see each other", func() bool {
			up := 0
			for _, m := range g.process.ask(asked{}).Members {
				if m.Up {
					up++
				}
			}
			return up == len(c.gates)-1
		})
	}
}

// connectTo has clients connect to these gates from now on.
func (c *resumeCluster) connectTo(gates ...int) { c.only.Store(&gates) }

// dial connects to a gate. A session that has not begun has some time before the cut.
func (c *resumeCluster) dial(gate int, framed, begun bool) (*testkit.Wire, error) {
	conn, err := net.Dial("tcp", c.gates[gate].addr(framed))
	if err != nil {
		return nil, err
	}
	if c.cut {
		after := time.Duration(50+rand.IntN(450)) * time.Millisecond
		if !begun {
			after = max(after, 200*time.Millisecond)
		}
		conn = cutLater(conn.(*net.TCPConn), after, &c.cuts)
	}
	w := testkit.NewWire(conn)
	w.Patience = 5 * time.Second
	if framed {
		if err := w.Upgrade("/"); err != nil {
			w.Abort()
			return nil, err
		}
	}
	return w, nil
}

// cutConn is a connection that breaks at any byte in either direction.
type cutConn struct {
	*net.TCPConn
	broken atomic.Bool
}

var errBroken = errors.New("the connection is broken")

// cutLater returns conn, which breaks after a time with RST or FIN, or without the server noticing it for a while.
func cutLater(conn *net.TCPConn, after time.Duration, cuts *atomic.Int64) *cutConn {
	c := &cutConn{TCPConn: conn}
	time.AfterFunc(after, func() {
		c.broken.Store(true)
		cuts.Add(1)
		switch rand.IntN(3) {
		case 0:
			_ = conn.SetLinger(0)
			_ = conn.Close()
		case 1:
			_ = conn.Close()
		case 2:
			_ = conn.SetReadDeadline(time.Unix(1, 0))
			time.AfterFunc(300*time.Millisecond, func() { _ = conn.Close() })
		}
	})
	return c
}

// Read reads bytes that need not be whole packets, and none after the cut.
func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b[:1+rand.IntN(len(b))])
	if c.broken.Load() {
		return 0, errBroken
	}
	return n, err
}

// Write writes b in pieces, and none after the cut.
func (c *cutConn) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		if c.broken.Load() {
			return n, errBroken
		}
		var k int
		k, err = c.TCPConn.Write(b[n:min(n+1+rand.IntN(4000), len(b))])
		n += k
	}
	return n, err
}

// SetReadDeadline has no effect after the cut.
func (c *cutConn) SetReadDeadline(t time.Time) error {
	if c.broken.Load() {
		return errBroken
	}
	return c.TCPConn.SetReadDeadline(t)
}

// cutAll cuts the connections of all clients.
func (c *resumeCluster) cutAll() {
	c.wires.Range(func(w, _ any) bool {
		w.(*testkit.Wire).Abort()
		c.cuts.Add(1)
		return true
	})
}

// start starts n clients, every other one with WebSocket.
func (c *resumeCluster) start(n int) {
	for i := range n {
		c.clients.Go(func() { c.client(i%2 == 1) })
	}
}

// finish ends the load, waits until every client has got everything, and asks the gates for faults.
func (c *resumeCluster) finish(name string) {
	c.t.Helper()
	c.over.Store(true)
	c.clients.Wait()
	var replayed int64
	for _, g := range c.gates {
		replayed += g.process.ask(asked{}).Resume.Replayed // a fault would come before the answer
	}
	c.t.Logf("%s: %d sessions began: %d requests were sent, %d messages came to clients, %d cuts, %d resumes, %d of them at another gate, "+
		"%d messages replayed by the processes at the end, %d sessions ended with their gates",
		name, c.begun.Load(), c.requests.Load(), c.received.Load(), c.cuts.Load(), c.resumes.Load(), c.carried.Load(), replayed, c.ended.Load())
}

// stay is one session of a client, at its gate.
type stay struct {
	gate int
	at   int64            // resumeGate.kills when the session began
	sent atomic.Int64     // requests
	next map[string]int64 // numbers of what is to come, by route; "" is that of responses
}

// client numbers its requests and checks what comes, over connections that are cut, until everything is answered. It
// begins another session when its gate was killed, and only then.
func (c *resumeCluster) client(framed bool) {
	client := &testkit.ResumeClient{}
	l := &stay{next: map[string]int64{}}
	var sender sync.WaitGroup
	quit := make(chan struct{})
	defer func() {
		select {
		case <-quit:
		default:
			close(quit)
		}
		sender.Wait()
	}()
	for deadline := time.Now().Add(10 * time.Minute); time.Now().Before(deadline); {
		only := *c.only.Load()
		i := only[rand.IntN(len(only))]
		at := c.gates[i].kills.Load()
		begun := len(l.next) > 0
		w, err := c.dial(i, framed, begun)
		if err != nil {
			time.Sleep(10 * time.Millisecond) // the gate is down
			continue
		}
		a, err := testkit.Ask(w, client.Handshake())
		switch {
		case err != nil:
		case a.Resumed:
			c.resumes.Add(1)
			if i != l.gate {
				c.carried.Add(1)
			}
		case begun && (a.Reason != "unknown" || c.gates[l.gate].kills.Load() == l.at):
			c.t.Errorf("a session of %d, whose gate was not killed, did not go on at %d: %s", l.gate, i, a.Reason)
			w.Abort()
			return
		default:
			if begun {
				c.ended.Add(1)
				c.entered.Add(-1)
				close(quit)
				sender.Wait() // it sends nothing in the new session
				quit = make(chan struct{})
			}
			l = &stay{gate: i, at: at, next: map[string]int64{}}
			l.sent.Store(1)
		}
		if err == nil {
			err = client.Enter(w, a)
		}
		if err != nil {
			w.Abort()
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			continue
		}
		if !a.Resumed {
			client.Send(testkit.Request(1, "Game.Do", "0")) // its answer says that the session has begun
		}
		if c.serve(client, w, l, &sender, quit) {
			return
		}
	}
	c.t.Error("a client has not come to its end")
}

// serve reads what comes over one connection. It reports whether the client has ended.
func (c *resumeCluster) serve(client *testkit.ResumeClient, w *testkit.Wire, l *stay, sender *sync.WaitGroup, quit chan struct{}) (over bool) {
	c.wires.Store(w, true)
	defer c.wires.Delete(w)
	defer w.Abort()
	defer client.Lost()
	for {
		m, err := client.Next(w)
		if kick, ok := errors.AsType[testkit.KickError](err); ok {
			c.t.Errorf("kicked: %v", kick)
			return true
		}
		if err != nil {
			return false
		}
		c.received.Add(1)
		first := len(l.next) == 0
		var n int64
		_, err = fmt.Sscan(string(m.Data), &n)
		if want, begun := l.next[m.Route]; err != nil || m.Err || n != want && (begun || m.Route != "all") { // broadcasts begin with any
			c.t.Errorf("of gate %d: %v %q came, want number %d", l.gate, m, m.Data, want)
			return true
		}
		l.next[m.Route] = n + 1
		if first {
			c.begun.Add(1)
			c.entered.Add(1)
			sender.Go(func() { c.send(client, l, quit) })
		}
		if n := l.sent.Load(); c.over.Load() && l.next[""] == n && l.next["push"] == n {
			return true
		}
	}
}

// send sends requests until the session has ended or nothing more is to be sent.
func (c *resumeCluster) send(client *testkit.ResumeClient, l *stay, quit chan struct{}) {
	for !c.over.Load() {
		if client.Waiting() < 200 {
			n := l.sent.Load()
			l.sent.Store(n + 1)
			client.Send(testkit.Request(uint64(n+1), "Game.Do", fmt.Sprint(n)))
			c.requests.Add(1)
		}
		select {
		case <-time.After(time.Duration(rand.IntN(60)) * time.Millisecond):
		case <-quit:
			return
		}
	}
}

// TestResumeCluster lets clients come back at any gate of a cluster, while their connections are cut and gates are killed.
// Every message comes once and in order, and only the sessions of killed gates end.
func TestResumeCluster(t *testing.T) {
	testkit.SkipInShort(t, "starts processes")
	d := 10 * time.Second
	if *resumeTime > 0 {
		d = *resumeTime
	}
	c := startResumeCluster(t, 3)
	c.cut = true
	c.start(*resumeClients)
	kills := 0
	for until := time.Now().Add(d); time.Until(until) > 2*time.Second; kills++ {
		time.Sleep(min(2*time.Second, d/4))
		g := c.gates[kills%len(c.gates)]
		g.kill()
		time.Sleep(300 * time.Millisecond)
		g.restart(t)
		c.converge()
	}
	time.Sleep(time.Second)
	c.finish(fmt.Sprintf("3 gates, %d clients, %v, %d gates killed", *resumeClients, d, kills))
	if kills == 0 || c.ended.Load() == 0 || c.carried.Load() == 0 {
		t.Error("no gate was killed with a session, or no session went on at another gate")
	}
}

// TestResumeCarrier lets clients come back at another gate than that of their sessions, kills that gate, lets them come
// back again, and then kills the gate of the sessions. All of it happens under load.
func TestResumeCarrier(t *testing.T) {
	testkit.SkipInShort(t, "starts processes")
	const home, away = 0, 1
	c := startResumeCluster(t, 2)
	n := int64(*resumeClients)
	carried := func(want int64) {
		t.Helper()
		testkit.Eventually(t, fmt.Sprintf("%d clients are carried", want), func() bool {
			return int64(c.gates[away].process.ask(asked{}).Carried) == want
		})
	}
	c.connectTo(home)
	c.start(int(n))
	testkit.Eventually(t, "the sessions have begun", func() bool { return c.entered.Load() == n })

	c.connectTo(away)
	began := time.Now()
	c.cutAll()
	carried(n)
	t.Logf("%d clients were back at another gate after %v", n, time.Since(began).Round(time.Millisecond))
	load := c.received.Load() + 100*n
	testkit.Eventually(t, "messages come over the other gate", func() bool { return c.received.Load() > load })

	c.gates[away].kill()
	testkit.Eventually(t, "the sessions are suspended", func() bool {
		return int64(c.gates[home].process.ask(asked{}).Resume.Suspended) == n
	})
	c.gates[away].restart(t)
	c.converge()
	carried(n)
	load = c.received.Load() + 100*n
	testkit.Eventually(t, "messages come again", func() bool { return c.received.Load() > load })
	if ended := c.ended.Load(); ended != 0 {
		t.Errorf("%d sessions have ended with a gate that only carried them", ended)
	}
	began = time.Now()
	c.gates[home].kill()
	testkit.Eventually(t, "the clients have new sessions", func() bool { return c.ended.Load() == n && c.entered.Load() == n })
	t.Logf("%d clients had new sessions %v after the gate of theirs was killed", n, time.Since(began).Round(time.Millisecond))
	c.gates[home].restart(t)
	c.converge()
	c.finish(fmt.Sprintf("2 gates, %d clients", n))
}
