package nano_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

// prompt is how long a well-behaved client waits at most.
const prompt = 100 * time.Millisecond * slack

// footprint is what a process holds.
type footprint struct {
	goroutines, files int
	heap              uint64
}

func measure() footprint {
	runtime.GC()
	runtime.GC() // the second one empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f := footprint{goroutines: runtime.NumGoroutine(), heap: m.HeapAlloc}
	if list, err := os.ReadDir("/proc/self/fd"); err == nil { // Linux has it
		f.files = len(list)
	}
	return f
}

const mebibyte = 1 << 20

// back waits until no more is held than before, but for some memory.
func (f footprint) back(t testing.TB) {
	t.Helper()
	f.within(t, 4*mebibyte)
}

// within is back for so many bytes of memory.
func (f footprint) within(t testing.TB, memory uint64) {
	t.Helper()
	t.Helper()
	var now footprint
	deadline := time.Now().Add(patience)
	for {
		now = measure()
		if now.goroutines <= f.goroutines && now.files <= f.files && now.heap <= f.heap+memory {
			return
		}
		if time.Now().After(deadline) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d files and %d KiB are held, before it was %d, %d and %d",
		now.goroutines, now.files, now.heap>>10, f.goroutines, f.files, f.heap>>10)
}

// well checks that well-behaved clients are answered at once, an old one and a new one. Since the machine may have
// something else to do just then, one time of five is enough.
func (s *site) well(old *peer) {
	s.t.Helper()
	var took time.Duration
	for range 5 {
		start := time.Now()
		if old != nil {
			old.echo(1<<40, "still here")
		}
		w, err := s.wire()
		if err != nil {
			s.t.Fatalf("a new client: %v", err)
		}
		if err = w.join(); err == nil {
			err = w.echo(1, "new here")
		}
		w.abort()
		if err != nil {
			s.t.Fatalf("a new client: %v", err)
		}
		if took = time.Since(start); took <= prompt {
			return
		}
	}
	s.t.Errorf("well-behaved clients were answered after %v, want %v at most", took, prompt)
}

// many runs n clients, some at a time.
func (s *site) many(n int, f func(i int, w *wire)) {
	s.t.Helper()
	s.run(n, s.wire, f)
}

// open is many for clients that have not asked for an upgrade.
func (s *site) open(n int, f func(i int, w *wire)) {
	s.t.Helper()
	s.run(n, func() (*wire, error) {
		conn, err := s.conn()
		if err != nil {
			return nil, err
		}
		return newWire(conn), nil
	}, f)
}

func (s *site) run(n int, connect func() (*wire, error), f func(i int, w *wire)) {
	s.t.Helper()
	var wg sync.WaitGroup
	next := atomic.Int64{}
	for range 32 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				w, err := connect()
				if err != nil {
					s.t.Errorf("client %d: %v", i, err)
					return
				}
				f(i, w)
				w.abort()
			}
		})
	}
	wg.Wait()
}

// drained reads to the end of a connection, after nothing more is sent.
func (w *wire) drained(t testing.TB) {
	if c, ok := w.conn.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(patience))
	var n net.Error
	if _, err := io.Copy(io.Discard, w.br); errors.As(err, &n) && n.Timeout() {
		t.Error("the server did not end the connection")
	}
}

// valid is a stream that a server takes to its end.
func valid() []byte {
	return bytes.Join([][]byte{
		pack(packet.Handshake, `{"a":1}`), pack(packet.Ack, ""), request(300, "Game.Echo", "hello"), pack(packet.Heartbeat, ""),
		notify("Game.Echo", "x"), request(301, "Game.Double", `{"N":1}`),
	}, nil)
}

// Whatever clients do, others are served, and nothing of theirs stays.
func TestHostileClients(t *testing.T) {
	for _, attack := range []struct {
		name string
		opts []nano.Option
		run  func(at *site)
	}{
		{"random bytes", nil, func(at *site) {
			at.many(400, func(i int, w *wire) {
				r := rand.New(rand.NewPCG(uint64(i), 1))
				junk := make([]byte, 1+r.IntN(3000))
				for j := range junk {
					junk[j] = byte(r.Uint32())
				}
				switch i % 4 {
				case 0:
					_ = w.raw(junk) // also in the place of frames
				case 1:
					_ = w.send(junk)
				default:
					_ = w.join()
					_ = w.send(append([]byte{byte(packet.Data), 0, byte(len(junk) >> 8), byte(len(junk))}, junk...))
				}
				w.drained(at.t)
			})
		}},
		{"every truncation", nil, func(at *site) {
			stream := valid()
			at.many(2*len(stream), func(i int, w *wire) {
				_ = w.send(stream[:i/2])
				if i%2 == 0 {
					w.drained(at.t)
				}
			})
		}},
		{"every truncation of frames", nil, func(at *site) {
			stream := append(frame(0x82, valid()), frame(0x89, []byte("ping"))...)
			at.many(2*len(stream), func(i int, w *wire) {
				_ = w.raw(stream[:i/2])
				if i%2 == 0 {
					w.drained(at.t)
				}
			})
		}},
		{"every mutation", nil, func(at *site) {
			stream := valid()
			if at.webSocket() {
				stream = frame(0x82, stream)
			}
			step := 1
			if testing.Short() || slack > 1 {
				step = 16 // not all values
			}
			at.many(len(stream)*255/step, func(i int, w *wire) {
				i *= step
				b := bytes.Clone(stream)
				b[i/255] += byte(1 + i%255)
				_ = w.raw(b)
				w.drained(at.t)
			})
		}},
		{"16 MiB announced", []nano.Option{nano.WithMaxPacketSize(packet.MaxLength)}, func(at *site) {
			before := measure()
			at.together(200, func(i int, w *wire) {
				if i%2 == 0 {
					_ = w.join()
				}
				if at.webSocket() && i%4 < 2 {
					_ = w.raw([]byte{0x82, 0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 4, 0})
					return
				}
				_ = w.send([]byte{byte(packet.Data - packet.Type(i%2*3)), 0xff, 0xff, 0xff, 1})
			}, func() {
				at.well(nil)
				if now := measure(); now.heap > before.heap+16*mebibyte {
					at.t.Errorf("%d MiB are held for what was announced only", (now.heap-before.heap)>>20)
				}
			})
		}},
		{"half-open connections", []nano.Option{
			nano.WithHandshakeTimeout(500 * time.Millisecond * slack), nano.WithHeartbeatInterval(300 * time.Millisecond),
		}, func(at *site) {
			closed := func(reason string) int64 { return at.Stats().Closed[reason] }
			handshake, heartbeat := closed("handshake"), closed("heartbeat")
			var strangers []*wire // that do not get to be a WebSocket, where it takes that
			for i := range 50 {
				conn, err := at.conn()
				if err != nil {
					at.t.Fatal(err)
				}
				w := newWire(conn)
				if at.webSocket() {
					_ = w.raw([]byte(upgradeRequest("/")[:i]))
				} else {
					_ = w.raw(valid()[:i%4])
				}
				strangers = append(strangers, w)
			}
			at.together(200, func(i int, w *wire) {
				if i%2 == 0 {
					_ = w.join()
				}
			}, func() {
				most := handshake + 100
				if !at.webSocket() {
					most += int64(len(strangers))
				}
				eventually(at.t, "the silent ones are closed", func() bool {
					return closed("handshake") == most && closed("heartbeat") >= heartbeat+100
				})
			})
			for _, w := range strangers {
				if e := w.rest(); errors.Is(e.err, os.ErrDeadlineExceeded) {
					at.t.Error("a connection that says nothing stays open")
				}
				w.abort()
			}
		}},
		// What becomes of each is for TestMalformed and TestRefusedAlone to see.
		{"what the protocol forbids", nil, func(at *site) {
			early, late := forbidden()
			at.many(8*(len(early)+len(late)), func(i int, w *wire) {
				i /= 8
				if i < len(early) {
					_ = w.send(early[i])
				} else if err := w.join(); err != nil {
					at.t.Error(err)
				} else {
					_ = w.send(late[i-len(early)])
				}
				_ = w.send(request(1, "Game.Echo", "comes too late"))
				if e := w.rest(); len(e.messages) > 1 || len(e.messages) == 1 && !e.messages[0].Err {
					at.t.Errorf("%v came after what is forbidden", e.messages)
				}
			})
		}},
		{"what cannot be served", nil, func(at *site) {
			at.many(32, func(_ int, w *wire) {
				if err := w.join(); err != nil {
					at.t.Error(err)
					return
				}
				for _, b := range unservable() {
					_ = w.send(b)
					if m, err := w.message(); err != nil || !m.Err {
						at.t.Errorf("%q was answered by %v, %v, want an error response", b, m, err)
						return
					}
				}
				if err := w.echo(1, "and goes on"); err != nil {
					at.t.Error(err)
				}
			})
		}},
		{"a byte now and then", []nano.Option{
			nano.WithHandshakeTimeout(500 * time.Millisecond * slack), nano.WithHeartbeatInterval(300 * time.Millisecond),
		}, func(at *site) {
			closed := func(reason string) int64 { return at.Stats().Closed[reason] }
			handshake, heartbeat := closed("handshake"), closed("heartbeat")
			at.together(32, func(i int, w *wire) {
				stream := valid()
				if i%2 == 0 {
					_ = w.join()
					stream = packetOf(1, 1000)
				}
				for _, b := range stream {
					if w.send([]byte{b}) != nil {
						return
					}
					time.Sleep(60 * time.Millisecond * slack) // an ack comes too late
				}
			}, func() {
				eventually(at.t, "those that take so long are closed", func() bool {
					return closed("handshake") == handshake+16 && closed("heartbeat") == heartbeat+16
				})
			})
		}},
		{"a flood of heartbeats", nil, flood(pack(packet.Heartbeat, ""), 20_000)},
		{"a flood of handshakes", nil, flood(pack(packet.Handshake, "{}"), 1000)},
		{"a flood of notifies", nil, flood(notify("Game.Echo", "x"), 5000)},
		{"a flood of requests", nil, flood(request(1, "Game.Echo", strings.Repeat("x", 100)), 20_000)},
		{"a flood of requests that fail", nil, flood(request(1, "Game.Panic", ""), 500)},
		{"a flood of unknown routes", nil, flood(request(1, "Nobody.None", ""), 5000)},
		{"a flood of pings", nil, func(at *site) {
			if !at.webSocket() {
				return
			}
			junk := bytes.Repeat(frame(0x89, []byte("ping")), 1000)
			at.many(8, func(_ int, w *wire) {
				_ = w.join()
				for range 20 {
					if w.raw(junk) != nil {
						return
					}
				}
				w.drained(at.t)
			})
		}},
		{"upgrades that are none", nil, func(at *site) {
			if !at.webSocket() {
				return
			}
			ask := upgradeRequest("/")
			at.open(400, func(i int, w *wire) {
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
				case 3: // what follows comes too early
					junk = append(junk, frame(0x82, valid())...)
				}
				_ = w.raw(junk)
				w.drained(at.t)
			})
		}},
		// What they are answered is for TestRequestWithoutItsBody to see.
		{"requests whose bodies do not come", []nano.Option{nano.WithSameOrigin()}, func(at *site) { at.strangers(2, bodiless()) }},
		{"answers that nobody reads", nil, func(at *site) {
			at.strangers(1, map[string]int{strings.Repeat("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", 300_000): 0})
		}},
		{"a byte at a time", nil, func(at *site) {
			at.many(32, func(_ int, w *wire) {
				for _, b := range valid() {
					if err := w.send([]byte{b}); err != nil {
						at.t.Error(err)
						return
					}
					runtime.Gosched()
				}
				w.drained(at.t)
			})
		}},
		{"2,000 clients that vanish", nil, func(at *site) {
			vanish := func() {
				at.together(2000, func(i int, w *wire) {
					if i%10 != 0 {
						if err := w.join(); err != nil {
							at.t.Errorf("client %d: %v", i, err)
						}
					}
					if i%3 == 0 {
						_ = w.send(request(1, "Game.Echo", "hello"))
					}
				}, func() {})
				eventually(at.t, "they are gone", func() bool { return at.Stats().Connections <= 1 })
			}
			vanish() // maps and pools have their size then
			first := measure()
			vanish()
			first.within(at.t, 2*mebibyte) // of 2,000 clients: 1 KiB each would be seen
		}},
	} {
		for _, kind := range sockets {
			t.Run(attack.name+" over "+kind, func(t *testing.T) {
				at := open(t, kind, &Game{}, attack.opts...)
				at.well(nil)
				at.many(64, func(_ int, w *wire) { _ = w.join() }) // the pools and maps have their size
				eventually(t, "they are gone", func() bool { return at.Stats().Connections == 0 })
				before := measure()
				good := at.client()
				stays := make(chan struct{})
				answered := make(chan int, 1)
				go func() { // it is not silent meanwhile
					n := 0
					defer func() { answered <- n }()
					for {
						select {
						case <-stays:
							return
						case <-time.After(20 * time.Millisecond):
						}
						if good.wire.echo(uint64(n+1), "me too") != nil {
							return
						}
						n++
					}
				}()
				attack.run(at)
				close(stays)
				<-answered
				at.well(good)
				good.abort()
				eventually(t, "all are gone", func() bool { return at.Stats().Connections == 0 && at.Stats().Sessions == 0 })
				before.back(t)
			})
		}
	}
}

// strangers has n connections each send requests and read nothing until the server has ended them.
func (s *site) strangers(n int, requests map[string]int) {
	s.t.Helper()
	if !s.webSocket() {
		return
	}
	var wg sync.WaitGroup
	for request := range requests {
		for range n {
			wg.Go(func() {
				conn, err := s.conn()
				if err != nil {
					s.t.Error(err)
					return
				}
				w := newWire(conn)
				defer w.abort()
				if w.raw([]byte(request)) != nil {
					return // it was closed while it did not read
				}
				_ = conn.SetReadDeadline(time.Now().Add(patience))
				if _, err := io.Copy(io.Discard, w.br); errors.Is(err, os.ErrDeadlineExceeded) {
					s.t.Errorf("%.40q holds its connection", request)
				}
			})
		}
	}
	wg.Wait()
}

// forbidden is streams that end their connection: some before a handshake, some after it.
func forbidden() (early, late [][]byte) {
	hello, ack := pack(packet.Handshake, "{}"), pack(packet.Ack, "")
	echo := request(1, "Game.Echo", "")
	early = [][]byte{
		ack, echo, pack(packet.Kick, "{}"), // before the handshake
		slices.Concat(hello, echo), slices.Concat(hello, hello), // before the ack
		slices.Concat(ack, hello, ack), []byte("GET / HTTP/1.1\r\n\r\n"),
	}
	late = [][]byte{
		hello, ack, pack(packet.Kick, "{}"),
		body("\x00", strings.Repeat("\x81", 10), "\x00\x09Game.Echo"), // an id of 11 bytes
		body("\x00", strings.Repeat("\xff", 9), "\x02\x09Game.Echo"),  // one of 10 bytes that does not fit
		body("\x00\x00\x09Game.Echo"), body("\x00\x80"), body("\x00\x01\xff", strings.Repeat("r", 254)),
		body("\x01\x01\x00"), body("\x04\x01"), body("\x06\x09Game.Echo"),
	}
	for typ := 6; typ < 256; typ += 50 {
		late = append(late, []byte{byte(typ), 0, 0, 0})
	}
	for typ := byte(4); typ < 8; typ++ {
		late = append(late, body(string([]byte{typ << 1, 1}), "\x09Game.Echo"))
	}
	return early, append(late, []byte{0, 0, 0, 0})
}

// unservable is requests that get an error each.
func unservable() [][]byte {
	list := [][]byte{
		body("\x00\x01\xff", strings.Repeat("r", 255)),
		body("\x00", strings.Repeat("\xff", 9), "\x01\x07No.Such"), // the largest id, of 10 bytes
		body("\x01\x01\x00\x09"), body("\x01\x01\xff\xff"),
		body("\x00\x01\x0bGame.Double{"), body("\x00\x01\x0aGame.Panic"),
	}
	for flag := byte(0x10); flag != 0; flag <<= 1 {
		list = append(list, body(string([]byte{flag, 1}), "\x09Game.Echo"))
	}
	return list
}

// together connects n clients and has all of them do something; when they have, then runs, and they vanish at once.
func (s *site) together(n int, do func(i int, w *wire), then func()) {
	s.t.Helper()
	wires := make([]*wire, n)
	var wg sync.WaitGroup
	for k := range 32 {
		wg.Go(func() {
			for i := k; i < n; i += 32 {
				w, err := s.wire()
				if err != nil {
					s.t.Errorf("client %d: %v", i, err)
					return
				}
				wires[i] = w
				do(i, w)
			}
		})
	}
	wg.Wait()
	then()
	for _, w := range wires {
		if w != nil {
			w.abort()
		}
	}
}

// flood has clients send n times the same and read nothing of the answers until then.
func flood(b []byte, n int) func(at *site) {
	return func(at *site) {
		junk := bytes.Repeat(b, 50)
		at.many(8, func(_ int, w *wire) {
			if w.join() != nil {
				return
			}
			for range n / 50 {
				_ = w.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
				var err error
				if at.webSocket() {
					_, err = w.conn.Write(frame(0x82, junk))
				} else {
					_, err = w.conn.Write(junk)
				}
				if err != nil {
					return // it was closed, or waits for us to read
				}
			}
			w.drained(at.t)
		})
	}
}

// A packet that comes a byte a second is no sign of life.
func TestByteASecond(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			game, ends := watched()
			at := open(t, kind, game)
			p, good := at.patient(), at.patient()
			p.join()
			p.call(1, "Game.Do", "")
			good.join()
			start := time.Now()
			p.goes(func() {
				for _, b := range packetOf(1, 1000) {
					time.Sleep(time.Second)
					if p.wire.send([]byte{b}) != nil {
						return
					}
				}
			})
			for id := uint64(1); id <= 7; id++ {
				time.Sleep(10 * time.Second)
				good.echo(id, "me too")
			}
			if err := receive(t, ends, "the end of the session"); !errors.Is(err, session.ErrHeartbeat) {
				t.Errorf("the session ended with %v, want ErrHeartbeat", err)
			}
			if took := time.Since(start); took < interval*5/2 || took > 3*interval {
				t.Errorf("closed after %v, want two and a half to three intervals", took)
			}
		})
	}
}

// Who reads nothing while everybody is sent to is closed, and holds up nobody.
func TestClientThatNeverReads(t *testing.T) {
	for _, kind := range sockets {
		t.Run(kind, func(t *testing.T) {
			group := nano.NewGroup("all")
			game := &Game{do: func(s *session.Session, _ []byte) error {
				if err := group.Add(s); err != nil {
					return err
				}
				return s.Response([]byte("in"))
			}}
			at := open(t, kind, game)
			at.well(nil)
			before := measure()
			deaf, good := at.client(), at.client()
			deaf.call(1, "Game.Do", "")
			good.call(1, "Game.Do", "")
			news := bytes.Repeat([]byte("x"), 30_000)
			n := 0
			for at.Stats().Closed["slow"] == 0 {
				if n++; n > 10_000 {
					t.Fatal("a client that reads nothing takes everything")
				}
				if err := group.Broadcast("onNews", news); err != nil && !errors.Is(err, session.ErrSlowClient) {
					t.Fatalf("Broadcast = %v", err)
				}
				if m := good.next(); len(m.Data) != len(news) {
					t.Fatalf("%v came, want the news", m)
				}
			}
			at.well(good)
			eventually(t, "the group forgets it", func() bool { return group.Count() == 1 })
			deaf.abort()
			good.abort()
			eventually(t, "all are gone", func() bool { return at.Stats().Connections == 0 })
			before.back(t)
			_ = group.Close()
		})
	}
}

// Whatever handlers do, they cost no more than they must.
func TestHostileHandlers(t *testing.T) {
	const block = 500 * time.Millisecond
	type handler = func(at *site, all []*session.Session, s *session.Session) error
	for name, test := range map[string]struct {
		do   handler
		code string // of the error that the request is answered with; "" where none comes
		kick string // of the client whose request it is
		ends string // the reason for which its session is counted, "" where it goes on
		all  bool   // everybody's session ends
	}{
		"panics":             {func(*site, []*session.Session, *session.Session) error { panic("no luck") }, nano.CodeInternal, "", "", false},
		"indexes too far":    {func(_ *site, all []*session.Session, _ *session.Session) error { all[len(all)].Close(); return nil }, nano.CodeInternal, "", "", false},
		"ends its goroutine": {func(*site, []*session.Session, *session.Session) error { runtime.Goexit(); return nil }, nano.CodeInternal, "", "", false},
		"blocks": {func(*site, []*session.Session, *session.Session) error {
			time.Sleep(block)
			return errors.New("at last")
		}, nano.CodeInternal, "", "", false},
		"closes its session": {func(_ *site, _ []*session.Session, s *session.Session) error {
			s.Close()
			panic("and panics")
		}, "", "", "server", false},
		"kicks its session": {func(_ *site, _ []*session.Session, s *session.Session) error {
			return s.Kick("away")
		}, "", `{"reason":"away"}`, "kicked", false},
		"kicks everybody": {func(_ *site, all []*session.Session, _ *session.Session) error {
			for _, s := range all {
				if err := s.Kick("all of you"); err != nil {
					return err
				}
			}
			return nil
		}, "", `{"reason":"all of you"}`, "kicked", true},
		"closes everybody": {func(_ *site, all []*session.Session, _ *session.Session) error {
			for _, s := range all {
				s.Close()
			}
			return nil
		}, "", "", "server", true},
		"shuts down": {func(at *site, _ []*session.Session, _ *session.Session) error {
			go func() { _ = at.Shutdown(context.Background()) }()
			return errors.New("soon")
		}, nano.CodeInternal, `{"reason":"server shutdown"}`, "shutdown", true},
	} {
		for _, kind := range sockets {
			t.Run(name+" over "+kind, func(t *testing.T) {
				var at *site
				var all []*session.Session // of the logic goroutine
				at = open(t, kind, &Game{do: func(s *session.Session, data []byte) error {
					if string(data) == "in" {
						all = append(all, s)
						return s.Response(data)
					}
					return test.do(at, all, s)
				}})
				at.well(nil)
				before := measure()
				p, good := at.client(), at.client()
				p.call(1, "Game.Do", "in")
				good.call(1, "Game.Do", "in")
				p.send(request(2, "Game.Do", "go"))
				if test.code != "" {
					if e := p.failure(p.next()); e.Code != test.code {
						t.Errorf("the answer is %v, want %s", e, test.code)
					}
				}
				if test.ends != "" {
					if e := p.ends(); e.kick != test.kick || len(e.messages) != 0 {
						t.Errorf("%d messages and kick %q came, want kick %q", len(e.messages), e.kick, test.kick)
					}
					want := int64(1)
					if test.all {
						want = 2
						if e := good.ends(); e.kick != test.kick {
							t.Errorf("kick %q came to another client, want %q", e.kick, test.kick)
						}
						good = nil
					}
					eventually(t, "it is counted", func() bool { return at.Stats().Closed[test.ends] == want })
				} else {
					p.echo(3, "still here")
				}
				if test.ends == "shutdown" {
					if err := at.Shutdown(context.Background()); err != nil {
						t.Errorf("Shutdown = %v", err)
					}
				} else {
					at.well(good)
				}
				p.abort()
				if good != nil {
					good.abort()
				}
				all = nil
				eventually(t, "all are gone", func() bool { return at.Stats().Connections == 0 && at.Stats().Sessions == 0 })
				before.back(t)
			})
		}
	}
}

// blockTime is how long the handler of TestHandlerThatBlocks blocks over sockets. The long form is
//
//	go test -run TestHandlerThatBlocks -v -block 10s .
var blockTime = flag.Duration("block", 2*time.Second, "how long the handler of TestHandlerThatBlocks blocks over sockets")

// A handler that blocks holds up the messages of its scheduler and nothing else. It is for 10 s in fake time, and for
// -block over sockets.
func TestHandlerThatBlocks(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { blocks(t, kind, 10*time.Second) })
		})
	}
	for _, kind := range sockets {
		t.Run(kind, func(t *testing.T) { blocks(t, kind, *blockTime) })
	}
}

// blocks has a handler block for d.
func blocks(t *testing.T, kind string, d time.Duration) {
	const others, ahead = 20, 300 // ahead is more than may wait of one session
	interval := d / 5
	room := scheduler.New()
	defer room.Close()
	rooms := &component.Components{}
	rooms.Register(&Game{}, component.WithName("Room"), component.WithSchedulerName("room"))
	begun := make(chan struct{}, 1)
	log := newJournal()
	at := open(t, kind, &Game{do: func(s *session.Session, data []byte) error {
		begun <- struct{}{}
		time.Sleep(d)
		return s.Response(data)
	}}, nano.WithComponents(rooms), nano.WithHeartbeatInterval(interval), log.option(),
		nano.WithHandshakeValidator(func(s *session.Session, _ []byte) error {
			s.Set("room", room)
			return nil
		}))
	at.well(nil)
	before := measure()

	// Each of the others asks for something while the handler blocks, and lives by its heartbeats. The first is eager.
	type outcome struct {
		answers, heartbeats int
		err                 error
	}
	var clients []*peer
	ends := make([]outcome, others)
	var reading sync.WaitGroup
	for i := range others {
		p := at.client()
		p.patience = time.Hour
		clients = append(clients, p)
		want := 1
		if i == 0 {
			want = ahead
		}
		reading.Go(func() {
			for end := &ends[i]; end.answers < want; {
				typ, body, err := p.packet()
				switch {
				case err != nil:
					end.err = err
					return
				case typ == packet.Heartbeat:
					end.heartbeats++
					if i > 0 { // the eager one is not read from, and may be silent
						_ = p.wire.send(pack(packet.Heartbeat, ""))
					}
				case typ == packet.Data && body[0]&0x20 == 0:
					end.answers++
				default:
					t.Errorf("client %d got a %v packet %q", i, typ, body)
				}
			}
		})
	}
	silent := at.client()
	silent.patience = time.Hour
	silentFor := make(chan time.Duration, 1)
	joined := time.Now()
	silent.goes(func() {
		silent.rest()
		silentFor <- time.Since(joined)
	})

	p := at.client()
	p.patience = time.Hour
	p.send(request(1, "Game.Do", "at last"))
	p.goes(func() {
		for p.wire.send(pack(packet.Heartbeat, "")) == nil {
			time.Sleep(interval)
		}
	})
	receive(t, begun, "the call of the handler")
	start := time.Now()
	for i, c := range clients {
		if i > 0 {
			c.send(request(1, "Game.Echo", ""))
			continue
		}
		c.goes(func() {
			for id := range uint64(ahead) {
				if c.wire.send(request(id+1, "Game.Echo", "")) != nil {
					return
				}
			}
		})
	}

	// Meanwhile whoever comes is let in, and is served by other schedulers.
	rounds, late := 0, 0
	for ; time.Since(start) < d*3/4; rounds++ {
		began := time.Now()
		w, err := at.wire()
		if err == nil {
			err = w.join()
		}
		if err == nil {
			_, err = w.call(1, "Room.Echo", "hello")
		}
		if err != nil {
			t.Fatalf("a new client after %v: %v", time.Since(start), err)
		}
		if time.Since(began) > prompt {
			late++
		}
		w.abort()
		time.Sleep(20 * time.Millisecond)
	}
	if late > rounds/5 {
		t.Errorf("%d of %d new clients were answered later than after %v", late, rounds, prompt)
	}
	if took := receive(t, silentFor, "the end of the silent client"); took < interval*5/2-interval/10 || took > d*3/4 {
		t.Errorf("a silent client was let go after %v, want two and a half intervals of %v to three", took, interval)
	}
	const stuck = "nano: the logic goroutine is stuck in one task"
	if d > 8*time.Second {
		if stack, _ := log.find(stuck, "stack"); !strings.Contains(stack, "(*Game).Do") || log.lines(stuck) != 1 {
			t.Errorf("%d lines with the stack %s tell of the handler, want one", log.lines(stuck), stack)
		}
	}
	if n := at.Stats().Routes["Game.Echo"].Count; n != 1 {
		t.Errorf("the handler was over after %v: %d messages have run", time.Since(start), n)
	}

	// Afterwards everything is answered, and nobody was lost.
	if m := p.next(); string(m.Data) != "at last" || time.Since(start) < d {
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
	if route := log.wait(t, "nano: slow handler", "route"); route != "Game.Do" {
		t.Errorf("the log names the slow handler %q", route)
	}
	at.well(nil)
	t.Logf("%d clients came while the handler blocked for %v, %d late", rounds, d, late)
	for _, c := range append(clients, p, silent) {
		c.abort()
	}
	eventually(t, "all are gone", func() bool { return at.Stats().Connections == 0 && at.Stats().Sessions == 0 })
	before.back(t)
}
