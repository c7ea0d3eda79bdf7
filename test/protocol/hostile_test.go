package protocol_test

import (
	"bytes"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
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

// blockTime is how long the handler of TestHandlerThatBlocks blocks over sockets. The
// long form is
//
//	go test -run TestHandlerThatBlocks -v -block 10s ./test/protocol
var blockTime = flag.Duration("block", 5*time.Second, "how long the handler of TestHandlerThatBlocks blocks over sockets")
