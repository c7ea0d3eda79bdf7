package protocol_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

// valid is a valid stream from handshake to close.
func valid() []byte {
	return bytes.Join([][]byte{
		testkit.Pack(packet.Handshake, `{"a":1}`), testkit.Pack(packet.Ack, ""), testkit.Request(300, "Game.Echo", "hello"), testkit.Pack(packet.Heartbeat, ""),
		testkit.Notify("Game.Echo", "x"), testkit.Request(301, "Game.Double", `{"N":1}`),
	}, nil)
}

// TestHostileClients checks that other clients are served whatever some clients do, and
// that no memory of closed clients remains.
func TestHostileClients(t *testing.T) {
	testkit.SkipInShort(t, "capacity")
	for _, attack := range []struct {
		name string
		opts []nano.Option
		run  func(at *testkit.Server)
	}{
		{"random bytes", nil, func(at *testkit.Server) {
			at.EachDialed(400, func(i int, w *testkit.Wire) {
				r := rand.New(rand.NewPCG(uint64(i), 1))
				junk := make([]byte, 1+r.IntN(3000))
				for j := range junk {
					junk[j] = byte(r.Uint32())
				}
				switch i % 4 {
				case 0:
					_ = w.Raw(junk) // instead of WebSocket frames
				case 1:
					_ = w.Send(junk)
				default:
					_ = w.Join()
					_ = w.Send(append([]byte{byte(packet.Data), 0, byte(len(junk) >> 8), byte(len(junk))}, junk...))
				}
				w.Drain(at.T)
			})
		}},
		{"every truncation", nil, func(at *testkit.Server) {
			stream := valid()
			at.EachDialed(2*len(stream), func(i int, w *testkit.Wire) {
				_ = w.Send(stream[:i/2])
				if i%2 == 0 {
					w.Drain(at.T)
				}
			})
		}},
		{"every truncation of frames", nil, func(at *testkit.Server) {
			stream := append(testkit.Frame(0x82, valid()), testkit.Frame(0x89, []byte("ping"))...)
			at.EachDialed(2*len(stream), func(i int, w *testkit.Wire) {
				_ = w.Raw(stream[:i/2])
				if i%2 == 0 {
					w.Drain(at.T)
				}
			})
		}},
		{"every mutation", nil, func(at *testkit.Server) {
			stream := valid()
			if at.IsWebSocket() {
				stream = testkit.Frame(0x82, stream)
			}
			step := 1
			if testkit.Slack > 1 {
				step = 16 // only some of the values
			}
			at.EachDialed(len(stream)*255/step, func(i int, w *testkit.Wire) {
				i *= step
				b := bytes.Clone(stream)
				b[i/255] += byte(1 + i%255)
				_ = w.Raw(b)
				w.Drain(at.T)
			})
		}},
		{"16 MiB announced", []nano.Option{nano.WithMaxPacketSize(packet.MaxLength)}, func(at *testkit.Server) {
			before := testkit.MeasureFootprint()
			at.Together(200, func(i int, w *testkit.Wire) {
				if i%2 == 0 {
					_ = w.Join()
				}
				if at.IsWebSocket() && i%4 < 2 {
					_ = w.Raw([]byte{0x82, 0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 4, 0})
					return
				}
				_ = w.Send([]byte{byte(packet.Data - packet.Type(i%2*3)), 0xff, 0xff, 0xff, 1})
			}, func() {
				at.CheckServes(nil)
				if now := testkit.MeasureFootprint(); now.Heap > before.Heap+16*testkit.Mebibyte {
					at.T.Errorf("%d MiB are held for what was announced only", (now.Heap-before.Heap)>>20)
				}
			})
		}},
		{"half-open connections", []nano.Option{
			nano.WithHandshakeTimeout(500 * time.Millisecond * testkit.Slack), nano.WithHeartbeatInterval(300 * time.Millisecond),
		}, func(at *testkit.Server) {
			closed := func(reason string) int64 { return at.Stats().Closed[reason] }
			handshake, heartbeat := closed("handshake"), closed("heartbeat")
			var strangers []*testkit.Wire // connections that never complete an upgrade, if the server expects one
			for i := range 50 {
				conn, err := at.DialConn()
				if err != nil {
					at.T.Fatal(err)
				}
				w := testkit.NewWire(conn)
				if at.IsWebSocket() {
					_ = w.Raw([]byte(testkit.UpgradeRequest("/")[:i]))
				} else {
					_ = w.Raw(valid()[:i%4])
				}
				strangers = append(strangers, w)
			}
			at.Together(200, func(i int, w *testkit.Wire) {
				if i%2 == 0 {
					_ = w.Join()
				}
			}, func() {
				most := handshake + 100
				if !at.IsWebSocket() {
					most += int64(len(strangers))
				}
				testkit.Eventually(at.T, "the silent ones are closed", func() bool {
					return closed("handshake") == most && closed("heartbeat") >= heartbeat+100
				})
			})
			for _, w := range strangers {
				if e := w.ReadUntilEnd(); errors.Is(e.Err, os.ErrDeadlineExceeded) {
					at.T.Error("a connection that says nothing stays open")
				}
				w.Abort()
			}
		}},
		// TestMalformed and TestRefusedAlone check the effect of each.
		{"what the protocol forbids", nil, func(at *testkit.Server) {
			early, late := forbidden()
			at.EachDialed(8*(len(early)+len(late)), func(i int, w *testkit.Wire) {
				i /= 8
				if i < len(early) {
					_ = w.Send(early[i])
				} else if err := w.Join(); err != nil {
					at.T.Error(err)
				} else {
					_ = w.Send(late[i-len(early)])
				}
				_ = w.Send(testkit.Request(1, "Game.Echo", "comes too late"))
				if e := w.ReadUntilEnd(); len(e.Messages) > 1 || len(e.Messages) == 1 && !e.Messages[0].Err {
					at.T.Errorf("%v came after what is forbidden", e.Messages)
				}
			})
		}},
		{"what cannot be served", nil, func(at *testkit.Server) {
			at.EachDialed(32, func(_ int, w *testkit.Wire) {
				if err := w.Join(); err != nil {
					at.T.Error(err)
					return
				}
				for _, b := range unservable() {
					_ = w.Send(b)
					if m, err := w.Message(); err != nil || !m.Err {
						at.T.Errorf("%q was answered by %v, %v, want an error response", b, m, err)
						return
					}
				}
				if err := w.Echo(1, "and goes on"); err != nil {
					at.T.Error(err)
				}
			})
		}},
		{"a byte now and then", []nano.Option{
			nano.WithHandshakeTimeout(500 * time.Millisecond * testkit.Slack), nano.WithHeartbeatInterval(300 * time.Millisecond),
		}, func(at *testkit.Server) {
			closed := func(reason string) int64 { return at.Stats().Closed[reason] }
			handshake, heartbeat := closed("handshake"), closed("heartbeat")
			at.Together(32, func(i int, w *testkit.Wire) {
				stream := valid()
				if i%2 == 0 {
					_ = w.Join()
					stream = testkit.RequestOfSize(1, 1000)
				}
				for _, b := range stream {
					if w.Send([]byte{b}) != nil {
						return
					}
					time.Sleep(60 * time.Millisecond * testkit.Slack) // the ack is too late
				}
			}, func() {
				testkit.Eventually(at.T, "those that take so long are closed", func() bool {
					return closed("handshake") == handshake+16 && closed("heartbeat") == heartbeat+16
				})
			})
		}},
		{"a flood of heartbeats", nil, flood(testkit.Pack(packet.Heartbeat, ""), 20_000)},
		{"a flood of handshakes", nil, flood(testkit.Pack(packet.Handshake, "{}"), 1000)},
		{"a flood of notifies", nil, flood(testkit.Notify("Game.Echo", "x"), 5000)},
		{"a flood of requests", nil, flood(testkit.Request(1, "Game.Echo", strings.Repeat("x", 100)), 20_000)},
		{"a flood of requests that fail", nil, flood(testkit.Request(1, "Game.Panic", ""), 500)},
		{"a flood of unknown routes", nil, flood(testkit.Request(1, "Nobody.None", ""), 5000)},
		{"a flood of pings", nil, func(at *testkit.Server) {
			if !at.IsWebSocket() {
				return
			}
			junk := bytes.Repeat(testkit.Frame(0x89, []byte("ping")), 1000)
			at.EachDialed(8, func(_ int, w *testkit.Wire) {
				_ = w.Join()
				for range 20 {
					if w.Raw(junk) != nil {
						return
					}
				}
				w.Drain(at.T)
			})
		}},
		{"upgrades that are none", nil, func(at *testkit.Server) {
			if !at.IsWebSocket() {
				return
			}
			ask := testkit.UpgradeRequest("/")
			at.EachConn(400, func(i int, w *testkit.Wire) {
				r := rand.New(rand.NewPCG(uint64(i), 2))
				junk := []byte(ask)
				switch i % 4 {
				case 0:
					junk = junk[:i*len(junk)/400]
				case 1:
					for j := range junk {
						junk[j] = byte(r.Uint32())
					}
				case 2:
					junk[r.IntN(len(junk))] ^= byte(1 + r.IntN(255))
				case 3: // the rest is too early
					junk = append(junk, testkit.Frame(0x82, valid())...)
				}
				_ = w.Raw(junk)
				w.Drain(at.T)
			})
		}},
		// TestRequestWithoutItsBody checks the answers.
		{"requests whose bodies do not come", []nano.Option{nano.WithSameOrigin()}, func(at *testkit.Server) { at.CheckCloses(2, testkit.RequestsWithoutBody()) }},
		{"answers that nobody reads", nil, func(at *testkit.Server) {
			at.CheckCloses(1, map[string]int{strings.Repeat("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", 300_000): 0})
		}},
		{"a byte at a time", nil, func(at *testkit.Server) {
			at.EachDialed(32, func(_ int, w *testkit.Wire) {
				for _, b := range valid() {
					if err := w.Send([]byte{b}); err != nil {
						at.T.Error(err)
						return
					}
					runtime.Gosched()
				}
				w.Drain(at.T)
			})
		}},
		{"2,000 clients that vanish", nil, func(at *testkit.Server) {
			vanish := func() {
				at.Together(2000, func(i int, w *testkit.Wire) {
					if i%10 != 0 {
						if err := w.Join(); err != nil {
							at.T.Errorf("client %d: %v", i, err)
						}
					}
					if i%3 == 0 {
						_ = w.Send(testkit.Request(1, "Game.Echo", "hello"))
					}
				}, func() {})
				testkit.Eventually(at.T, "they are gone", func() bool { return at.Stats().Connections <= 1 })
			}
			vanish() // maps and pools have grown by then
			first := testkit.MeasureFootprint()
			vanish()
			first.CheckGrowth(at.T, 2*testkit.Mebibyte) // for 2,000 clients, so 1 KiB each exceeds it
		}},
	} {
		for _, kind := range testkit.Sockets {
			t.Run(attack.name+" over "+kind, func(t *testing.T) {
				at := testkit.Start(t, kind, &testkit.Game{}, attack.opts...)
				at.CheckServes(nil)
				at.EachDialed(64, func(_ int, w *testkit.Wire) { _ = w.Join() }) // lets pools and maps grow first
				testkit.Eventually(t, "they are gone", func() bool { return at.Stats().Connections == 0 })
				before := testkit.MeasureFootprint()
				good := at.Join()
				stays := make(chan struct{})
				answered := make(chan int, 1)
				go func() { // keeps it from being silent
					n := 0
					defer func() { answered <- n }()
					for {
						select {
						case <-stays:
							return
						case <-time.After(20 * time.Millisecond):
						}
						if good.Wire.Echo(uint64(n+1), "me too") != nil {
							return
						}
						n++
					}
				}()
				attack.run(at)
				close(stays)
				<-answered
				at.CheckServes(good)
				good.Abort()
				testkit.Eventually(t, "all are gone", func() bool { return at.Stats().Connections == 0 && at.Stats().Sessions == 0 })
				before.CheckReleased(t)
			})
		}
	}
}

// forbidden lists streams that close their connection. Some precede a handshake, some
// follow it.
func forbidden() (early, late [][]byte) {
	hello, ack := testkit.Pack(packet.Handshake, "{}"), testkit.Pack(packet.Ack, "")
	echo := testkit.Request(1, "Game.Echo", "")
	early = [][]byte{
		ack, echo, testkit.Pack(packet.Kick, "{}"), // before a handshake
		slices.Concat(hello, echo), slices.Concat(hello, hello), // before an ack
		slices.Concat(ack, hello, ack), []byte("GET / HTTP/1.1\r\n\r\n"),
	}
	late = [][]byte{
		hello, ack, testkit.Pack(packet.Kick, "{}"),
		testkit.DataPacket("\x00", strings.Repeat("\x81", 10), "\x00\x09Game.Echo"), // an id of 11 bytes
		testkit.DataPacket("\x00", strings.Repeat("\xff", 9), "\x02\x09Game.Echo"),  // an id of 10 bytes that exceeds 64 bits
		testkit.DataPacket("\x00\x00\x09Game.Echo"), testkit.DataPacket("\x00\x80"), testkit.DataPacket("\x00\x01\xff", strings.Repeat("r", 254)),
		testkit.DataPacket("\x01\x01\x00"), testkit.DataPacket("\x04\x01"), testkit.DataPacket("\x06\x09Game.Echo"),
	}
	for typ := 6; typ < 256; typ += 50 {
		late = append(late, []byte{byte(typ), 0, 0, 0})
	}
	for typ := byte(4); typ < 8; typ++ {
		late = append(late, testkit.DataPacket(string([]byte{typ << 1, 1}), "\x09Game.Echo"))
	}
	return early, append(late, []byte{0, 0, 0, 0})
}

// unservable lists requests that are answered with an error.
func unservable() [][]byte {
	list := [][]byte{
		testkit.DataPacket("\x00\x01\xff", strings.Repeat("r", 255)),
		testkit.DataPacket("\x00", strings.Repeat("\xff", 9), "\x01\x07No.Such"), // the largest id, of 10 bytes
		testkit.DataPacket("\x01\x01\x00\x09"), testkit.DataPacket("\x01\x01\xff\xff"),
		testkit.DataPacket("\x00\x01\x0bGame.Double{"), testkit.DataPacket("\x00\x01\x0aGame.Panic"),
	}
	for flag := byte(0x10); flag != 0; flag <<= 1 {
		list = append(list, testkit.DataPacket(string([]byte{flag, 1}), "\x09Game.Echo"))
	}
	return list
}

// flood makes each client send the same bytes n times without reading.
func flood(b []byte, n int) func(at *testkit.Server) {
	return func(at *testkit.Server) {
		junk := bytes.Repeat(b, 50)
		at.EachDialed(8, func(_ int, w *testkit.Wire) {
			if w.Join() != nil {
				return
			}
			for range n / 50 {
				_ = w.Conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
				var err error
				if at.IsWebSocket() {
					_, err = w.Conn.Write(testkit.Frame(0x82, junk))
				} else {
					_, err = w.Conn.Write(junk)
				}
				if err != nil {
					return // the server closed it, or waits for the client to read
				}
			}
			w.Drain(at.T)
		})
	}
}

// TestByteASecond checks that a packet that arrives one byte a second does not count as a
// sign of life.
func TestByteASecond(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			game, ends := watched()
			at := testkit.Start(t, kind, game)
			p, good := at.DialPatient(), at.DialPatient()
			p.Join()
			p.Call(1, "Game.Do", "")
			good.Join()
			start := time.Now()
			p.Go(func() {
				for _, b := range testkit.RequestOfSize(1, 1000) {
					time.Sleep(time.Second)
					if p.Wire.Send([]byte{b}) != nil {
						return
					}
				}
			})
			for id := uint64(1); id <= 7; id++ {
				time.Sleep(10 * time.Second)
				good.Echo(id, "me too")
			}
			if err := testkit.Receive(t, ends, "the end of the session"); !errors.Is(err, session.ErrHeartbeat) {
				t.Errorf("the session ended with %v, want ErrHeartbeat", err)
			}
			if took := time.Since(start); took < interval*5/2 || took > 3*interval {
				t.Errorf("closed after %v, want two and a half to three intervals", took)
			}
		})
	}
}

// TestClientThatNeverReads checks that a client that does not read broadcasts is closed
// and does not delay others.
func TestClientThatNeverReads(t *testing.T) {
	for _, kind := range testkit.Sockets {
		t.Run(kind, func(t *testing.T) {
			group := nano.NewGroup("all")
			game := &testkit.Game{OnDo: func(s *session.Session, _ []byte) error {
				if err := group.Add(s); err != nil {
					return err
				}
				return s.Response([]byte("in"))
			}}
			at := testkit.Start(t, kind, game)
			at.CheckServes(nil)
			before := testkit.MeasureFootprint()
			deaf, good := at.Join(), at.Join()
			deaf.Call(1, "Game.Do", "")
			good.Call(1, "Game.Do", "")
			news := bytes.Repeat([]byte("x"), 30_000)
			n := 0
			for at.Stats().Closed["slow"] == 0 {
				if n++; n > 10_000 {
					t.Fatal("a client that reads nothing takes everything")
				}
				if err := group.Broadcast("onNews", news); err != nil && !errors.Is(err, session.ErrSlowClient) {
					t.Fatalf("Broadcast = %v", err)
				}
				if m := good.Next(); len(m.Data) != len(news) {
					t.Fatalf("%v came, want the news", m)
				}
			}
			at.CheckServes(good)
			testkit.Eventually(t, "the group forgets it", func() bool { return group.Count() == 1 })
			deaf.Abort()
			good.Abort()
			testkit.Eventually(t, "all are gone", func() bool { return at.Stats().Connections == 0 })
			before.CheckReleased(t)
			_ = group.Close()
		})
	}
}

// TestHostileHandlers checks that failures of handlers affect only what they must.
func TestHostileHandlers(t *testing.T) {
	const block = 500 * time.Millisecond
	type handler = func(at *testkit.Server, all []*session.Session, s *session.Session) error
	for name, test := range map[string]struct {
		do   handler
		code string // code of the error response; "" for none
		kick string // body of the kick of the client that sent the request
		ends string // the counted close reason; "" if the session stays open
		all  bool   // all sessions close
	}{
		"panics": {func(*testkit.Server, []*session.Session, *session.Session) error { panic("no luck") }, nano.CodeInternal, "", "", false},
		"indexes too far": {func(_ *testkit.Server, all []*session.Session, _ *session.Session) error {
			all[len(all)].Close()
			return nil
		}, nano.CodeInternal, "", "", false},
		"ends its goroutine": {func(*testkit.Server, []*session.Session, *session.Session) error { runtime.Goexit(); return nil }, nano.CodeInternal, "", "", false},
		"blocks": {func(*testkit.Server, []*session.Session, *session.Session) error {
			time.Sleep(block)
			return errors.New("at last")
		}, nano.CodeInternal, "", "", false},
		"closes its session": {func(_ *testkit.Server, _ []*session.Session, s *session.Session) error {
			s.Close()
			panic("and panics")
		}, nano.CodeInternal, "", "server", false},
		"kicks its session": {func(_ *testkit.Server, _ []*session.Session, s *session.Session) error {
			return s.Kick("away")
		}, "", `{"reason":"away","code":"kicked"}`, "kicked", false},
		"kicks everybody": {func(_ *testkit.Server, all []*session.Session, _ *session.Session) error {
			for _, s := range all {
				if err := s.Kick("all of you"); err != nil {
					return err
				}
			}
			return nil
		}, "", `{"reason":"all of you","code":"kicked"}`, "kicked", true},
		"closes everybody": {func(_ *testkit.Server, all []*session.Session, _ *session.Session) error {
			for _, s := range all {
				s.Close()
			}
			return nil
		}, "", "", "server", true},
		"shuts down": {func(at *testkit.Server, _ []*session.Session, _ *session.Session) error {
			go func() { _ = at.Shutdown(context.Background()) }()
			return errors.New("soon")
		}, nano.CodeInternal, `{"reason":"server shutdown","code":"shutdown"}`, "shutdown", true},
	} {
		for _, kind := range testkit.Sockets {
			t.Run(name+" over "+kind, func(t *testing.T) {
				var at *testkit.Server
				var all []*session.Session // used by the logic goroutine only
				at = testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
					if string(data) == "in" {
						all = append(all, s)
						return s.Response(data)
					}
					return test.do(at, all, s)
				}})
				at.CheckServes(nil)
				before := testkit.MeasureFootprint()
				p, good := at.Join(), at.Join()
				p.Call(1, "Game.Do", "in")
				good.Call(1, "Game.Do", "in")
				p.Send(testkit.Request(2, "Game.Do", "go"))
				if test.code != "" {
					if e := p.ErrorOf(p.Next()); e.Code != test.code {
						t.Errorf("the answer is %v, want %s", e, test.code)
					}
				}
				if test.ends != "" {
					if e := p.ReadEnd(); e.Kick != test.kick || len(e.Messages) != 0 {
						t.Errorf("%d messages and kick %q came, want kick %q", len(e.Messages), e.Kick, test.kick)
					}
					want := int64(1)
					if test.all {
						want = 2
						if e := good.ReadEnd(); e.Kick != test.kick {
							t.Errorf("kick %q came to another client, want %q", e.Kick, test.kick)
						}
						good = nil
					}
					testkit.Eventually(t, "it is counted", func() bool { return at.Stats().Closed[test.ends] == want })
				} else {
					p.Echo(3, "still here")
				}
				if test.ends == "shutdown" {
					if err := at.Shutdown(context.Background()); err != nil {
						t.Errorf("Shutdown = %v", err)
					}
				} else {
					at.CheckServes(good)
				}
				p.Abort()
				if good != nil {
					good.Abort()
				}
				all = nil
				testkit.Eventually(t, "all are gone", func() bool { return at.Stats().Connections == 0 && at.Stats().Sessions == 0 })
				before.CheckReleased(t)
			})
		}
	}
}

// blockTime is how long the handler of TestHandlerThatBlocks blocks over sockets. The
// long form is
//
//	go test -run TestHandlerThatBlocks -v -block 10s ./test/protocol
var blockTime = flag.Duration("block", 5*time.Second, "how long the handler of TestHandlerThatBlocks blocks over sockets")

// TestHandlerThatBlocks checks that a handler that blocks delays only the messages of its
// scheduler. It blocks for 10 s in fake time, and for -block over sockets.
func TestHandlerThatBlocks(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { blocks(t, kind, 10*time.Second) })
		})
	}
	for _, kind := range testkit.Sockets {
		t.Run(kind, func(t *testing.T) {
			testkit.SkipInShort(t, "blocks for -block")
			blocks(t, kind, *blockTime)
		})
	}
}

// blocks makes a handler block for d.
func blocks(t *testing.T, kind string, d time.Duration) {
	const others, ahead = 20, 300 // ahead exceeds the number of messages of a session that may wait
	interval := d / 5
	room := scheduler.New()
	defer room.Close()
	rooms := &component.Components{}
	rooms.Register(&testkit.Game{}, component.WithName("Room"), component.WithSchedulerName("room"))
	begun := make(chan struct{}, 1)
	log := testkit.NewLogCapture()
	at := testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
		begun <- struct{}{}
		time.Sleep(d)
		return s.Response(data)
	}}, nano.WithComponents(rooms), nano.WithHeartbeatInterval(interval), log.Option(),
		nano.WithHandshakeValidator(func(s *session.Session, _ []byte) error {
			s.Set("room", room)
			return nil
		}))
	at.CheckServes(nil)
	before := testkit.MeasureFootprint()

	// Each of the others sends a request while the handler blocks, and then heartbeats.
	// The first one sends many requests.
	type outcome struct {
		answers, heartbeats int
		err                 error
	}
	var clients []*testkit.Client
	ends := make([]outcome, others)
	var reading sync.WaitGroup
	for i := range others {
		p := at.Join()
		p.Patience = time.Hour
		clients = append(clients, p)
		want := 1
		if i == 0 {
			want = ahead
		}
		reading.Go(func() {
			for end := &ends[i]; end.answers < want; {
				typ, body, err := p.Packet()
				switch {
				case err != nil:
					end.err = err
					return
				case typ == packet.Heartbeat:
					end.heartbeats++
					if i > 0 { // the first client is not being read from, so it need not send heartbeats
						_ = p.Wire.Send(testkit.Pack(packet.Heartbeat, ""))
					}
				case typ == packet.Data && body[0]&0x20 == 0:
					end.answers++
				default:
					t.Errorf("client %d got a %v packet %q", i, typ, body)
				}
			}
		})
	}
	silent := at.Join()
	silent.Patience = time.Hour
	silentFor := make(chan time.Duration, 1)
	joined := time.Now()
	silent.Go(func() {
		silent.ReadUntilEnd()
		silentFor <- time.Since(joined)
	})

	p := at.Join()
	p.Patience = time.Hour
	p.Send(testkit.Request(1, "Game.Do", "at last"))
	p.Go(func() {
		for p.Wire.Send(testkit.Pack(packet.Heartbeat, "")) == nil {
			time.Sleep(interval)
		}
	})
	testkit.Receive(t, begun, "the call of the handler")
	start := time.Now()
	for i, c := range clients {
		if i > 0 {
			c.Send(testkit.Request(1, "Game.Echo", ""))
			continue
		}
		c.Go(func() {
			for id := range uint64(ahead) {
				if c.Wire.Send(testkit.Request(id+1, "Game.Echo", "")) != nil {
					return
				}
			}
		})
	}

	// Meanwhile new clients connect, and other schedulers serve them.
	rounds, late := 0, 0
	for ; time.Since(start) < d*3/4; rounds++ {
		began := time.Now()
		w, err := at.Wire()
		if err == nil {
			err = w.Join()
		}
		if err == nil {
			_, err = w.Call(1, "Room.Echo", "hello")
		}
		if err != nil {
			t.Fatalf("a new client after %v: %v", time.Since(start), err)
		}
		if time.Since(began) > testkit.Prompt {
			late++
		}
		w.Abort()
		time.Sleep(20 * time.Millisecond)
	}
	if late > rounds/5 {
		t.Errorf("%d of %d new clients were answered later than after %v", late, rounds, testkit.Prompt)
	}
	if took := testkit.Receive(t, silentFor, "the end of the silent client"); took < interval*5/2-interval/10 || took > d*3/4 {
		t.Errorf("a silent client was let go after %v, want two and a half intervals of %v to three", took, interval)
	}
	const stuck = "nano: the logic goroutine is stuck in one task"
	if d > 8*time.Second {
		if stack, _ := log.Find(stuck, "stack"); !strings.Contains(stack, "(*Game).Do") || log.Count(stuck) != 1 {
			t.Errorf("%d lines with the stack %s name the handler, want one", log.Count(stuck), stack)
		}
	}
	if n := at.Stats().Routes["Game.Echo"].Count; n != 1 {
		t.Errorf("the handler was over after %v: %d messages have run", time.Since(start), n)
	}

	// Afterwards every request is answered, and every client is connected.
	if m := p.Next(); string(m.Data) != "at last" || time.Since(start) < d {
		t.Errorf("%v came after %v, want the answer", m, time.Since(start))
	}
	reading.Wait()
	for i, end := range ends {
		if end.err != nil || end.heartbeats < 2 {
			t.Errorf("client %d got %d answers, %d heartbeats, and %v", i, end.answers, end.heartbeats, end.err)
		}
	}
	if st := at.Stats(); st.Closed["heartbeat"] != 1 {
		t.Errorf("closed: %v, want the silent client for its heartbeats alone", st.Closed)
	}
	if route := log.Wait(t, "nano: slow handler", "route"); route != "Game.Do" {
		t.Errorf("the log names the slow handler %q", route)
	}
	at.CheckServes(nil)
	t.Logf("%d clients came while the handler blocked for %v, %d late", rounds, d, late)
	for _, c := range append(clients, p, silent) {
		c.Abort()
	}
	testkit.Eventually(t, "all are gone", func() bool { return at.Stats().Connections == 0 && at.Stats().Sessions == 0 })
	before.CheckReleased(t)
}
