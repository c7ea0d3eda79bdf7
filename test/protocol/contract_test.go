package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/conntest"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// The server has to work over every connection that implements net.Conn, not only over
// those of package net.

// contract runs test with every kind of connection, over TCP and WebSocket. The tests run
// concurrently, because they mostly wait.
func contract(t *testing.T, test func(t *testing.T, serve func(*nano.Server) *testkit.Server)) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, transport := range testkit.Sockets {
		for _, kind := range conntest.Kinds {
			each := func(t *testing.T) {
				test(t, func(s *nano.Server) *testkit.Server {
					l, err := net.Listen("tcp", "127.0.0.1:0")
					if err != nil {
						t.Fatal(err)
					}
					testkit.ShutdownAtEnd(t, s)
					return testkit.ServeOn(t, s, transport, conntest.Listener{Listener: l, Kind: kind})
				})
			}
			all.Go(func() { t.Run(kind.Name+" "+transport, each) })
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

// TestContractLastWords checks that a client that continues to send gets the last messages
// and the close reason.
func TestContractLastWords(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
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
						_ = c.Push("last", make([]byte, 10_000)) // more than the client's socket buffer
					}
					end.end(s, c)
					return nil
				}))
				at := serve(s)
				for range 5 {
					p := at.Join()
					keepSending(p)
					p.Send(testkit.Notify("Game.Do", ""))
					time.Sleep(100 * time.Millisecond) // the server still holds what the client has not read
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

// TestContractLingerIsBounded checks that a client that continues to send and never closes
// its side is closed.
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

// TestContractTimeouts checks that a silent client and a client that does not read are
// closed, even if the connection ignores deadlines.
func TestContractTimeouts(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
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
					for range 8 {
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

// TestContractTakesNothing checks that a session with resume is suspended if its client
// takes nothing, even if the connection ignores deadlines.
func TestContractTakesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	contract(t, func(t *testing.T, serve func(*nano.Server) *testkit.Server) {
		why := make(chan error, 1)
		at := serve(testkit.NewServer(testkit.NewGame(func(s *session.Session, _ []byte) error {
			s.OnSuspend(func(_ *session.Session, err error) { why <- err })
			for range 8 {
				_ = s.Push("news", make([]byte, 1<<20))
			}
			return nil
		}), nano.WithResume(nano.Resume{Buffer: 64 << 20}), nano.WithHeartbeatInterval(time.Second), nano.WithWriteBuffer(64<<20, nano.RefusePush)))
		p := at.Dial()
		var c testkit.ResumeClient
		if _, err := c.Connect(p.Wire); err != nil {
			t.Fatal(err)
		}
		p.Send(testkit.Notify("Game.Do", ""))
		p.Go(func() {
			for p.Wire.Send(testkit.Pack(packet.Heartbeat, "")) == nil {
				time.Sleep(100 * time.Millisecond)
			}
		})
		testkit.Eventually(t, "the session is suspended", func() bool { return at.Stats().Resume.Suspended == 1 })
		if err := <-why; !errors.Is(err, session.ErrClientClosed) && !errors.Is(err, session.ErrHeartbeat) {
			t.Errorf("OnSuspend is told %v", err)
		}
	})
}

// TestContractLimits checks that a client that continues to send gets the reason when it
// exceeds a limit.
func TestContractLimits(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	noRoom := func(t *testing.T, at *testkit.Server) {
		at.Join()
		conn, err := at.DialConn()
		if err != nil {
			t.Fatal(err)
		}
		p := testkit.NewClient(t, conn)
		keepSending(p)
		if at.IsWebSocket() {
			if status, err := p.ReadStatus(); status != http.StatusServiceUnavailable {
				t.Errorf("the status is %d, %v, want 503", status, err)
			}
		} else if typ, body, err := p.Packet(); typ != packet.Handshake || !strings.HasPrefix(body, `{"code":500,"message":"too many connections"`) {
			t.Errorf("a %v packet %s, %v came, want a refused handshake", typ, body, err)
		}
		if e := p.ReadUntilEnd(); errors.Is(e.Err, os.ErrDeadlineExceeded) {
			t.Error("the connection stays open")
		}
	}
	kick := func(first string, kick string, code int) func(*testing.T, *testkit.Server) {
		return func(t *testing.T, at *testkit.Server) {
			p := at.Join()
			p.Send([]byte(first))
			keepSending(p)
			if e := p.ReadUntilEnd(); e.Kick != kick || at.IsWebSocket() && e.Code != code {
				t.Errorf("kick %s and code %d came, want %s and %d; then %v", e.Kick, e.Code, kick, code, e.Err)
			}
		}
	}
	for _, c := range []struct {
		name  string
		opts  []nano.Option
		run   func(*testing.T, *testkit.Server)
		limit string
	}{
		{"connections", []nano.Option{nano.WithMaxConnections(1)}, noRoom, "connections"},
		{"connections of an address", []nano.Option{nano.WithMaxConnectionsPerAddress(1)}, noRoom, "address"},
		{"packet size", []nano.Option{nano.WithMaxPacketSize(100)}, kick(string(testkit.Pack(packet.Data, strings.Repeat("x", 101))), "", 1009), "packet size"},
		{"rate", []nano.Option{nano.WithMessageRate(1, 1), nano.WithMaxAbuse(2)}, kick("", `{"reason":"rate limit","code":"limit"}`, 1008), "rate"},
		{"handshake size", nil, func(t *testing.T, at *testkit.Server) {
			p := at.Dial()
			p.Send(testkit.Pack(packet.Handshake, strings.Repeat(" ", 17<<10)))
			keepSending(p)
			if typ, body, err := p.Packet(); err != nil || typ != packet.Handshake || !strings.HasPrefix(body, `{"code":500,`) {
				t.Errorf("a %v packet %s, %v came, want a refused handshake", typ, body, err)
			}
		}, "handshake size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			contract(t, func(t *testing.T, serve func(*nano.Server) *testkit.Server) {
				at := serve(testkit.NewServer(testkit.NewGame(nil), c.opts...))
				c.run(t, at)
				if n := at.Stats().Refused[c.limit]; n < 1 {
					t.Errorf("%d refusals were counted, want 1", n)
				}
			})
		})
	}
}

// TestAnswerBeforeTheFarewell checks that the answer of a handler that closes its own
// session precedes the farewell.
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
		for _, resume := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, resume %v", c.name, resume), func(t *testing.T) {
				for _, transport := range testkit.Sockets {
					at := testkit.Start(t, transport, testkit.NewGame(func(s *session.Session, _ []byte) error {
						defer func() {
							if err := s.Push("late", []byte("x")); !errors.Is(err, session.ErrBrokenPipe) {
								t.Errorf("Push to the closed session = %v, want ErrBrokenPipe", err)
							}
						}()
						return c.do(s)
					}), nano.WithResume(nano.Resume{}))
					p := at.Dial()
					kick := c.kick
					if resume {
						if _, err := new(testkit.ResumeClient).Connect(p.Wire); err != nil {
							t.Fatal(err)
						}
						if kick == "" { // prevents a resume
							kick = `{"reason":"closed","code":"server"}`
						}
					} else {
						p.Join()
					}
					p.Send(append(testkit.Request(1, "Game.Do", ""), testkit.Request(2, "Game.Echo", "never")...))
					e := p.ReadEnd()
					if len(e.Messages) != 1 || e.Messages[0].ID != 1 || e.Messages[0].Err != c.err || e.Kick != kick {
						t.Errorf("%s: %v and kick %q came, want one answer and %q", transport, e.Messages, e.Kick, kick)
					}
				}
			})
		}
	}
}

// TestResumeWhileTheFarewellWaits checks that a client cannot resume after it lost its
// connection while its farewell waited for an answer, and that it gets the reason.
func TestResumeWhileTheFarewellWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kicked, end := make(chan struct{}), make(chan struct{})
		at := testkit.Start(t, "pipe", testkit.NewGame(func(s *session.Session, _ []byte) error {
			_ = s.Kick("bye")
			close(kicked)
			<-end
			return s.Response([]byte("lost"))
		}), nano.WithResume(nano.Resume{}))
		c, p := &testkit.ResumeClient{}, at.DialPatient()
		if _, err := c.Connect(p.Wire); err != nil {
			t.Fatal(err)
		}
		c.Send(testkit.Request(1, "Game.Do", ""))
		<-kicked
		_ = p.Conn.Close()
		c.Lost()
		synctest.Wait()
		a, err := c.Connect(at.DialPatient().Wire)
		if err != nil || a.Resumed || a.Reason != "ended" || string(a.Kick) != `{"reason":"bye","code":"kicked"}` {
			t.Errorf("%+v, %v came, want a new session and the kick of the other", a, err)
		}
		close(end)
	})
}

// TestHeartbeatsBelowASecond checks that the heartbeat interval sent to clients is in
// whole seconds, and that the server uses the same value.
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
			time.Sleep(2 * time.Second) // one of two heartbeats is late
			p.Send(testkit.Pack(packet.Heartbeat, ""))
		}
		start := time.Now()
		testkit.Eventually(t, "the silent client is closed", func() bool { return at.Stats().Closed["heartbeat"] == 1 })
		if d := time.Since(start); d < 2500*time.Millisecond || d > 4*time.Second {
			t.Errorf("it was closed after %v, want 2.75 s", d)
		}
	})
}

// TestSlowClientBelowASecond checks that a client gets three of the intervals that it was
// told to take bytes, not three shorter ones.
func TestSlowClientBelowASecond(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			at := testkit.Start(t, kind, testkit.NewGame(nil), nano.WithHeartbeatInterval(50*time.Millisecond))
			p := at.DialPatient()
			p.Join()
			p.Send(testkit.Request(1, "Game.Echo", "late"))
			time.Sleep(2500 * time.Millisecond) // the server writes meanwhile
			if m := p.Next(); string(m.Data) != "late" {
				t.Errorf("%s: %v %q came, want the answer", kind, m, m.Data)
			}
		})
	}
}

// TestLongestTimes checks options whose times are so long that sums of them would overflow.
func TestLongestTimes(t *testing.T) {
	const century = 100 * 365 * 24 * time.Hour
	for name, opts := range map[string][]nano.Option{
		"a century":   {nano.WithHeartbeatInterval(century), nano.WithHandshakeTimeout(century)},
		"the longest": {nano.WithHeartbeatInterval(math.MaxInt64), nano.WithHandshakeTimeout(math.MaxInt64)},
		"the window":  {nano.WithResume(nano.Resume{Window: math.MaxInt64})},
	} {
		for _, kind := range []string{"pipe", "wspipe"} {
			synctest.Test(t, func(t *testing.T) {
				p := testkit.Start(t, kind, testkit.NewGame(nil), opts...).DialPatient()
				time.Sleep(5 * time.Second)
				if a := p.Handshake("{}"); a.Sys.Heartbeat < 30 {
					t.Errorf("%s: %s: the server told an interval of %d s, want 30 or more", name, kind, a.Sys.Heartbeat)
				}
				p.Send(testkit.Pack(packet.Ack, ""))
				time.Sleep(time.Minute)
				p.Echo(1, "still there")
			})
		}
	}
}

// TestAnswersFindRoom checks that an accepted request is answered, even if the client's
// write buffer is full.
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
