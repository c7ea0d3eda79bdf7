package lifecycle_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"weak"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/session"
)

// The tests of this file cover faults that widely used servers of this protocol have or
// had. Other tests cover the rest. TestListen and TestShutdownTwice cover a second Listen
// and a second Shutdown. TestHandshakeAnswerByteForByte covers servertime, and
// TestRefusedAlone requests without an answer.

// TestSendFromOutboundHook checks that an outbound hook may send any number of messages.
// A server with one writing goroutine and a bounded queue blocks here.
func TestSendFromOutboundHook(t *testing.T) {
	t.Parallel()
	const n = 20_000
	for _, kind := range []string{"tcp", "ws", "pipe", "tls"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			hooks := pipeline.New()
			hooks.Outbound().PushBack(func(s *session.Session, m *pipeline.Message) error {
				if m.Type == message.Response {
					return s.Push("onAnswer", m.Data)
				}
				return nil
			})
			p := testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
				for range n {
					if err := s.Push("onNews", data); err != nil {
						return err
					}
				}
				return s.Response(data)
			}}, nano.WithPipeline(hooks), nano.WithWriteBuffer(16<<20, nano.RefusePush)).Join()
			p.Send(testkit.Request(1, "Game.Do", "x"), testkit.Request(2, "Game.Echo", "y"))
			for i := range n {
				if m := p.Next(); m.Route != "onNews" {
					t.Fatalf("%v came, want push %d", m, i)
				}
			}
			for _, want := range []string{"push onAnswer 0", "response  1", "push onAnswer 0", "response  2"} {
				m := p.Next()
				if got := fmt.Sprintf("%v %s %d", m.Type, m.Route, m.ID); got != want {
					t.Fatalf("%s came, want %s", got, want)
				}
			}
		})
	}
}

// TestPipelinedRequests checks that thirty requests in one write are all answered in
// order. A server with a queue of sixteen answers loses some.
func TestPipelinedRequests(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Transports {
		for _, n := range []int{30, 5000} {
			t.Run(fmt.Sprint(kind, n), func(t *testing.T) {
				t.Parallel()
				p := testkit.Start(t, kind, &testkit.Game{}).Join()
				p.Go(func() {
					var all []byte
					for i := range uint64(n) {
						all = append(all, testkit.Request(i+1, "Game.Echo", fmt.Sprint(i))...)
					}
					_ = p.Wire.Send(all)
				})
				for i := range uint64(n) {
					if m := p.Next(); m.ID != i+1 || string(m.Data) != fmt.Sprint(i) || m.Err {
						t.Fatalf("%v %q came, want the answer to request %d", m, m.Data, i+1)
					}
				}
			})
		}
	}
}

// TestClosingSessionsUnderLoad checks that a handler may close sessions while other
// goroutines send to them and from them. Some servers deadlock here, because Close waits
// for the handler.
func TestClosingSessionsUnderLoad(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		for _, whose := range []string{"its own", "everybody's"} {
			t.Run(kind+" "+whose, func(t *testing.T) {
				t.Parallel()
				const clients, after = 40, 500
				var all []*session.Session // used by the logic goroutine only
				calls := 0
				closed := atomic.Int64{}
				at := testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
					if s.Value("in") == nil {
						s.Set("in", true)
						s.OnClose(func(*session.Session, error) { closed.Add(1) })
						all = append(all, s)
					}
					for _, other := range all[:min(5, len(all))] {
						_ = other.Push("onNews", data)
					}
					if calls++; calls%after == 0 {
						if whose == "its own" {
							s.Close()
							return nil
						}
						for _, other := range all {
							other.Close()
						}
						all = nil
					}
					return s.Response(data)
				}})
				var group sync.WaitGroup
				for range clients {
					p := at.Join()
					group.Go(func() {
						defer p.Abort()
						var wg sync.WaitGroup
						wg.Go(func() {
							for i := range uint64(2000) {
								if p.Wire.Send(testkit.Request(i+1, "Game.Do", "x")) != nil {
									return
								}
							}
						})
						answers := 0
						for answers < 2000 {
							m, err := p.Message()
							if err != nil {
								break // some sessions are closed already
							}
							if m.Type == message.Response {
								answers++
							}
						}
						p.Abort()
						wg.Wait()
					})
				}
				group.Wait()
				at.Join().Echo(1, "the server is well")
				testkit.Eventually(t, "all callbacks have run", func() bool { return closed.Load() == clients })
				if n := at.Stats().Closed["server"]; n == 0 {
					t.Error("no session was closed by a handler, the test is for nothing")
				}
			})
		}
	}
}

// TestClosedSessionsAreNotKept checks that closed sessions can be garbage collected.
func TestClosedSessionsAreNotKept(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		const n = 50
		var sessions []weak.Pointer[session.Session] // used by the logic goroutine only
		group := nano.NewGroup("all")
		at := testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
			sessions = append(sessions, weak.Make(s))
			s.Set("self", s)
			s.OnClose(func(*session.Session, error) {})
			_ = s.Context()
			if err := s.Bind(int64(len(sessions))); err != nil {
				return err
			}
			if err := group.Add(s); err != nil {
				return err
			}
			return s.Response(data)
		}})
		for range n {
			p := at.Join()
			p.Call(1, "Game.Do", "x")
			p.Abort()
		}
		testkit.Eventually(t, "all have left", func() bool { return at.Stats().Connections == 0 && group.Count() == 0 })
		testkit.Eventually(t, "all are collected", func() bool {
			runtime.GC()
			done := make(chan int, 1)
			at.Invoke(func() {
				left := 0
				for _, s := range sessions {
					if s.Value() != nil {
						left++
					}
				}
				done <- left
			})
			return testkit.Receive(t, done, "the count") == 0
		})
	}
}

// TestRawPayloadsStay checks that payloads are not overwritten before or during their
// handler. Some servers reuse the read buffer too early.
func TestRawPayloadsStay(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tcp", "ws", "pipe", "tls"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const n = 2000
			begun, block := make(chan struct{}, 1), make(chan struct{})
			var kept [][]byte // used by the logic goroutine only
			p := testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
				select {
				case begun <- struct{}{}:
				default:
				}
				<-block
				kept = append(kept, data)
				_ = append(data, "who appends to his own hurts nobody"...)
				return s.Response(data[:min(4, len(data))])
			}}, nano.WithSlowHandler(0)).Join()
			payload := func(i uint64) []byte { return bytes.Repeat(fmt.Append(nil, i, ","), int(i%400)) }
			p.Go(func() {
				var all []byte
				for i := range uint64(n) {
					all = append(all, testkit.Request(i+1, "Game.Do", string(payload(i)))...)
				}
				_ = p.Wire.Send(all)
			})
			testkit.Receive(t, begun, "the first message") // the server reads the others while it waits
			close(block)
			for i := range uint64(n) {
				if m := p.Next(); m.ID != i+1 {
					t.Fatalf("%v came, want the answer to request %d", m, i+1)
				}
			}
			for i, got := range kept {
				if want := payload(uint64(i)); !bytes.Equal(got, want) {
					t.Fatalf("payload %d is %.40q now, was %.40q", i, got, want)
				}
			}
		})
	}
}

// TestCompressedRouteAlone checks that a truncated or unknown compressed route at the end
// of a message is refused. Servers that do not check lengths panic here.
func TestCompressedRouteAlone(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		at := testkit.Start(t, kind, &testkit.Game{}, nano.WithDictionary(map[string]uint16{"Game.Echo": 0x0102}))
		p := at.Join()
		p.Send(testkit.DataPacket("\x01\x01\x01\x02")) // two bytes of a route code, and no payload
		if m := p.Next(); m.ID != 1 || m.Err || len(m.Data) != 0 {
			t.Errorf("%v %q came, want an empty answer", m, m.Data)
		}
		p.Send(testkit.DataPacket("\x01\x02\x02\x01"))
		if e := p.ErrorOf(p.Next()); e.Code != nano.CodeNotFound {
			t.Errorf("an unknown code was answered by %v", e)
		}
		for _, cut := range []string{"\x01\x03\x01", "\x01\x03", "\x03\x01", "\x03"} {
			p := at.Join()
			p.Send(testkit.DataPacket(cut))
			p.ReadEnd()
		}
		p.Echo(4, "still here")
		if n := at.Stats().Panics; n != 0 {
			t.Errorf("%d panics", n)
		}
	}
}

// TestWhatDoesNotFitIsRefused checks that a message is refused if a length does not fit
// its field. Some servers truncate it silently.
func TestWhatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		sessions := make(chan *session.Session, 1)
		game := &testkit.Game{OnDo: func(s *session.Session, _ []byte) error {
			sessions <- s
			return nil // the handler does not respond yet
		}}
		p := testkit.Start(t, kind, game, nano.WithWriteBuffer(32<<20, nano.RefusePush)).Join()
		const deferred = 7
		p.Send(testkit.Request(deferred, "Game.Do", ""))
		s := testkit.Receive(t, sessions, "the session")
		group := nano.NewGroup("all")
		if err := group.Add(s); err != nil {
			t.Fatal(err)
		}
		const head = len("\x06\x06onNews")
		large, route := make([]byte, packet.MaxLength-head+1), strings.Repeat("r", 256)
		for what, err := range map[string]error{
			"a push of 16 MiB":      s.Push("onNews", large),
			"a broadcast of 16 MiB": group.Broadcast("onNews", large),
			"an answer of 16 MiB":   s.ResponseMID(deferred, make([]byte, packet.MaxLength)),
		} {
			if err == nil || !strings.Contains(err.Error(), codec.ErrPacketTooLarge.Error()) {
				t.Errorf("%s: %v, want ErrPacketTooLarge", what, err)
			}
		}
		for what, err := range map[string]error{
			"a push to a route of 256 bytes":      s.Push(route, []byte("x")),
			"a broadcast to a route of 256 bytes": group.Broadcast(route, []byte("x")),
		} {
			if err == nil || !strings.Contains(err.Error(), message.ErrRouteTooLong.Error()) {
				t.Errorf("%s: %v, want ErrRouteTooLong", what, err)
			}
		}
		p.Echo(8, "still here")
	}
}

// TestTasksFromTasks checks that tasks may queue tasks. A scheduler with a bounded queue
// would block here.
func TestTasksFromTasks(t *testing.T) {
	t.Parallel()
	const n = 100_000
	var at *testkit.Server
	ran := make(chan int, 1)
	at = testkit.Start(t, "tcp", &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
		count := 0
		for range n {
			at.Invoke(func() {
				at.Scheduler().Invoke(func() {
					if count++; count == n {
						ran <- count
					}
				})
			})
		}
		return s.Response(data)
	}})
	p := at.Join()
	p.Call(1, "Game.Do", "x")
	if got := testkit.Receive(t, ran, "the last task"); got != n {
		t.Errorf("%d tasks ran, want %d", got, n)
	}
	p.Echo(2, "still here")
}

// TestHandlersRunOneAtATime checks that handlers get the messages of each session in the
// order sent and one at a time, whatever other sessions do.
func TestHandlersRunOneAtATime(t *testing.T) {
	t.Parallel()
	const clients, each = 20, 200
	var running atomic.Int32
	seen := map[int64][]string{} // used by the logic goroutine only, and not guarded, for the race detector
	at := testkit.Start(t, "tcp", &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
		if running.Add(1) != 1 {
			t.Error("two handlers run at a time")
		}
		defer running.Add(-1)
		seen[s.ID()] = append(seen[s.ID()], string(data))
		return s.Response(data)
	}})
	var want []string
	for i := range each {
		want = append(want, fmt.Sprint(i))
	}
	var group sync.WaitGroup
	for range clients {
		p := at.Join()
		group.Go(func() {
			for i := range uint64(each) {
				if _, err := p.Wire.Call(i+1, "Game.Do", want[i]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	done := make(chan struct{})
	at.Invoke(func() {
		defer close(done)
		if len(seen) != clients {
			t.Errorf("%d sessions were seen, want %d", len(seen), clients)
		}
		for id, got := range seen {
			if !slices.Equal(got, want) {
				t.Errorf("session %d: %v, want all in order", id, got)
			}
		}
	})
	testkit.Receive(t, done, "the check")
}
