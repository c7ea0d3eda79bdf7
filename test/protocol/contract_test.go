package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// What the server promises must hold over every connection that keeps the contract of
// net.Conn, and not only over those of package net.

// shortReads reads a few bytes at once.
type shortReads struct{ *net.TCPConn }

func (c shortReads) Read(p []byte) (int, error) { return c.TCPConn.Read(p[:min(len(p), 3)]) }

// emptyReads returns neither bytes nor an error every other time.
type emptyReads struct {
	*net.TCPConn
	empty *bool
}

func (c emptyReads) Read(p []byte) (int, error) {
	if *c.empty = !*c.empty; *c.empty {
		return 0, nil
	}
	return c.TCPConn.Read(p)
}

// lastReads returns the last bytes together with the end of the stream. It waits for the end
// for a moment, since only the client knows which bytes are the last.
type lastReads struct {
	*net.TCPConn
	ahead *[]byte
}

func (c lastReads) Read(p []byte) (n int, err error) {
	if n = copy(p, *c.ahead); n > 0 {
		*c.ahead = (*c.ahead)[n:]
	} else if n, err = c.TCPConn.Read(p); err != nil {
		return n, err
	}
	if len(*c.ahead) > 0 {
		return n, nil
	}
	next := make([]byte, 1)
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	m, err := c.TCPConn.Read(next)
	_ = c.SetReadDeadline(time.Time{})
	*c.ahead = next[:m]
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n, err
}

// noCloseWrite has the methods of net.Conn alone.
type noCloseWrite struct{ net.Conn }

// noDeadlines has deadlines without effect.
type noDeadlines struct{ net.Conn }

func (noDeadlines) SetDeadline(time.Time) error      { return nil }
func (noDeadlines) SetReadDeadline(time.Time) error  { return nil }
func (noDeadlines) SetWriteDeadline(time.Time) error { return nil }

var connections = []struct {
	name string
	wrap func(*net.TCPConn) net.Conn
}{
	{"bare", func(c *net.TCPConn) net.Conn { return c }},
	{"short reads", func(c *net.TCPConn) net.Conn { return shortReads{c} }},
	{"reads of nothing", func(c *net.TCPConn) net.Conn { return emptyReads{c, new(bool)} }},
	{"bytes with the end", func(c *net.TCPConn) net.Conn { return lastReads{c, new([]byte)} }},
	{"no CloseWrite", func(c *net.TCPConn) net.Conn { return noCloseWrite{c} }},
	{"no deadlines", func(c *net.TCPConn) net.Conn { return noDeadlines{c} }},
}

// wrapping is a listener whose connections are wrapped.
type wrapping struct {
	net.Listener
	wrap func(*net.TCPConn) net.Conn
}

func (l wrapping) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(c.(*net.TCPConn)), nil
}

// contract runs test with every kind of connection, over TCP and WebSocket. The tests run at once, since they wait most
// of the time. Package net/http takes a connection over with a deadline only, so no WebSocket lives on one whose deadlines
// do nothing.
func contract(t *testing.T, test func(t *testing.T, serve func(*nano.Server) *testkit.Server)) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, transport := range testkit.Sockets {
		for _, kind := range connections {
			if kind.name == "no deadlines" && transport == "ws" {
				continue
			}
			each := func(t *testing.T) {
				test(t, func(s *nano.Server) *testkit.Server {
					l, err := net.Listen("tcp", "127.0.0.1:0")
					if err != nil {
						t.Fatal(err)
					}
					testkit.ShutdownAtEnd(t, s)
					return testkit.ServeOn(t, s, transport, wrapping{l, kind.wrap})
				})
			}
			all.Go(func() { t.Run(kind.name+" "+transport, each) })
		}
	}
}

// keepSending sends notifies until the connection ends.
func keepSending(p *testkit.Client) {
	p.Go(func() {
		for b := testkit.Notify("Game.Do", "x"); ; {
			if p.Wire.Send(b) != nil {
				return
			}
			time.Sleep(20 * time.Microsecond)
		}
	})
}

// A client that goes on sending gets what was sent to it last, and the reason of the end.
func TestContractLastWords(t *testing.T) {
	const pushes = 50
	for _, end := range []struct {
		name string
		end  func(*nano.Server, *session.Session)
		kick string
		code int
	}{
		{"close", func(_ *nano.Server, s *session.Session) { s.Close() }, "", 1000},
		{"kick", func(_ *nano.Server, s *session.Session) { _ = s.Kick("enough") }, `{"reason":"enough","code":"kicked"}`, 1000},
		{"shutdown", func(at *nano.Server, _ *session.Session) { go func() { _ = at.Shutdown(context.Background()) }() }, `{"reason":"server shutdown","code":"shutdown"}`, 1001},
	} {
		t.Run(end.name, func(t *testing.T) {
			contract(t, func(t *testing.T, serve func(*nano.Server) *testkit.Server) {
				s := (*nano.Server)(nil)
				s = testkit.NewServer(testkit.NewGame(func(c *session.Session, data []byte) error {
					if len(data) > 0 {
						return nil
					}
					for range pushes {
						_ = c.Push("last", make([]byte, 10_000)) // more than the client's socket holds
					}
					end.end(s, c)
					return nil
				}))
				at := serve(s)
				for range 5 {
					p := at.Join()
					keepSending(p)
					p.Send(testkit.Notify("Game.Do", ""))
					time.Sleep(100 * time.Millisecond) // what the client has not read is still with the server
					e := p.ReadUntilEnd()
					if len(e.Messages) != pushes || e.Kick != end.kick || at.IsWebSocket() && e.Code != end.code {
						t.Errorf("%d pushes, kick %s and code %d came, want %d, %s and %d; then %v", len(e.Messages), e.Kick, e.Code, pushes, end.kick, end.code, e.Err)
					}
					if end.name == "shutdown" {
						return
					}
				}
			})
		})
	}
}

// A client that goes on sending, and never closes its side, is let go.
func TestContractLingerIsBounded(t *testing.T) {
	contract(t, func(t *testing.T, serve func(*nano.Server) *testkit.Server) {
		at := serve(testkit.NewServer(testkit.NewGame(func(c *session.Session, _ []byte) error { return c.Kick("enough") })))
		p := at.Join()
		keepSending(p)
		p.Send(testkit.Notify("Game.Do", ""))
		start := time.Now()
		testkit.Eventually(t, "the connection is closed", func() bool { return at.Stats().Connections == 0 })
		if d := time.Since(start); d > 8*time.Second {
			t.Errorf("the connection was closed after %v, want 1 s", d)
		}
	})
}

// A client that is silent, or takes nothing, is closed without deadlines too.
func TestContractTimeouts(t *testing.T) {
	for _, c := range []struct {
		name string
		opts []nano.Option
		run  func(t *testing.T, p *testkit.Client)
		want string
	}{
		{"handshake", []nano.Option{nano.WithHandshakeTimeout(300 * time.Millisecond)}, func(t *testing.T, p *testkit.Client) {
			if e := p.ReadUntilEnd(); e.Err == nil {
				t.Error("the connection is open")
			}
		}, "handshake"},
		{"heartbeat", []nano.Option{nano.WithHeartbeatInterval(time.Second)}, func(_ *testing.T, p *testkit.Client) { p.Join() }, "heartbeat"},
		{"a client that takes nothing", []nano.Option{nano.WithHeartbeatInterval(time.Second), nano.WithWriteBuffer(64<<20, nano.RefusePush)}, func(_ *testing.T, p *testkit.Client) {
			p.Join()
			p.Send(testkit.Notify("Game.Do", ""))
			p.Go(func() {
				for p.Wire.Send(testkit.Pack(packet.Heartbeat, "")) == nil {
					time.Sleep(100 * time.Millisecond)
				}
			})
		}, "slow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			contract(t, func(t *testing.T, serve func(*nano.Server) *testkit.Server) {
				at := serve(testkit.NewServer(testkit.NewGame(func(s *session.Session, _ []byte) error {
					for range 32 {
						_ = s.Push("news", make([]byte, 1<<20))
					}
					return nil
				}), c.opts...))
				start := time.Now()
				c.run(t, at.Dial())
				testkit.Eventually(t, "the session is closed with "+c.want, func() bool { return at.Stats().Closed[c.want] == 1 })
				if d := time.Since(start); d > 15*time.Second {
					t.Errorf("it took %v", d)
				}
			})
		})
	}
}

// An answer of a handler that closes its own session comes before the farewell.
func TestAnswerBeforeTheFarewell(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(s *session.Session) error
		err  bool
		kick string
	}{
		{"close and respond", func(s *session.Session) error { s.Close(); return s.Response([]byte("ok")) }, false, ""},
		{"kick and respond", func(s *session.Session) error { _ = s.Kick("bye"); return s.Response([]byte("ok")) }, false, `{"reason":"bye","code":"kicked"}`},
		{"kick and fail", func(s *session.Session) error { _ = s.Kick("bye"); return nano.Errorf("GAME-1", "no") }, true, `{"reason":"bye","code":"kicked"}`},
		{"kick and panic", func(s *session.Session) error { _ = s.Kick("bye"); panic("no") }, true, `{"reason":"bye","code":"kicked"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, transport := range testkit.Sockets {
				at := testkit.Start(t, transport, testkit.NewGame(func(s *session.Session, _ []byte) error {
					defer func() {
						if err := s.Push("late", []byte("x")); !errors.Is(err, session.ErrBrokenPipe) {
							t.Errorf("Push to the closed session = %v, want ErrBrokenPipe", err)
						}
					}()
					return c.do(s)
				}))
				p := at.Join()
				p.Send(append(testkit.Request(1, "Game.Do", ""), testkit.Request(2, "Game.Echo", "never")...))
				e := p.ReadEnd()
				if len(e.Messages) != 1 || e.Messages[0].ID != 1 || e.Messages[0].Err != c.err || e.Kick != c.kick {
					t.Errorf("%s: %v and kick %q came, want one answer and %q", transport, e.Messages, e.Kick, c.kick)
				}
			}
		})
	}
}

// A client is told a whole second, and judged by it.
func TestHeartbeatsBelowASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := testkit.Start(t, "pipe", testkit.NewGame(nil), nano.WithHeartbeatInterval(50*time.Millisecond))
		p := at.DialPatient()
		if a := p.Handshake("{}"); a.Sys.Heartbeat != 1 {
			t.Fatalf("the server told an interval of %d s, want 1", a.Sys.Heartbeat)
		}
		p.Send(testkit.Pack(packet.Ack, ""))
		go func() { p.ReadUntilEnd() }()
		for range 10 {
			time.Sleep(2 * time.Second) // of two heartbeats one is late
			p.Send(testkit.Pack(packet.Heartbeat, ""))
		}
		start := time.Now()
		testkit.Eventually(t, "the silent client is closed", func() bool { return at.Stats().Closed["heartbeat"] == 1 })
		if d := time.Since(start); d < 2500*time.Millisecond || d > 4*time.Second {
			t.Errorf("it was closed after %v, want 2.75 s", d)
		}
	})
}

// A request that was accepted is answered, however full the client's write buffer is.
func TestAnswersFindRoom(t *testing.T) {
	for _, policy := range []nano.SlowClientPolicy{nano.RefusePush, nano.CloseSlowClient} {
		for _, transport := range []string{"pipe", "wspipe", "tcp"} {
			t.Run(fmt.Sprint(policy, transport), func(t *testing.T) {
				const requests, size, most = 3000, 3000, 20_000
				at := testkit.Start(t, transport, testkit.NewGame(func(s *session.Session, _ []byte) error {
					for err := error(nil); err == nil && policy == nano.RefusePush; {
						err = s.Push("news", make([]byte, 1000))
					}
					return s.Response(make([]byte, size))
				}), nano.WithWriteBuffer(most, policy), nano.WithMaxPending(8))
				p := at.Join()
				p.Go(func() {
					for id := range uint64(requests) {
						if p.Wire.Send(testkit.Request(id+1, "Game.Do", "")) != nil {
							return
						}
					}
				})
				for next := uint64(1); next <= requests; {
					m := p.Next()
					if m.Type != message.Response {
						continue
					}
					if m.ID != next || m.Err || len(m.Data) != size {
						t.Fatalf("%v %s came, want the answer %d", m, m.Data, next)
					}
					next++
				}
			})
		}
	}
}
