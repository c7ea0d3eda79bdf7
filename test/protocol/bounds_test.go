package protocol_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// TestPacketLimit checks that a packet's body may be as long as the limit, and no longer.
func TestPacketLimit(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tcp", "ws", "pipe", "tls"} {
		for _, limit := range []int{65536, 100, 1 << 20} {
			t.Run(fmt.Sprintf("%s %d", kind, limit), func(t *testing.T) {
				t.Parallel()
				game, ends := watched()
				var opts []nano.Option
				if limit != 65536 { // 65536 is the default
					opts = append(opts, nano.WithMaxPacketSize(limit), nano.WithWriteBuffer(4<<20, nano.CloseSlowClient))
				}
				p := testkit.Start(t, kind, game, opts...).Join()
				p.Call(1, "Game.Do", "")
				for id := uint64(2); id < 5; id++ {
					b := testkit.RequestOfSize(id, limit)
					p.Go(func() { _ = p.Wire.Send(b) })
					if m := p.Next(); m.ID != id || m.Err {
						t.Fatalf("%v came, want the answer to request %d", m, id)
					}
				}
				// The header of a larger packet is enough. The server does not wait for
				// its body.
				p.Send(testkit.RequestOfSize(9, limit+1)[:packet.HeadLength])
				if e := p.ReadEnd(); len(e.Messages) != 0 || !errors.Is(e.Err, io.EOF) {
					t.Errorf("%+v came, want the end", e)
				}
				if err := testkit.Receive(t, ends, "the end of the session"); !errors.Is(err, session.ErrProtocol) {
					t.Errorf("the session ended with %v, want ErrProtocol", err)
				}
			})
		}
	}
}

func TestHandshakeLimit(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		at := testkit.Start(t, kind, &testkit.Game{})
		limit := 16 << 10
		if a := at.Dial().Handshake(`"` + strings.Repeat("x", limit-2) + `"`); a.Code != 200 {
			t.Errorf("a handshake of %d bytes was answered by %+v", limit, a)
		}
		p := at.Dial()
		if a := p.Handshake(`"` + strings.Repeat("x", limit-1) + `"`); a.Code != 500 || a.Message == "" {
			t.Errorf("a handshake of %d bytes was answered by %+v, want 500", limit+1, a)
		}
		p.ReadEnd()
	}
}

// blocked is a game whose handler Do waits for the test and then responds.
func blocked() (game *testkit.Game, begun <-chan struct{}, goOn func()) {
	began, block := make(chan struct{}, 1), make(chan struct{})
	return &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
		select {
		case began <- struct{}{}:
		default:
		}
		<-block
		if s.LastMid() == 0 {
			return nil
		}
		return s.Response(data)
	}}, began, func() { close(block) }
}

// TestWaitingMessagesPauseTheReader checks that a session's reader pauses when the
// maximum number of messages waits, so the client is slowed down. No message is lost.
func TestWaitingMessagesPauseTheReader(t *testing.T) {
	for _, test := range []struct {
		size     int // bytes of a payload
		opts     []nano.Option
		min, max int // number of messages that the client could write
	}{
		// The reader also holds the messages of the read that filled the mailbox.
		{0, nil, 256, 256 + 2048/14},
		{1000, nil, 256, 256 + 3},
		{0, []nano.Option{nano.WithMaxPending(1)}, 1, 1 + 2048/14},
		{1000, []nano.Option{nano.WithMaxPending(4)}, 4, 4 + 3},
		// Bytes are limited too: four packets of the largest size fit.
		{60_000, nil, 4, 4 + 3},
	} {
		for _, kind := range []string{"pipe", "wspipe"} {
			t.Run(fmt.Sprint(kind, test.size, test.max), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					game, _, goOn := blocked()
					opts := append([]nano.Option{nano.WithSlowHandler(0), nano.WithWriteBuffer(64<<20, nano.CloseSlowClient)}, test.opts...)
					p := testkit.Start(t, kind, game, opts...).DialPatient()
					p.Join()
					n := 600
					if test.size > 10_000 {
						n = 50
					}
					var sent atomic.Int64
					p.Go(func() {
						payload := strings.Repeat("x", test.size)
						for i := range uint64(n) {
							if p.Wire.Send(testkit.Request(i+1, "Game.Do", payload)) != nil {
								return
							}
							sent.Add(1)
						}
					})
					synctest.Wait()
					if got := int(sent.Load()); got < test.min || got > test.max {
						t.Errorf("%d messages were taken from the client, want %d to %d", got, test.min, test.max)
					}
					goOn()
					for i := range uint64(n) {
						if m := p.Next(); m.ID != i+1 || len(m.Data) != test.size {
							t.Fatalf("%v came, want the answer to request %d", m, i+1)
						}
					}
				})
			})
		}
	}
}

// TestBackPressureOverSockets checks that over sockets TCP flow control slows down that
// client only.
func TestBackPressureOverSockets(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			game, begun, goOn := blocked()
			at := testkit.Start(t, kind, game, nano.WithSlowHandler(0), nano.WithWriteBuffer(64<<20, nano.CloseSlowClient))
			p, other := at.Join(), at.Join()
			const n, size = 12_000, 1000 // more than the socket buffers
			var sent atomic.Int64
			p.Go(func() {
				payload := strings.Repeat("x", size)
				for i := range uint64(n) {
					if p.Wire.Send(testkit.Request(i+1, "Game.Do", payload)) != nil {
						return
					}
					sent.Add(1)
				}
			})
			testkit.Receive(t, begun, "the first message")
			testkit.Eventually(t, "255 messages wait behind it", func() bool { return at.Stats().MessagesIn == 256 })
			other.Send(testkit.Request(1, "Game.Echo", "me too")) // the server reads it, and it waits for the logic goroutine
			testkit.Eventually(t, "the other client is read", func() bool { return at.Stats().MessagesIn == 257 })
			if sent.Load() == n {
				t.Error("all messages were taken from the client")
			}
			goOn()
			if m := other.Next(); m.ID != 1 {
				t.Errorf("%v came, want the answer", m)
			}
			for i := range uint64(n) {
				if m := p.Next(); m.ID != i+1 || len(m.Data) != size {
					t.Fatalf("%v came, want the answer to request %d", m, i+1)
				}
			}
		})
	}
}

// TestSlowClient checks that a client that reads too slowly is closed, or that messages
// over the bound are refused.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tcp", "ws", "pipe", "tls"} {
		for _, policy := range []nano.SlowClientPolicy{nano.CloseSlowClient, nano.RefusePush} {
			t.Run(fmt.Sprint(kind, policy), func(t *testing.T) {
				t.Parallel()
				game, sessions := testkit.NewSessionGame()
				var opts []nano.Option
				bound := 1 << 20 // 1 MiB is the default
				if policy == nano.RefusePush {
					bound = 300_000
					opts = append(opts, nano.WithWriteBuffer(bound, policy))
				}
				at := testkit.Start(t, kind, game, opts...)
				p, other := at.Join(), at.Join()
				s := testkit.SessionOf(t, p, sessions)
				ends := make(chan error, 1)
				s.OnClose(func(_ *session.Session, err error) { ends <- err })
				pushed := 0
				payload := make([]byte, 10_000)
				var err error
				for err == nil {
					payload[0] = byte(pushed)
					if err = s.Push("onNews", payload); err == nil {
						pushed++
					}
					if pushed > 100_000 {
						t.Fatal("a client that reads nothing takes everything")
					}
				}
				if pushed*len(payload) < bound-2*len(payload) {
					t.Errorf("%d bytes were taken before the end, want %d at least", pushed*len(payload), bound)
				}
				other.Echo(2, "not my business")
				if n := at.Stats().Refused["send"]; n != 1 {
					t.Errorf("%d messages were counted as refused, want 1", n)
				}
				if policy == nano.RefusePush {
					if !errors.Is(err, session.ErrBufferExceed) {
						t.Errorf("Push = %v, want ErrBufferExceed", err)
					}
					for i := range pushed {
						if m := p.Next(); len(m.Data) != len(payload) || m.Data[0] != byte(i) {
							t.Fatalf("%v came, want push %d", m, i)
						}
					}
					p.Echo(3, "I am back")
					return
				}
				if !errors.Is(err, session.ErrSlowClient) {
					t.Errorf("Push = %v, want ErrSlowClient", err)
				}
				if err := testkit.Receive(t, ends, "the end of the session"); !errors.Is(err, session.ErrSlowClient) {
					t.Errorf("the session ended with %v, want ErrSlowClient", err)
				}
				if err := s.Push("onNews", payload); !errors.Is(err, session.ErrBrokenPipe) {
					t.Errorf("Push = %v, want ErrBrokenPipe", err)
				}
				if e := p.ReadEnd(); e.Kick != "" || len(e.Messages) > pushed {
					t.Errorf("%d messages and kick %q came, want the connection cut", len(e.Messages), e.Kick)
				}
			})
		}
	}
}

// TestStalledClient checks that a client that reads nothing for three heartbeat intervals
// is closed, even if it still sends.
func TestStalledClient(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			game, sessions := testkit.NewSessionGame()
			p := testkit.Start(t, kind, game).DialPatient()
			p.Join()
			s := testkit.SessionOf(t, p, sessions)
			if err := s.Push("onNews", []byte("never read")); err != nil {
				t.Fatal(err)
			}
			p.Go(func() {
				for p.Wire.Send(testkit.Pack(packet.Heartbeat, "")) == nil {
					time.Sleep(10 * time.Second)
				}
			})
			start := time.Now()
			<-s.Context().Done()
			if took := time.Since(start); took < 2*interval || took > 3*interval+time.Second {
				t.Errorf("closed after %v, want %v", took, 3*interval)
			}
			if err := context.Cause(s.Context()); !errors.Is(err, session.ErrSlowClient) {
				t.Errorf("the session ended with %v, want ErrSlowClient", err)
			}
		})
	}
}

// TestFarewells checks that messages sent before a kick or close arrive before it, even
// while the client is sending. If the server closed a socket with unread input, the reset
// would destroy data in transit.
func TestFarewells(t *testing.T) {
	t.Parallel()
	const n = 1000
	for _, kind := range testkit.Transports {
		for _, kick := range []bool{true, false} {
			for _, flood := range []bool{false, true} {
				if flood && strings.HasSuffix(kind, "pipe") {
					continue // over pipes every write waits for a read
				}
				t.Run(fmt.Sprintf("%s kick=%v flood=%v", kind, kick, flood), func(t *testing.T) {
					t.Parallel()
					reason := `"quoted" <&> ünïcode ` + "\n\x00\xff"
					at := testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
						for i := range n {
							if err := s.Push("onNews", fmt.Append(nil, i)); err != nil {
								return err
							}
						}
						if err := s.Response(data); err != nil {
							return err
						}
						if !kick {
							s.Close()
							s.Close()
							return nil
						}
						if err := s.Kick(reason); err != nil {
							return err
						}
						if err := s.Kick("again"); !errors.Is(err, session.ErrCloseClosedSession) {
							t.Errorf("Kick of a kicked session = %v, want ErrCloseClosedSession", err)
						}
						if err := s.Push("onNews", nil); !errors.Is(err, session.ErrBrokenPipe) || !s.Closed() {
							t.Errorf("Push to a kicked session = %v, want ErrBrokenPipe", err)
						}
						return nil
					}})
					p := at.Join()
					p.Send(testkit.Request(1, "Game.Do", "bye"))
					if flood {
						p.Go(func() {
							junk := bytes.Repeat(testkit.Notify("Game.Echo", strings.Repeat("x", 1000)), 10)
							for p.Wire.Send(junk) == nil {
							}
						})
					}
					e := p.ReadEnd()
					if len(e.Messages) != n+1 {
						t.Fatalf("%d messages came, then kick %q, code %d, %v, want %d", len(e.Messages), e.Kick, e.Code, e.Err, n+1)
					}
					for i, m := range e.Messages[:n] {
						if string(m.Data) != fmt.Sprint(i) {
							t.Fatalf("%v %q came, want push %d", m, m.Data, i)
						}
					}
					want := ""
					if kick {
						want = `{"reason":"\"quoted\" \u003c\u0026\u003e ünïcode \n\u0000\ufffd","code":"kicked"}`
					}
					if e.Kick != want {
						t.Errorf("kick %s, want %s", e.Kick, want)
					}
					if at.IsWebSocket() && e.Code != 1000 {
						t.Errorf("close code %d, want 1000", e.Code)
					}
					// If the client continues to send, the remaining messages may be lost.
					if !flood && !errors.Is(e.Err, io.EOF) {
						t.Errorf("the connection ended with %v", e.Err)
					}
				})
			}
		}
	}
}

// TestWebSocketFrames checks that the server accepts the WebSocket frames that clients
// may send, and closes on others.
func TestWebSocketFrames(t *testing.T) {
	t.Parallel()
	hello := testkit.Request(1, "Game.Echo", "hello")
	two := append(bytes.Clone(hello), testkit.Request(2, "Game.Echo", "again")...)
	for _, test := range []struct {
		name    string
		send    [][]byte // frames
		answers []uint64
		code    int // code of the close frame; 0 if the connection stays open
	}{
		{"one packet", [][]byte{testkit.Frame(0x82, hello)}, []uint64{1}, 0},
		{"several packets in one frame", [][]byte{testkit.Frame(0x82, two)}, []uint64{1, 2}, 0},
		{"a packet over several frames", [][]byte{testkit.Frame(0x82, two[:3]), testkit.Frame(0x82, two[3:30]), testkit.Frame(0x82, two[30:])}, []uint64{1, 2}, 0},
		{"empty frames", [][]byte{testkit.Frame(0x82, nil), testkit.Frame(0x82, two[:5]), testkit.Frame(0x82, nil), testkit.Frame(0x82, two[5:])}, []uint64{1, 2}, 0},
		{"fragments", [][]byte{testkit.Frame(0x02, two[:9]), testkit.Frame(0x00, nil), testkit.Frame(0x00, two[9:20]), testkit.Frame(0x80, two[20:])}, []uint64{1, 2}, 0},
		{"a ping within fragments", [][]byte{testkit.Frame(0x02, two[:9]), testkit.Frame(0x89, []byte("ping")), testkit.Frame(0x80, two[9:])}, []uint64{1, 2}, 0},
		{"a pong nobody asked for", [][]byte{testkit.Frame(0x8a, []byte("pong")), testkit.Frame(0x82, hello)}, []uint64{1}, 0},
		{"text", [][]byte{testkit.Frame(0x81, []byte("hello"))}, nil, 1003},
		{"empty text", [][]byte{testkit.Frame(0x81, nil)}, nil, 1003},
		{"text that is a packet", [][]byte{testkit.Frame(0x81, hello)}, nil, 1003},
		{"not masked", [][]byte{{0x82, 4, 3, 0, 0, 0}}, nil, 1002},
		{"an opcode that is not there", [][]byte{testkit.Frame(0x83, nil)}, nil, 1002},
		{"a control opcode that is not there", [][]byte{testkit.Frame(0x8b, nil)}, nil, 1002},
		{"compressed", [][]byte{testkit.Frame(0xc2, hello)}, nil, 1002},
		{"a continuation of nothing", [][]byte{testkit.Frame(0x80, hello)}, nil, 1002},
		{"a frame within fragments", [][]byte{testkit.Frame(0x02, hello[:5]), testkit.Frame(0x82, hello[5:])}, nil, 1002},
		{"a long ping", [][]byte{testkit.Frame(0x89, make([]byte, 126))}, nil, 1002},
		{"a ping in fragments", [][]byte{testkit.Frame(0x09, nil)}, nil, 1002},
		{"a length that is negative", [][]byte{{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}}, nil, 1002},
		{"no frame, with much behind it", [][]byte{append(testkit.Frame(0x83, nil), make([]byte, 1<<20)...)}, nil, 1002},
		{"a malformed packet", [][]byte{testkit.Frame(0x82, []byte{9, 9, 9, 9})}, nil, 1002},
		{"a farewell", [][]byte{testkit.Frame(0x88, []byte{0x03, 0xe9})}, nil, 1001},
		{"a farewell without a code", [][]byte{testkit.Frame(0x88, nil)}, nil, 1005},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			game, ends := watched()
			p := testkit.Start(t, "ws", game).Join()
			p.Call(9, "Game.Do", "")
			for _, f := range test.send {
				if err := p.Raw(f); err != nil {
					t.Fatal(err)
				}
			}
			if test.code == 0 {
				for _, id := range test.answers {
					if m := p.Next(); m.ID != id {
						t.Errorf("%v came, want the answer to request %d", m, id)
					}
				}
				p.Echo(10, "still here")
				return
			}
			if e := p.ReadEnd(); e.Code != test.code || !errors.Is(e.Err, io.EOF) {
				t.Errorf("close code %d, %v, want %d", e.Code, e.Err, test.code)
			}
			want := session.ErrProtocol
			if strings.HasPrefix(test.name, "a farewell") {
				want = session.ErrClientClosed
			}
			if err := testkit.Receive(t, ends, "the end of the session"); !errors.Is(err, want) {
				t.Errorf("the session ended with %v, want %v", err, want)
			}
		})
	}
}

// TestPings checks that pings are answered in order with the messages.
func TestPings(t *testing.T) {
	t.Parallel()
	p := testkit.Start(t, "ws", &testkit.Game{}).Join()
	for i := range 100 {
		text := fmt.Sprint("ping ", i)
		if err := p.Raw(testkit.Frame(0x89, []byte(text))); err != nil {
			t.Fatal(err)
		}
		if opcode, payload, err := p.ReadFrame(); err != nil || opcode != 10 || string(payload) != text {
			t.Fatalf("opcode %d %q, %v came, want the pong", opcode, payload, err)
		}
	}
	p.Echo(1, "still here")
}

// TestPingAtAFullQueue checks that with RefusePush a pong over the bound is dropped like
// any other message.
func TestPingAtAFullQueue(t *testing.T) {
	pushed := make(chan int, 1)
	at := testkit.Start(t, "wspipe", &testkit.Game{OnDo: func(s *session.Session, _ []byte) error {
		n := 0
		for _, size := range []int{3000, 0} {
			for s.Push("onNews", make([]byte, size)) == nil {
				n++
			}
		}
		pushed <- n
		return nil
	}}, nano.WithWriteBuffer(20_000, nano.RefusePush))
	p := at.Join()
	p.Send(testkit.Notify("Game.Do", ""))
	n := testkit.Receive(t, pushed, "the end of the pushes")
	for range 3 {
		if err := p.Raw(testkit.Frame(0x89, make([]byte, 125))); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "the pings have come", func() bool { return at.Stats().ControlIn == 3 })
	for range n {
		p.Next()
	}
	p.Echo(1, "still here")
	if got := at.Stats().Refused["send"]; got != 5 {
		t.Errorf("%d were refused, want 2 pushes and 3 pongs", got)
	}
}
