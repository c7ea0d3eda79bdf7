package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/pipenet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

const shutdownKick = `{"reason":"server shutdown","code":"shutdown"}`

// Gate is a component that records its steps and has a handler that waits.
type Gate struct {
	component.Base
	begun chan struct{}
	block chan struct{}
	open  func() int // returns the number of open sessions

	mu    sync.Mutex
	steps []string
}

func newGate() *Gate { return &Gate{begun: make(chan struct{}, 1), block: make(chan struct{})} }

func (g *Gate) note(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.steps = append(g.steps, fmt.Sprintf(format, args...))
}

func (g *Gate) seen() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.steps)
}

func (g *Gate) Pass(s *session.Session, data []byte) error {
	select {
	case g.begun <- struct{}{}:
	default:
	}
	if s.Value("seen") == nil {
		s.Set("seen", true)
		s.OnClose(func(_ *session.Session, err error) { g.note("closed: %v", err) })
	}
	<-g.block
	return s.Response(data)
}

func (g *Gate) Echo(s *session.Session, data []byte) error { return s.Response(data) }

func (g *Gate) BeforeShutdown() { g.note("BeforeShutdown, %d sessions", g.open()) }

func (g *Gate) Shutdown() { g.note("Shutdown, %d sessions", g.open()) }

// TestShutdownDrains checks that accepted requests are answered first. Then the clients
// are notified, the callbacks run, and the components shut down.
func TestShutdownDrains(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tcp", "ws", "pipe", "tls"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const clients, requests = 20, 50
			gate := newGate()
			at := testkit.Start(t, kind, gate, nano.WithSlowHandler(0))
			gate.open = func() int { return at.Stats().Sessions }
			var peers []*testkit.Client
			for range clients {
				p := at.Join()
				peers = append(peers, p)
				p.Go(func() {
					var all []byte
					for i := range uint64(requests) {
						all = append(all, testkit.Request(i+1, "Gate.Pass", "x")...)
					}
					_ = p.Wire.Send(all)
				})
			}
			testkit.Eventually(t, "all requests are accepted", func() bool { return at.Stats().MessagesIn == clients*requests })
			ended := make(chan error, 1)
			go func() { ended <- at.Shutdown(context.Background()) }()
			testkit.Eventually(t, "nobody is let in", func() bool {
				c, err := at.DialConn()
				if err == nil {
					_ = c.Close()
				}
				return err != nil
			})
			close(gate.block)
			for _, p := range peers {
				e := p.ReadEnd()
				if len(e.Messages) != requests || e.Kick != shutdownKick || !errors.Is(e.Err, io.EOF) || at.IsWebSocket() && e.Code != 1001 {
					t.Fatalf("%d answers, then kick %s, code %d, %v, want %d and a kick", len(e.Messages), e.Kick, e.Code, e.Err, requests)
				}
				for i, m := range e.Messages {
					if m.ID != uint64(i)+1 || m.Err {
						t.Fatalf("%v came, want the answer to request %d", m, i+1)
					}
				}
			}
			if err := testkit.Receive(t, ended, "the end of Shutdown"); err != nil {
				t.Errorf("Shutdown = %v", err)
			}
			steps := gate.seen()
			want := []string{fmt.Sprintf("BeforeShutdown, %d sessions", clients)}
			for range clients {
				want = append(want, "closed: "+session.ErrShutdown.Error())
			}
			if want = append(want, "Shutdown, 0 sessions"); !slices.Equal(steps, want) {
				t.Errorf("steps %v, want %v", steps, want)
			}
			if n := at.Stats().Closed["shutdown"]; n != clients {
				t.Errorf("%d sessions were counted as closed by the shutdown, want %d", n, clients)
			}
		})
	}
}

// TestShutdownWithStrangers checks that a shutdown closes clients without a completed
// handshake too.
func TestShutdownWithStrangers(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		at := testkit.Start(t, kind, &testkit.Game{})
		p, q := at.Dial(), at.Dial()
		q.Handshake("{}")
		r, err := at.DialConn() // before the end of the upgrade or handshake
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "all are accepted", func() bool { return at.Stats().Connections >= 2 })
		if err := at.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		for _, c := range []net.Conn{p.Conn, q.Conn, r} {
			_ = c.SetReadDeadline(time.Now().Add(testkit.Patience))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("a connection stays open")
			}
			_ = c.Close()
		}
	}
}

// TestDrainRefusesWhatComesLater checks that a request that arrives while the server
// drains is refused at once, even if its session has waiting messages.
func TestDrainRefusesWhatComesLater(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		for _, flood := range []int{1, 20} { // waiting messages; at most two may wait
			synctest.Test(t, func(t *testing.T) {
				room := scheduler.New()
				defer room.Close()
				gate := newGate()
				gate.open = func() int { return 0 }
				components := &component.Components{}
				components.Register(gate, component.WithSchedulerName("room"))
				at := testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, _ []byte) error {
					s.Set("room", room)
					return s.Response([]byte("in"))
				}}, nano.WithComponents(components), nano.WithMaxPending(2), nano.WithSlowHandler(0))
				p := at.DialPatient()
				p.Join()
				p.Call(1, "Game.Do", "")
				answers := make(chan *message.Message, 100)
				p.Go(func() {
					defer close(answers)
					for {
						m, err := p.Message()
						if err != nil {
							if err.Error() != "kicked: "+shutdownKick {
								t.Errorf("the connection ended with %v, want a kick", err)
							}
							return
						}
						answers <- m
					}
				})
				p.Go(func() {
					for i := range flood {
						if p.Wire.Send(testkit.Request(uint64(100+i), "Gate.Pass", "")) != nil {
							t.Error("the connection ended early")
							return
						}
					}
				})
				synctest.Wait()
				ended := make(chan error, 1)
				go func() { ended <- at.Shutdown(context.Background()) }()
				synctest.Wait()
				p.Send(testkit.Request(7, "Game.Echo", ""), testkit.Notify("Game.Echo", ""))
				time.Sleep(50 * time.Millisecond)
				// Messages that found no space before the shutdown are refused, and so
				// are later ones.
				refused := map[uint64]bool{}
				for len(answers) > 0 {
					m := <-answers
					if e := p.ErrorOf(m); e.Code != nano.CodeUnavailable {
						t.Errorf("request %d was answered by %v, want NANO-503", m.ID, e)
					}
					refused[m.ID] = true
				}
				if !refused[7] || len(refused) != 1+max(flood-2, 0) {
					t.Errorf("refused: %v, want request 7 and %d that found no room", refused, max(flood-2, 0))
				}
				close(gate.block)
				if err := <-ended; err != nil {
					t.Errorf("Shutdown = %v", err)
				}
				next := uint64(100)
				for m := range answers {
					if m.ID != next || m.Err {
						t.Errorf("%v came, want the answer to request %d", m, next)
					}
					next++
				}
				if next != 100+uint64(min(flood, 2)) {
					t.Errorf("%d requests were served, want %d", next-100, min(flood, 2))
				}
			})
		}
	}
}

// TestShutdownDeadline checks that a shutdown ends when its context does, even if a
// handler blocks. The remaining steps follow when the handler returns.
func TestShutdownDeadline(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			gate := newGate()
			at := testkit.Start(t, kind, gate, nano.WithSlowHandler(0))
			gate.open = func() int { return at.Stats().Sessions }
			p := at.DialPatient()
			p.Join()
			p.Send(testkit.Request(1, "Gate.Pass", ""))
			<-gate.begun
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			start := time.Now()
			var told testkit.Ending
			var toldAfter time.Duration
			client := make(chan struct{})
			go func() {
				defer close(client)
				told = p.ReadUntilEnd()
				toldAfter = time.Since(start)
			}()
			err := at.Shutdown(ctx)
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 5*time.Second {
				t.Errorf("Shutdown = %v after %v, want its context's error after 5s", err, took)
			}
			if !strings.Contains(err.Error(), "Gate.BeforeShutdown") {
				t.Errorf("Shutdown = %v, want to be told what it waited for", err)
			}
			if <-client; len(told.Messages) != 0 || told.Kick != shutdownKick {
				t.Errorf("%v and kick %s came, want a kick", told.Messages, told.Kick)
			}
			if toldAfter >= 5*time.Second {
				t.Errorf("the client was told after %v, want it before Shutdown returns: the process may end then", toldAfter)
			}
			again := make(chan error, 1)
			go func() { again <- at.Shutdown(context.Background()) }()
			synctest.Wait()
			select {
			case err := <-again:
				t.Errorf("a second Shutdown = %v while the handler blocks", err)
			default:
			}
			close(gate.block)
			if err := <-again; err != nil {
				t.Errorf("a second Shutdown = %v", err)
			}
			steps := gate.seen()
			slices.Sort(steps)
			want := []string{"BeforeShutdown, 0 sessions", "Shutdown, 0 sessions", "closed: " + session.ErrShutdown.Error()}
			if !slices.Equal(steps, want) {
				t.Errorf("steps %v, want %v, late as it was", steps, want)
			}
		})
	}
}

func TestShutdownTwice(t *testing.T) {
	t.Parallel()
	at := testkit.Start(t, "tcp", &testkit.Game{})
	p := at.Join()
	p.Echo(1, "hello")
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			if err := at.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown = %v", err)
			}
		})
	}
	p.ReadEnd()
	group.Wait()
	if err := at.Start(); !errors.Is(err, nano.ErrServerClosed) {
		t.Errorf("Start = %v, want ErrServerClosed", err)
	}
	for _, serve := range []func(net.Listener) error{at.Serve, at.ServeWebSocket} {
		l := pipenet.New()
		if err := serve(l); !errors.Is(err, nano.ErrServerClosed) {
			t.Errorf("Serve = %v, want ErrServerClosed", err)
		}
		if _, err := l.Dial(); err == nil {
			t.Error("the listener was left open")
		}
	}
	at.Invoke(func() { t.Error("a task ran after the shutdown") })
	if err := at.Push(1, "onNews", nil); !errors.Is(err, nano.ErrUserNotFound) {
		t.Errorf("Push = %v, want ErrUserNotFound", err)
	}
	// The server was never started.
	s := testkit.NewServer(&testkit.Game{})
	for range 2 {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	}
	if err := s.Start(); !errors.Is(err, nano.ErrServerClosed) {
		t.Errorf("Start = %v, want ErrServerClosed", err)
	}
}

// TestHandlerShutsDown checks that a handler may shut the server down, and that the
// shutdown continues in the background.
func TestHandlerShutsDown(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		var at *testkit.Server
		at = testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
			if err := at.Shutdown(context.Background()); err != nil {
				return err
			}
			return s.Response(data)
		}})
		p, other := at.Join(), at.Join()
		other.Echo(1, "hello")
		p.Send(testkit.Request(1, "Game.Do", "going down"), testkit.Request(2, "Game.Echo", "me too"))
		if m := p.Next(); m.ID != 1 || string(m.Data) != "going down" {
			t.Errorf("%v came, want the answer", m)
		}
		if e := p.ReadEnd(); e.Kick != shutdownKick {
			t.Errorf("kick %s", e.Kick)
		}
		if e := other.ReadEnd(); e.Kick != shutdownKick {
			t.Errorf("kick %s", e.Kick)
		}
		if err := at.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	}
}

// TestPanicAtTheEnd checks that other components shut down if one panics in its shutdown.
func TestPanicAtTheEnd(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"BeforeShutdown", "Shutdown"} {
		var steps []string
		s := nano.New(testkit.Quiet, testkit.WithStepRecorders(&steps, step, "A", "B"))
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if err := s.Shutdown(t.Context()); err == nil || !strings.Contains(err.Error(), "panic in B."+step) {
			t.Errorf("Shutdown = %v, want the panic of B.%s", err, step)
		}
		if len(steps) != 8 {
			t.Errorf("steps %v, want all eight", steps)
		}
	}
}
