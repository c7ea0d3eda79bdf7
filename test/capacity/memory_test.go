package capacity_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// worst is a set of clients that make the server hold as much memory as possible. They
// use almost no memory themselves.
type worst struct {
	*testing.B
	at              *testkit.Server
	packet, pending int        // limits of the server
	conns           []net.Conn // connections for packets
	bare            []*gathers // the connections below them
	read            int64      // number of messages that the server has read

	mu       sync.Mutex
	sessions []*session.Session // mu guards it
}

const worstClients = 32

// gathers is a connection that can hold back writes, so that a TLS record can be split.
type gathers struct {
	net.Conn
	kept *bytes.Buffer // nil if writes pass
}

func (g *gathers) Write(b []byte) (int, error) {
	if g.kept != nil {
		return g.kept.Write(b)
	}
	return g.Conn.Write(b)
}

// connect connects the clients to a new server, and waits for one answer each.
func (w *worst) connect(kind string, opts []nano.Option) {
	w.Helper()
	w.at = testkit.Start(w, kind, &testkit.Game{}, append(slices.Clip(opts), nano.WithSlowHandler(0), nano.WithHandshakeValidator(
		func(s *session.Session, _ []byte) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.sessions = append(w.sessions, s)
			return nil
		}))...)
	dial := w.at.DialConn
	if kind == "tls" {
		dial = testkit.DialBelowTLS(w, w.at)
	}
	for range worstClients {
		c, err := dial()
		if err != nil {
			w.Fatal(err)
		}
		w.Cleanup(func() { _ = c.Close() })
		below := &gathers{Conn: c}
		client := testkit.NewWire(below)
		if kind == "tls" {
			client = testkit.NewWire(tls.Client(below, &tls.Config{RootCAs: testkit.Roots(), ServerName: "localhost", DynamicRecordSizingDisabled: true}))
		}
		if kind == "ws" {
			err = client.Upgrade("/")
		}
		if err = errors.Join(err, client.Join()); err == nil {
			err = client.Echo(1, "")
		}
		if err != nil {
			w.Fatal(err)
		}
		w.conns, w.bare = append(w.conns, client.Conn), append(w.bare, below)
	}
	w.read = worstClients
}

// say sends bytes from every client.
func (w *worst) say(b []byte) {
	w.Helper()
	if w.at.Transport == "ws" {
		b = testkit.Frame(0x82, b)
	}
	for _, c := range w.conns {
		if _, err := c.Write(b); err != nil {
			w.Fatal(err)
		}
	}
}

// wait makes n messages of each client wait at the server. Each is read by itself.
func (w *worst) wait(n int, message []byte) {
	w.Helper()
	for range n {
		w.say(message)
		w.read += worstClients
		testkit.Eventually(w, "the server has read it", func() bool { return w.at.Stats().MessagesIn == w.read })
	}
}

// block blocks the logic goroutine until the benchmark ends.
func (w *worst) block() {
	goOn := make(chan struct{})
	w.at.Invoke(func() { <-goOn })
	w.Cleanup(func() { close(goOn) })
}

// part makes every client send a packet without its last byte. Over TLS it also holds
// back the end of a record of the largest size.
func (w *worst) part() {
	w.Helper()
	packet := testkit.RequestOfSize(1, w.packet)
	packet = packet[:len(packet)-1]
	for _, g := range w.bare {
		g.kept = &bytes.Buffer{}
	}
	w.say(packet)
	if w.at.Transport == "tls" {
		w.say(make([]byte, 16<<10))
	}
	for _, g := range w.bare {
		b := g.kept.Bytes()
		if w.at.Transport == "tls" {
			b = b[:len(b)-1]
		}
		if g.kept = nil; b != nil {
			if _, err := g.Write(b); err != nil {
				w.Fatal(err)
			}
		}
	}
}

// output queues pushes until the outbox and the kernel's buffers are full. No client
// reads them.
func (w *worst) output() {
	w.Helper()
	push := make([]byte, 1000)
	for _, s := range w.sessions {
		for full := 0; full < 20; {
			switch err := s.Push("onNews", push); {
			case errors.Is(err, session.ErrBufferExceed):
				full++
				time.Sleep(time.Millisecond)
			case err != nil:
				w.Fatal(err)
			default:
				full = 0
			}
		}
	}
}

// BenchmarkSessionMemory measures the memory that a hostile client can make the server
// hold. docs/security.md lists the figures under "How much memory".
//
//	go test -run '^$' -bench SessionMemory -benchtime 1x ./test/capacity
func BenchmarkSessionMemory(b *testing.B) {
	unknown := testkit.Request(1, strings.Repeat("\xff", 255), "") // the error quotes it with four characters per byte
	for _, settings := range []struct {
		name            string
		packet, pending int
		opts            []nano.Option
	}{
		{"defaults", 64 << 10, 256, []nano.Option{nano.WithWriteBuffer(1<<20, nano.RefusePush)}},
		{"settings", 8 << 10, 64, []nano.Option{nano.WithMaxPacketSize(8 << 10), nano.WithMaxPending(64),
			nano.WithWriteBuffer(256<<10, nano.RefusePush)}}, // the limits in docs/security.md
	} {
		for _, test := range []struct {
			name string
			do   func(w *worst)
		}{
			{"idle", nil},
			{"payloads", func(w *worst) {
				w.block()
				w.wait(4, testkit.RequestOfSize(1, w.packet))
				w.say(testkit.RequestOfSize(1, w.packet)) // exceeds the limit
			}},
			{"messages", func(w *worst) { w.block(); w.wait(w.pending, testkit.Request(1, "Game.Double", "{}")) }},
			{"refused", func(w *worst) { w.block(); w.wait(w.pending, unknown) }},
			{"part", (*worst).part},
			{"output", (*worst).output},
			{"all", func(w *worst) {
				w.output()
				w.block()
				w.wait(3, testkit.RequestOfSize(1, w.packet))
				w.wait(w.pending-4, unknown)
				w.wait(1, testkit.RequestOfSize(1, w.packet))
				w.part()
			}},
		} {
			for _, kind := range []string{"tcp", "ws", "tls"} {
				b.Run(settings.name+"/"+test.name+"/"+kind, func(b *testing.B) {
					for b.Loop() {
						w := &worst{B: b, packet: settings.packet, pending: settings.pending}
						before := held()
						w.connect(kind, settings.opts)
						whole := test.name == "idle" || test.name == "all"
						if !whole {
							before = held() // compared with an idle connection
						}
						if test.do != nil {
							test.do(w)
						}
						time.Sleep(100 * time.Millisecond) // for data in transit
						if whole {
							w.conns = nil // the TLS clients use much memory too
						}
						b.ReportMetric(float64(held()-before)/worstClients/1024, "KiB/session")
						b.ReportMetric(0, "ns/op")
					}
				})
			}
		}
	}
}

// held returns the bytes of heap and stacks in use.
func held() int64 {
	runtime.GC()
	runtime.GC() // the second collection empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
