package nano_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/session"
)

// located is a connection whose other end is where the test says.
type located struct {
	net.Conn
	remote net.Addr
}

func (l *located) RemoteAddr() net.Addr { return l.remote }

// openFrom starts a server whose clients come from where the test says, in fake time if need be. ws tells whether they
// are WebSocket ones.
func openFrom(t testing.TB, kind string, c *Game, opts ...nano.Option) (from func(addr string) *site, srv *nano.Server) {
	t.Helper()
	s := newServer(c, opts...)
	shutdownAtEnd(t, s)
	m := newMemory()
	accept := s.Serve
	if strings.HasPrefix(kind, "ws") {
		accept = s.ServeWebSocket
	}
	served := make(chan error, 1)
	go func() { served <- accept(m) }()
	t.Cleanup(func() {
		_ = s.Shutdown(context.Background())
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return func(addr string) *site {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return &site{t: t, Server: s, kind: kind, path: "/", conn: func() (net.Conn, error) {
			client, server := net.Pipe()
			select {
			case m.conns <- &located{server, tcp}:
				return client, nil
			case <-m.closed:
				return nil, net.ErrClosed
			}
		}}
	}, s
}

// lines counts the records with a message.
func (l *journal) lines(message string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r.Message == message {
			n++
		}
	}
	return n
}

const limitLine = "nano: a limit refuses"

// In fake time, which stands still while messages are on their way.
func TestMessageRate(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newJournal()
				at := open(t, kind, &Game{}, nano.WithMessageRate(10, 5), log.option())
				p, other := at.patient(), at.patient()
				p.join()
				other.join()
				id := uint64(0)
				passes := func(want int) {
					t.Helper()
					for range want {
						id++
						p.echo(id, "hello")
					}
					id++
					if e := p.fails(id, "Game.Echo", "one too many"); e.Code != nano.CodeLimit {
						t.Fatalf("over the rate: %v, want %s", e, nano.CodeLimit)
					}
				}
				passes(5)
				p.send(notify("Game.Echo", "dropped"))
				passes(0)
				other.echo(1, "not my business")
				time.Sleep(100 * time.Millisecond)
				passes(1)
				time.Sleep(350 * time.Millisecond)
				passes(3)
				time.Sleep(time.Minute)
				passes(5) // no more than the burst
				st := at.Stats()
				if st.Refused["rate"] != 6 || st.Refused["notify"] != 1 || st.Refused["request"] != 5 {
					t.Errorf("refused: %v, want 6 for the rate, of which 5 requests and a notify", st.Refused)
				}
				if n := log.lines(limitLine); n != 2 {
					t.Errorf("%d lines in the log, want one every 10 s at most: 2", n)
				}
				if limit, _ := log.find(limitLine, "limit"); limit != "rate" {
					t.Errorf("the log names the limit %q, want rate", limit)
				}
			})
		})
	}
}

func TestByteRate(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			p := open(t, kind, &Game{}, nano.WithByteRate(1000, 2000)).patient()
			p.join()
			payload := strings.Repeat("x", 3000)
			refused := func(id uint64, size int) {
				t.Helper()
				if e := p.fails(id, "Game.Echo", payload[:size]); e.Code != nano.CodeLimit {
					t.Errorf("%d bytes: %v, want %s", size, e, nano.CodeLimit)
				}
			}
			p.echo(1, payload[:2000])
			refused(2, 1)
			time.Sleep(time.Second)
			refused(3, 1001)
			p.echo(4, payload[:1000])
			refused(5, 0) // what bears no payload costs four bytes
			time.Sleep(4 * time.Millisecond)
			p.echo(5, "")
			time.Sleep(time.Minute)
			refused(6, 2001) // the burst is the largest that ever passes
			p.echo(7, payload[:2000])
		})
	}
}

// Who goes on is kicked; ten seconds without a refusal make up for what was before.
func TestAbuseIsKicked(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		for _, limit := range []int{100, 3, 1} {
			t.Run(fmt.Sprint(kind, limit), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					game, ends := watched()
					opts := []nano.Option{nano.WithMessageRate(1, 1)}
					if limit != 100 { // the default
						opts = append(opts, nano.WithMaxAbuse(limit))
					}
					at := open(t, kind, game, opts...)
					p := at.patient()
					p.join()
					p.call(1, "Game.Do", "")
					id := uint64(1)
					over := func(n int) {
						t.Helper()
						for range n {
							id++
							if e := p.fails(id, "Game.Echo", ""); e.Code != nano.CodeLimit {
								t.Fatalf("%v, want %s", e, nano.CodeLimit)
							}
						}
					}
					over(limit - 1)
					time.Sleep(10*time.Second + time.Millisecond)
					id++
					p.echo(id, "")
					over(limit - 1)
					p.send(request(id+1, "Game.Echo", ""))
					e := p.ends()
					if e.kick != `{"reason":"rate limit"}` || len(e.messages) != 0 {
						t.Errorf("%d messages and kick %s came, want a kick", len(e.messages), e.kick)
					}
					if at.webSocket() && e.code != 1008 {
						t.Errorf("close code %d, want 1008", e.code)
					}
					if err := <-ends; !errors.Is(err, session.ErrLimit) {
						t.Errorf("the session ended with %v, want ErrLimit", err)
					}
					if n := at.Stats().Closed["limit"]; n != 1 {
						t.Errorf("%d sessions were closed for a limit, want 1", n)
					}
				})
			})
		}
	}
}

func TestAbuseWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, "pipe", &Game{}, nano.WithMessageRate(1, 1), nano.WithMaxAbuse(0)).patient()
		p.join()
		p.echo(1, "")
		for id := uint64(2); id < 1000; id++ {
			if e := p.fails(id, "Game.Echo", ""); e.Code != nano.CodeLimit {
				t.Fatalf("%v, want %s", e, nano.CodeLimit)
			}
		}
		time.Sleep(time.Second)
		p.echo(1000, "")
	})
}

// doubtful is how many empty continuations have no more bytes than one control frame: they may be the beginning of one.
const doubtful = (6 + 125) / 6

// What carries no message is counted, and costs as much as one where there is a rate.
func TestControlFloods(t *testing.T) {
	const n = 1000
	for _, test := range []struct {
		name, kind string
		bytes      []byte // as they go over the wire
	}{
		{"heartbeats", "pipe", pack(packet.Heartbeat, "")},
		{"heartbeats", "wspipe", frame(0x82, pack(packet.Heartbeat, ""))},
		{"pings", "wspipe", frame(0x89, []byte("ping"))},
		{"pongs", "wspipe", frame(0x8a, nil)},
		{"empty frames", "wspipe", frame(0x82, nil)},
		{"empty fragments", "wspipe", append(frame(0x02, nil), frame(0x80, nil)...)},
	} {
		t.Run(test.name+" over "+test.kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := open(t, test.kind, &Game{})
				p := at.patient()
				p.join()
				if err := p.raw(bytes.Repeat(test.bytes, n)); err != nil {
					t.Fatal(err)
				}
				p.echo(1, "still here")
				least, most := int64(n), int64(n)
				if test.name == "empty fragments" {
					least, most = 2*n-doubtful, 2*n
				}
				if got := at.Stats().ControlIn; got < least || got > most {
					t.Errorf("%d were counted, want %d to %d", got, least, most)
				}

				game, ends := watched()
				at = open(t, test.kind, game, nano.WithMessageRate(10, 10), nano.WithMaxAbuse(50))
				p = at.patient()
				p.join()
				p.call(1, "Game.Do", "")
				p.goes(func() { _ = p.raw(bytes.Repeat(test.bytes, n)) })
				if e := p.rest(); e.kick != `{"reason":"rate limit"}` {
					t.Errorf("kick %q, want one", e.kick)
				}
				if err := <-ends; !errors.Is(err, session.ErrLimit) {
					t.Errorf("the session ended with %v, want ErrLimit", err)
				}
				if st := at.Stats(); st.ControlIn != 59 || st.Refused["rate"] != 50 {
					t.Errorf("%d were counted and %d refused, want 59 and 50", st.ControlIn, st.Refused["rate"])
				}
			})
		})
	}
}

// Empty continuations never reach the reader of a message: they are told by bytes that come to nothing. Fragments with
// something in them are not taken for it, wherever the bytes are cut.
func TestEmptyContinuations(t *testing.T) {
	const n = 10_000
	empties := bytes.Repeat(frame(0x00, nil), n)
	// Also where each read brings something too.
	mixed := bytes.Repeat(append(frame(0x00, []byte{0}), empties[:1000*6]...), n/1000)
	for _, kind := range []string{"ws", "wspipe"} {
		for _, junk := range [][]byte{empties, mixed} {
			game, ends := watched()
			p := open(t, kind, game, nano.WithMessageRate(10, 10), nano.WithMaxAbuse(50)).client()
			p.call(1, "Game.Do", "")
			p.goes(func() { _ = p.raw(append(frame(0x02, pack(packet.Data, string(make([]byte, 1000)))[:4]), junk...)) })
			if e := p.rest(); e.kick != `{"reason":"rate limit"}` {
				t.Errorf("%s: kick %q, want one", kind, e.kick)
			}
			if err := receive(t, ends, "the end of the session"); !errors.Is(err, session.ErrLimit) {
				t.Errorf("%s: the session ended with %v, want ErrLimit", kind, err)
			}
		}

		at := open(t, kind, &Game{})
		count := func(stream []byte, size int) (n int64) {
			t.Helper()
			p := at.client()
			before := at.Stats().ControlIn
			for piece := range slices.Chunk(stream, size) {
				if err := p.raw(piece); err != nil {
					t.Fatal(err)
				}
			}
			p.echo(1, "and goes on")
			return at.Stats().ControlIn - before
		}
		long := notify("Game.Echo", strings.Repeat("x", 1000))
		var fragments []byte
		for i, b := range long {
			fragments = append(fragments, frame(byte(0x02*(1-min(i, 1))), []byte{b})...)
		}
		for what, test := range map[string]struct {
			stream []byte
			want   int64
		}{
			"empty continuations": {slices.Concat(frame(0x02, nil), empties, frame(0x80, nil)), n},
			"fragments of a byte": {append(fragments, frame(0x80, nil)...), 0},
			"two fragments":       {bytes.Repeat(slices.Concat(frame(0x02, long[:500]), frame(0x80, long[500:])), 20), 0},
			"an empty end":        {bytes.Repeat(slices.Concat(frame(0x02, long), frame(0x80, nil)), 20), 0},
			"long pongs":          {bytes.Repeat(frame(0x8a, make([]byte, 125)), 20), 20},
			"pongs":               {bytes.Repeat(frame(0x8a, nil), 20), 20},
			"all of it": {bytes.Repeat(slices.Concat(fragments, frame(0x8a, make([]byte, 125)), frame(0x80, nil), frame(0x82, nil),
				frame(0x02, long), frame(0x80, nil)), 3), 6},
		} {
			for _, size := range []int{1 << 20, 1, 5, 6, 7, 13, 14, 20, 127, 300} {
				got := count(test.stream, size)
				if got > test.want || got < test.want-doubtful {
					t.Errorf("%s over %s in pieces of %d bytes: %d were counted, want %d", what, kind, size, got, test.want)
				}
				if size == 1<<20 && test.want == n {
					break
				}
			}
		}
	}
}

// Bytes count wherever they are; what has none costs a little.
func TestControlCostsBytes(t *testing.T) {
	for name, test := range map[string]struct {
		kind  string
		bytes []byte
		want  int64 // how many pass
	}{
		"heartbeats":             {"pipe", pack(packet.Heartbeat, ""), 2500},
		"heartbeats in frames":   {"wspipe", frame(0x82, pack(packet.Heartbeat, "")), 2500},
		"heartbeats with a body": {"pipe", pack(packet.Heartbeat, strings.Repeat("x", 1000)), 10},
		"pings":                  {"wspipe", frame(0x89, make([]byte, 100)), 100},
		"pongs":                  {"wspipe", frame(0x8a, make([]byte, 100)), 100},
		"empty pongs":            {"wspipe", frame(0x8a, nil), 2500},
		"empty frames":           {"wspipe", frame(0x82, nil), 2500},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := open(t, test.kind, &Game{}, nano.WithByteRate(1, 10_000), nano.WithMaxAbuse(7))
				p := at.patient()
				p.join()
				p.goes(func() {
					for range test.want + 7 {
						if p.raw(test.bytes) != nil {
							return
						}
					}
				})
				if e := p.rest(); e.kick != `{"reason":"rate limit"}` {
					t.Errorf("kick %q, want one", e.kick)
				}
				if st := at.Stats(); st.ControlIn != test.want+7 || st.Refused["rate"] != 7 {
					t.Errorf("%d were counted and %d refused, want %d and 7", st.ControlIn, st.Refused["rate"], test.want+7)
				}
			})
		})
	}
}

func TestMaxRouteLength(t *testing.T) {
	t.Parallel()
	for _, kind := range sockets {
		at := open(t, kind, &Game{}, nano.WithMaxRouteLength(9))
		p := at.client()
		p.echo(1, "nine bytes")
		if e := p.fails(2, "Game.Doubl", `{"N":1}`); e.Code != nano.CodeBadRequest {
			t.Errorf("a route of ten bytes: %v, want %s", e, nano.CodeBadRequest)
		}
		p.send(notify("Game.Doubl", "dropped"))
		p.echo(3, "still here")
		if st := at.Stats(); st.Refused["notify"] != 1 || st.Refused["request"] != 1 {
			t.Errorf("refused: %v, want a request and a notify", st.Refused)
		}
	}
}

func TestMaxHandshakeSize(t *testing.T) {
	t.Parallel()
	for _, kind := range sockets {
		at := open(t, kind, &Game{}, nano.WithMaxHandshakeSize(2))
		at.client().echo(1, "two bytes")
		p := at.dial()
		if a := p.shake("123"); a.Code != 500 || !strings.Contains(a.Message, "2") {
			t.Errorf("a handshake of three bytes was answered by %+v, want 500 and the limit", a)
		}
		if e := p.ends(); at.webSocket() && e.code != 1002 {
			t.Errorf("close code %d, want 1002", e.code)
		}
		if n := at.Stats().Refused["handshake"]; n != 1 {
			t.Errorf("%d handshakes were counted as refused, want 1", n)
		}
	}
}

// turnedAway connects a client that is told that there is no room, where it can be told.
func (s *site) turnedAway() {
	s.t.Helper()
	conn, err := s.conn()
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	w := newWire(conn)
	switch s.kind {
	case "tcp":
		typ, body, err := w.packet()
		if err != nil || typ != packet.Handshake || body != `{"code":500,"message":"too many connections"}` {
			s.t.Errorf("a %v packet %q, %v came, want a refused handshake", typ, body, err)
		}
	case "ws":
		// The server may not wait for the request.
		_ = w.raw([]byte(upgradeRequest("/")))
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		r, err := http.ReadResponse(w.br, nil)
		if err != nil || r.StatusCode != http.StatusServiceUnavailable {
			s.t.Errorf("%v, %v came, want 503", r, err)
			return
		}
		_ = r.Body.Close()
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	var n net.Error
	if b, err := io.ReadAll(w.br); errors.As(err, &n) && n.Timeout() {
		s.t.Errorf("after %q the connection stays open", b)
	}
}

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]nano.Option{
		"connections": nano.WithMaxConnections(3), "address": nano.WithMaxConnectionsPerAddress(3),
	} {
		for _, kind := range []string{"tcp", "ws", "tls", "wss"} {
			t.Run(name+" over "+kind, func(t *testing.T) {
				t.Parallel()
				log := newJournal()
				at := open(t, kind, &Game{}, limit, log.option())
				first, second := at.client(), at.client()
				// One that says nothing takes a place as well.
				conn, err := at.conn()
				if err != nil {
					t.Fatal(err)
				}
				silent := newWire(conn)
				if c, ok := conn.(*tls.Conn); ok {
					if err := c.Handshake(); err != nil {
						t.Fatal(err)
					}
				}
				eventually(t, "it was accepted", func() bool { return at.Stats().Accepted == 3 || at.webSocket() })
				at.turnedAway()
				at.turnedAway()
				if st := at.Stats(); st.Refused[name] != 2 {
					t.Errorf("refused: %v, want 2 for %s", st.Refused, name)
				}
				if n := log.lines(limitLine); n != 1 {
					t.Errorf("%d lines in the log, want 1", n)
				}
				if got, _ := log.find(limitLine, "limit"); got != name {
					t.Errorf("the log names the limit %q, want %q", got, name)
				}
				first.echo(1, "not my business")
				silent.abort()
				second.abort()
				for range 2 {
					var w *wire
					eventually(t, "there is room again", func() bool {
						var err error
						if w, err = at.wire(); err == nil && w.join() == nil && w.echo(1, "hello") == nil {
							return true
						}
						if err == nil {
							w.abort()
						}
						return false
					})
					t.Cleanup(w.abort)
				}
				at.turnedAway()
			})
		}
	}
}

// An IPv6 client is taken for its /64 network, and an IPv4 address is one however it is written.
func TestMaxConnectionsPerAddress(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			from, srv := openFrom(t, kind, &Game{}, nano.WithMaxConnectionsPerAddress(2))
			for i, test := range []struct {
				addr string
				in   bool
			}{
				{"192.0.2.1:1000", true},
				{"192.0.2.1:2000", true},
				{"192.0.2.1:3000", false},
				{"[::ffff:192.0.2.1]:4000", false},
				{"192.0.2.2:1000", true},
				{"[2001:db8:1:2::1]:1000", true},
				{"[2001:db8:1:2:ffff::7]:1000", true},
				{"[2001:db8:1:2:3:4:5:6]:1000", false},
				{"[2001:db8:1:2::1%eth0]:1000", false},
				{"[2001:db8:1:3::1]:1000", true},
				{"[::1]:1000", true},
			} {
				w, err := from(test.addr).wire()
				if err == nil {
					t.Cleanup(w.abort)
					err = w.join()
				}
				if (err == nil) != test.in {
					t.Errorf("client %d from %s: %v, want in: %v", i, test.addr, err, test.in)
				}
			}
			if st := srv.Stats(); st.Refused["address"] != 4 || st.Connections != 7 {
				t.Errorf("%d refused and %d open, want 4 and 7", st.Refused["address"], st.Connections)
			}
		})
	}
}

// seen has the handler Do tell the client's address.
func seen() *Game {
	return &Game{do: func(s *session.Session, _ []byte) error { return s.Response([]byte(s.RemoteAddr().String())) }}
}

func header(t testing.TB, version byte, source string) []byte {
	t.Helper()
	from, err := net.ResolveTCPAddr("tcp", source)
	if err != nil {
		t.Fatal(err)
	}
	to := &net.TCPAddr{IP: net.ParseIP("198.51.100.1"), Port: 3250}
	if from.IP.To4() == nil {
		to.IP = net.ParseIP("2001:db8::1")
	}
	b, err := proxyproto.HeaderProxyFromAddrs(version, from, to).Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// v2 is a header of version 2 with the given fields.
func v2(command, family byte, body string) []byte {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family, byte(len(body)>>8), byte(len(body)))
	return append(b, body...)
}

// with is a client of a server that sends something before all else.
func (s *site) with(before []byte) *peer {
	s.t.Helper()
	p := s.dial()
	if err := p.raw(before); err != nil {
		s.t.Fatal(err)
	}
	return p
}

func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	trusting := nano.WithTrustedProxies("10.0.0.0/8", "127.0.0.1")
	for _, kind := range []string{"tcp", "tls", "unix"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			at := open(t, kind, seen(), trusting)
			if kind == "tls" {
				// The header comes before TLS.
				plain := tcpBelow(t, at)
				at.kind, at.conn = "tcp", plain
			}
			for name, test := range map[string]struct {
				header []byte
				want   string // the client's address; "" for its own, "-" where the header is refused
			}{
				"version 1":                {header(t, 1, "203.0.113.9:4711"), "203.0.113.9:4711"},
				"version 1, IPv6":          {header(t, 1, "[2001:db8::9]:4711"), "[2001:db8::9]:4711"},
				"version 1, unknown":       {[]byte("PROXY UNKNOWN\r\n"), ""},
				"version 1, unknown, long": {[]byte("PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n"), ""},
				"version 2":                {header(t, 2, "203.0.113.9:4711"), "203.0.113.9:4711"},
				"version 2, IPv6":          {header(t, 2, "[2001:db8::9]:4711"), "[2001:db8::9]:4711"},
				"version 2, with more":     {v2(0x21, 0x11, "\xcb\x00\x71\x09\xc6\x33\x64\x01\x12\x67\x0c\xb2\x04\x00\x03abc"), "203.0.113.9:4711"},
				"version 2, local":         {v2(0x20, 0, ""), ""},
				"version 2, local, long":   {v2(0x20, 0x11, strings.Repeat("x", 500)), ""},
				"no header":                {nil, ""},
				"half a signature":         {[]byte("PROX\r\n"), "-"},
				"another word":             {[]byte("PROXYING TCP4 1.2.3.4 1.2.3.4 1 1\r\n"), "-"},
				"no family":                {[]byte("PROXY \r\n"), "-"},
				"no address":               {[]byte("PROXY TCP4 a b 1 1\r\n"), "-"},
				"no port":                  {[]byte("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"), "-"},
				"a port too large":         {[]byte("PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n"), "-"},
				"another family":           {[]byte("PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n"), "-"},
				"a line too long":          {[]byte("PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n"), "-"},
				"no end":                   {[]byte("PROXY TCP4 " + strings.Repeat("1", 5000)), "-"},
				"a line without CR":        {[]byte("PROXY UNKNOWN\n"), "-"},
				"another signature":        {[]byte("\r\n\r\n\x00\r\nQUIT\r"), "-"},
				"another version":          {v2(0x31, 0x11, "\xcb\x00\x71\x09\xc6\x33\x64\x01\x12\x67\x0c\xb2"), "-"},
				"another command":          {v2(0x22, 0x11, "\xcb\x00\x71\x09\xc6\x33\x64\x01\x12\x67\x0c\xb2"), "-"},
				"an address too short":     {v2(0x21, 0x11, "\xcb\x00\x71\x09"), "-"},
				"an endless header":        {append(v2(0x21, 0x11, "")[:14], 0xff, 0xff), "-"},
			} {
				if kind == "unix" && test.header != nil {
					test.want = "-" // not a trusted one: a header is malformed
				}
				p := at.with(test.header)
				if test.want == "-" {
					if kind != "tcp" || name == "an endless header" {
						_ = p.conn.(interface{ CloseWrite() error }).CloseWrite()
					}
					if e := p.ends(); len(e.messages) != 0 {
						t.Errorf("%s: %v came", name, e)
					}
					continue
				}
				if kind == "tls" {
					c := tls.Client(p.conn, &tls.Config{RootCAs: roots(), ServerName: "localhost"})
					p = &peer{newWire(c), t}
				}
				p.join()
				got := p.call(1, "Game.Do", "")
				want := test.want
				if want == "" {
					want = p.conn.LocalAddr().String()
				}
				if kind != "unix" && got != want {
					t.Errorf("%s: the session's address is %s, want %s", name, got, want)
				}
				p.abort()
			}
		})
	}
}

// tcpBelow returns how to connect to a server of TLS clients without TLS.
func tcpBelow(t testing.TB, at *site) func() (net.Conn, error) {
	t.Helper()
	c, err := at.conn()
	if err != nil {
		t.Fatal(err)
	}
	addr := c.RemoteAddr()
	_ = c.Close()
	return func() (net.Conn, error) { return net.Dial(addr.Network(), addr.String()) }
}

// A header may come in pieces, and with what follows it.
func TestProxyHeaderCutAnywhere(t *testing.T) {
	rest := bytes.Join([][]byte{pack(packet.Handshake, "{}"), pack(packet.Ack, ""), request(1, "Game.Do", "")}, nil)
	for version := byte(1); version <= 2; version++ {
		stream := append(header(t, version, "203.0.113.9:4711"), rest...)
		for i := range stream {
			synctest.Test(t, func(t *testing.T) {
				from, _ := openFrom(t, "pipe", seen(), nano.WithTrustedProxies("10.1.0.0/16"))
				p := from("10.1.2.3:1").patient()
				p.goes(func() {
					for _, b := range [][]byte{stream[:i], stream[i:]} {
						if len(b) > 0 && p.raw(b) != nil {
							return
						}
						time.Sleep(time.Second)
					}
				})
				if typ, _, err := p.packet(); err != nil || typ != packet.Handshake {
					t.Fatalf("version %d cut at %d: %v packet, %v", version, i, typ, err)
				}
				if m := p.next(); string(m.Data) != "203.0.113.9:4711" {
					t.Errorf("version %d cut at %d: the address is %s", version, i, m.Data)
				}
			})
		}
		synctest.Test(t, func(t *testing.T) {
			from, _ := openFrom(t, "pipe", seen(), nano.WithTrustedProxies("10.1.0.0/16"))
			p := from("10.1.2.3:1").patient()
			p.goes(func() {
				for _, b := range stream {
					if p.raw([]byte{b}) != nil {
						return
					}
				}
			})
			if _, _, err := p.packet(); err != nil {
				t.Fatal(err)
			}
			if m := p.next(); string(m.Data) != "203.0.113.9:4711" {
				t.Errorf("version %d byte by byte: the address is %s", version, m.Data)
			}
		})
	}
}

// From whom it is not trusted a header is malformed; limits go by the address that a trusted one gives.
func TestProxyTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, srv := openFrom(t, "pipe", seen(), nano.WithTrustedProxies("10.1.0.0/16", "2001:db8::/32"),
			nano.WithMaxConnectionsPerAddress(2))
		for _, untrusted := range []string{"10.2.0.1:1", "[2001:db9::1]:1"} {
			for version := byte(1); version <= 2; version++ {
				p := from(untrusted).with(header(t, version, "203.0.113.9:4711"))
				p.patience = time.Hour
				p.ends()
			}
		}
		synctest.Wait()
		if n := srv.Stats().Closed["protocol"]; n != 4 {
			t.Errorf("%d sessions were closed for malformed bytes, want 4", n)
		}
		for _, proxy := range []string{"10.1.0.1:1", "[::ffff:10.1.255.255]:1", "[2001:db8:7::1]:1", "10.1.0.1:2", "10.1.0.1:3"} {
			for i, source := range []string{"203.0.113.9:1", "203.0.113.8:2"} {
				p := from(proxy).with(header(t, 2, source))
				p.patience = time.Hour
				err := p.wire.join()
				if full := srv.Stats().Refused["address"] > 0; (err != nil) != full {
					t.Errorf("client %d behind %s: %v", i, proxy, err)
				}
			}
		}
		if st := srv.Stats(); st.Refused["address"] != 6 || st.Connections != 4 {
			t.Errorf("%d refused and %d open, want 6 and 4", st.Refused["address"], st.Connections)
		}
	})
}

// An IPv4 network may be written as the part of IPv6 that stands for it.
func TestTrustedNetworksAsIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, _ := openFrom(t, "pipe", seen(), nano.WithTrustedProxies("::ffff:10.0.0.0/104", "::ffff:192.0.2.7", "::ffff:192.0.2.16/128"))
		for proxy, trusted := range map[string]bool{
			"10.255.0.1:1": true, "[::ffff:10.0.0.1]:1": true, "192.0.2.7:1": true, "192.0.2.16:1": true, "192.0.2.8:1": false,
			"11.0.0.1:1": false,
		} {
			p := from(proxy).with(header(t, 2, "203.0.113.9:4711"))
			p.patience = time.Hour
			err := p.wire.join()
			if (err == nil) != trusted {
				t.Errorf("a proxy at %s: %v, want trusted: %v", proxy, err, trusted)
			}
		}
	})
}

// The header falls under the deadline of the handshake, and a proxy that only looks in is no client.
func TestProxyDeadline(t *testing.T) {
	for name, send := range map[string][]byte{
		"nothing": nil, "a letter": []byte("P"), "half of version 1": []byte("PROXY TCP4 1.2.3.4 "),
		"half of version 2": header(t, 2, "1.2.3.4:5")[:20], "a header": header(t, 2, "1.2.3.4:5"),
	} {
		synctest.Test(t, func(t *testing.T) {
			from, srv := openFrom(t, "pipe", &Game{}, nano.WithTrustedProxies("10.0.0.0/8"))
			p := from("10.0.0.1:1").dial()
			p.patience = time.Hour
			start := time.Now()
			p.goes(func() {
				for _, b := range send {
					time.Sleep(100 * time.Millisecond)
					if p.raw([]byte{b}) != nil {
						return
					}
				}
			})
			if _, _, err := p.packet(); err == nil {
				t.Error("a packet came")
			}
			if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
				t.Errorf("%s: closed after %v, want 10s", name, took)
			}
			refused := srv.Stats().Refused["handshake"]
			caller := from("10.0.0.1:1").dial()
			synctest.Wait()
			caller.abort()
			synctest.Wait()
			if n := srv.Stats().Refused["handshake"]; n != refused {
				t.Errorf("a proxy that looked in was counted as refused: %d, want %d", n, refused)
			}
			// A shutdown does not wait for a header.
			from("10.0.0.1:1").dial()
			synctest.Wait()
			start = time.Now()
			if err := srv.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("Shutdown took %v", took)
			}
		})
	}
}

// A connection whose header is awaited has its place, so that a trusted network cannot fill the server with silence. It
// counts for no address until it is known for which.
func TestProxyConnectionsAreCounted(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newJournal()
				from, srv := openFrom(t, kind, seen(), nano.WithTrustedProxies("10.0.0.0/8"), nano.WithMaxConnections(100),
					nano.WithMaxConnectionsPerAddress(1), log.option())
				dial := func() *peer {
					t.Helper()
					conn, err := from("10.0.0.1:1").conn()
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = conn.Close() })
					p := &peer{newWire(conn), t}
					p.patience = time.Hour
					return p
				}
				start := time.Now()
				var ended []chan time.Duration
				for range 3000 {
					end, p := make(chan time.Duration, 1), dial()
					ended = append(ended, end)
					p.goes(func() {
						p.rest()
						end <- time.Since(start)
					})
				}
				synctest.Wait()
				if st := srv.Stats(); st.Refused["connections"] != 2900 || st.Refused["address"] != 0 {
					t.Errorf("refused: %v, want 2900 of all connections", st.Refused)
				}
				if n := log.lines(limitLine); n != 1 {
					t.Errorf("%d lines in the log, want 1", n)
				}
				at := map[time.Duration]int{}
				for _, end := range ended {
					at[(<-end).Truncate(time.Second)]++
				}
				if at[0] != 2900 || at[10*time.Second] != 100 {
					t.Errorf("the connections ended after %v, want 2900 at once and 100 after 10s", at)
				}
				// Whose place is free now; as a client's it is one place too.
				for i := range 100 {
					p, client := dial(), fmt.Sprintf("203.0.113.%d", i)
					if kind == "wspipe" {
						if got := p.ask(t, "X-Forwarded-For: "+client); got != http.StatusSwitchingProtocols {
							t.Fatalf("client %d was answered with status %d", i, got)
						}
					} else if err := p.raw(header(t, 2, client+":1")); err != nil {
						t.Fatal(err)
					}
					p.join()
				}
				if st := srv.Stats(); st.Connections != 100 || st.Refused["connections"] != 2900 {
					t.Errorf("%d clients are in, and %v refused, want 100 in", st.Connections, st.Refused)
				}
				start = time.Now()
				if dial().ends(); time.Since(start) > 0 {
					t.Error("there was room for one more than allowed")
				}
			})
		})
	}
}

// ask asks for an upgrade with headers, and returns the status.
func (w *wire) ask(t testing.TB, headers ...string) int {
	t.Helper()
	head := strings.TrimSuffix(upgradeRequest("/"), "\r\n") + strings.Join(append(headers, "\r\n"), "\r\n")
	head = strings.ReplaceAll(head, "\r\n\r\n\r\n", "\r\n\r\n")
	if err := w.raw([]byte(head)); err != nil {
		t.Fatal(err)
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(w.patience))
	r, err := http.ReadResponse(w.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	w.ws = r.StatusCode == http.StatusSwitchingProtocols
	return r.StatusCode
}

func TestForwardedFor(t *testing.T) {
	const client = "198.51.100.7"
	for _, test := range []struct {
		peer    string
		headers []string
		want    string // "" for the peer's own
	}{
		{"10.0.0.1:1", nil, ""},
		{"10.0.0.1:1", []string{"X-Forwarded-For: " + client}, client + ":0"},
		{"10.0.0.1:1", []string{"x-forwarded-for:   " + client + "  "}, client + ":0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: " + client + ":1234"}, client + ":1234"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: 2001:db8::7"}, "[2001:db8::7]:0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: [2001:db8::7]:1234"}, "[2001:db8::7]:1234"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: ::ffff:198.51.100.7"}, client + ":0"},
		// What the client itself sent stands on the left.
		{"10.0.0.1:1", []string{"X-Forwarded-For: 192.0.2.1, " + client}, client + ":0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: 10.9.9.9, " + client}, client + ":0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: nonsense, " + client}, client + ":0"},
		// Several proxies.
		{"10.0.0.1:1", []string{"X-Forwarded-For: 192.0.2.1, " + client + ", 10.0.0.3,10.0.0.2"}, client + ":0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: 192.0.2.1, " + client, "X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, client + ":0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"},
		// Where the row breaks, the last one that is known counts.
		{"10.0.0.1:1", []string{"X-Forwarded-For: " + client + ", nonsense, 10.0.0.2"}, "10.0.0.2:0"},
		{"10.0.0.1:1", []string{"X-Forwarded-For: " + client + ", unknown"}, ""},
		{"10.0.0.1:1", []string{"X-Forwarded-For:"}, ""},
		{"10.0.0.1:1", []string{"X-Forwarded-For: ,,,"}, ""},
		// From whom it is not trusted.
		{"192.0.2.66:1", []string{"X-Forwarded-For: " + client}, ""},
		{"[::1]:1", []string{"X-Forwarded-For: " + client}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			from, _ := openFrom(t, "wspipe", seen(), nano.WithTrustedProxies("10.0.0.0/8"))
			conn, err := from(test.peer).conn()
			if err != nil {
				t.Fatal(err)
			}
			p := &peer{newWire(conn), t}
			t.Cleanup(p.abort)
			if status := p.ask(t, test.headers...); status != http.StatusSwitchingProtocols {
				t.Fatalf("status %d", status)
			}
			p.join()
			want := test.want
			if want == "" {
				want = test.peer
			}
			if got := p.call(1, "Game.Do", ""); got != want {
				t.Errorf("%v from %s: the session's address is %s, want %s", test.headers, test.peer, got, want)
			}
		})
	}
}

// Limits go by the address that a trusted proxy gives, not by the proxy's own.
func TestForwardedForLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, srv := openFrom(t, "wspipe", &Game{}, nano.WithTrustedProxies("10.0.0.0/8"), nano.WithMaxConnectionsPerAddress(2),
			nano.WithMaxConnections(5))
		try := func(client string, want int) {
			t.Helper()
			conn, err := from("10.0.0.1:1").conn()
			if err != nil {
				t.Fatal(err)
			}
			w := newWire(conn)
			t.Cleanup(w.abort)
			if got := w.ask(t, "X-Forwarded-For: "+client); got != want {
				t.Errorf("a client at %s was answered with status %d, want %d", client, got, want)
			}
			if want != http.StatusSwitchingProtocols {
				w.abort()
				synctest.Wait()
			}
		}
		for _, c := range []string{"192.0.2.1", "192.0.2.2"} {
			try(c, 101)
			try(c, 101)
			try(c, 503)
		}
		try("192.0.2.3", 101)
		if st := srv.Stats(); st.Refused["address"] != 2 || st.Refused["connections"] != 0 {
			t.Errorf("refused: %v, want 2 by address", st.Refused)
		}
		conn, err := from("10.0.0.1:1").conn()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("a sixth connection was served")
		}
		if st := srv.Stats(); st.Refused["connections"] != 1 {
			t.Errorf("refused: %v, want 1 of all connections", st.Refused)
		}
	})
}

// On the program's own mux the time for the handshake starts with the request, and only WebSockets take a place.
func TestLimitsOnTheProgramsMux(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := programsMux(t, nano.WithMaxConnections(1))
		const anywhere = "192.0.2.1:1"
		first, second, third := dial(anywhere), dial(anywhere), dial(anywhere)
		time.Sleep(time.Minute) // for which the program's http.Server has a limit, or none
		if got := first.ask(t); got != http.StatusSwitchingProtocols {
			t.Fatalf("the first client was answered with status %d", got)
		}
		start := time.Now()
		if got := second.ask(t); got != http.StatusServiceUnavailable {
			t.Errorf("one too many was answered with status %d, want 503", got)
		}
		if n := s.Stats().Refused["connections"]; n != 1 {
			t.Errorf("%d connections were refused, want 1", n)
		}
		first.ends()
		if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("closed %v after the request, want 10s", took)
		}
		synctest.Wait()
		if got := third.ask(t); got != http.StatusSwitchingProtocols {
			t.Fatalf("there was room, and a client was answered with status %d", got)
		}
		third.join()
		third.echo(1, "hello")
	})
}

// programsMux starts a server on a mux of the program's, in fake time, and returns how to connect to it from an address.
func programsMux(t *testing.T, opts ...nano.Option) (s *nano.Server, from func(addr string) *peer) {
	t.Helper()
	s = newServer(seen(), opts...)
	shutdownAtEnd(t, s)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	m := newMemory()
	web := &http.Server{Handler: s.WebSocketHandler()}
	served := make(chan error, 1)
	go func() { served <- web.Serve(m) }()
	t.Cleanup(func() {
		_ = web.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the program's server ended with %v", err)
		}
	})
	return s, func(addr string) *peer {
		t.Helper()
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		client, server := net.Pipe()
		m.conns <- &located{server, tcp}
		p := &peer{newWire(client), t}
		p.patience = time.Hour
		t.Cleanup(p.abort)
		return p
	}
}

// There too the address is that of the client, as a trusted proxy gives it.
func TestAddressesOnTheProgramsMux(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, from := programsMux(t, nano.WithMaxConnectionsPerAddress(2), nano.WithTrustedProxies("10.0.0.0/8"))
		for i, test := range []struct {
			addr, forwarded string
			want            string // the session's address; "" where it is refused
		}{
			{"192.0.2.1:1", "", "192.0.2.1:1"},
			{"192.0.2.1:2", "198.51.100.7", "192.0.2.1:2"}, // not to be believed
			{"192.0.2.1:3", "198.51.100.8", ""},
			{"10.0.0.1:1", "192.0.2.1", ""},
			{"10.0.0.1:2", "198.51.100.7", "198.51.100.7:0"},
			{"10.0.0.2:1", "192.0.2.1, 198.51.100.7", "198.51.100.7:0"},
			{"10.0.0.2:2", "198.51.100.7", ""},
			{"10.0.0.2:3", "2001:db8::1", "[2001:db8::1]:0"},
		} {
			p := from(test.addr)
			var headers []string
			if test.forwarded != "" {
				headers = append(headers, "X-Forwarded-For: "+test.forwarded)
			}
			status := p.ask(t, headers...)
			if test.want == "" {
				if status != http.StatusServiceUnavailable {
					t.Errorf("client %d was answered with status %d, want 503", i, status)
				}
				continue
			}
			if status != http.StatusSwitchingProtocols {
				t.Errorf("client %d was answered with status %d, want 101", i, status)
				continue
			}
			p.join()
			if got := p.call(1, "Game.Do", ""); got != test.want {
				t.Errorf("the address of client %d is %s, want %s", i, got, test.want)
			}
		}
		if n := s.Stats().Refused["address"]; n != 3 {
			t.Errorf("%d were refused for their address, want 3", n)
		}
	})
}

// What asks for an upgrade may say so much, and no more.
func TestHeadOfARequest(t *testing.T) {
	t.Parallel()
	at := open(t, "ws", &Game{})
	for size, want := range map[int]int{60 << 10: http.StatusSwitchingProtocols, 80 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		conn, err := at.conn()
		if err != nil {
			t.Fatal(err)
		}
		w := newWire(conn)
		if got := w.ask(t, "X-Long: "+strings.Repeat("x", size)); got != want {
			t.Errorf("a head of %d bytes was answered with status %d, want %d", size, got, want)
		}
		w.abort()
	}
}

// Nothing is limited that has no limit by default.
func TestNoRatesByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []string{"pipe", "wspipe"} {
			from, srv := openFrom(t, kind, &Game{})
			for range 300 {
				w, err := from("192.0.2.1:1").wire()
				if err == nil {
					t.Cleanup(w.abort)
					err = w.join()
				}
				if err != nil {
					t.Fatalf("one address has 300 clients: %v", err)
				}
			}
			p := from("192.0.2.1:2").patient()
			p.join()
			for id := range uint64(1000) {
				p.echo(id+1, strings.Repeat("x", 10_000)) // in no time at all
			}
			for name, n := range srv.Stats().Refused {
				if n != 0 {
					t.Errorf("%d were refused for %s, want none", n, name)
				}
			}
		}
	})
}

func TestSameOrigin(t *testing.T) {
	t.Parallel()
	all := nano.WithCheckOriginFunc(func(*http.Request) bool { return true })
	for option, test := range map[string]struct {
		opts  []nano.Option
		other int
	}{
		"same origin":       {[]nano.Option{nano.WithSameOrigin()}, http.StatusForbidden},
		"any origin":        {[]nano.Option{nano.WithCheckOriginFunc(nil)}, http.StatusSwitchingProtocols},
		"both":              {[]nano.Option{nano.WithSameOrigin(), all}, http.StatusForbidden},
		"both, other order": {[]nano.Option{all, nano.WithSameOrigin()}, http.StatusForbidden},
	} {
		log := newJournal()
		at := open(t, "ws", &Game{}, append(test.opts, log.option())...)
		for origin, want := range map[string]int{
			"":                              http.StatusSwitchingProtocols, // no browser
			"http://localhost":              http.StatusSwitchingProtocols,
			"https://LOCALHOST":             http.StatusSwitchingProtocols,
			"http://evil.example":           test.other,
			"http://localhost.evil.example": test.other,
			"http://localhost:8080":         test.other,
			"null":                          test.other,
		} {
			conn, err := at.conn()
			if err != nil {
				t.Fatal(err)
			}
			w := newWire(conn)
			var headers []string
			if origin != "" {
				headers = append(headers, "Origin: "+origin)
			}
			if got := w.ask(t, headers...); got != want {
				t.Errorf("%s: a page at %q was answered with %d, want %d", option, origin, got, want)
			}
			w.abort()
		}
		want, lines := int64(0), 0
		if test.other == http.StatusForbidden {
			want, lines = 4, 1
		}
		if got := at.Stats().Refused["origin"]; got != want {
			t.Errorf("%s: %d were counted as refused, want %d", option, got, want)
		}
		if got := log.lines(limitLine); got != lines {
			t.Errorf("%s: %d lines in the log, want %d", option, got, lines)
		}
	}
}

// An upgrade that is none is counted like a handshake that is refused; a page that is not there is nobody's.
func TestMalformedUpgrades(t *testing.T) {
	t.Parallel()
	at := open(t, "ws", &Game{})
	good := upgradeRequest("/")
	n := int64(0)
	for request, counts := range map[string]bool{
		strings.Replace(good, "Version: 13", "Version: 12", 1):             true,
		strings.Replace(good, "dGhlIHNhbXBsZSBub25jZQ==", "dGhl", 1):       true,
		strings.Replace(good, "Connection: Upgrade", "Connection: yes", 1): true,
		strings.Replace(good, "Upgrade: websocket", "Upgrade: h2c", 1):     true,
		strings.Replace(good, "GET", "PUT", 1):                             true,
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n":                        false,
	} {
		conn, err := at.conn()
		if err != nil {
			t.Fatal(err)
		}
		w := newWire(conn)
		if err := w.raw([]byte(request)); err != nil {
			t.Fatal(err)
		}
		if status, err := w.status(); err != nil || status/100 != 4 {
			t.Errorf("%q was answered with status %d, %v", request, status, err)
		}
		w.abort()
		if counts {
			n++
		}
		if got := at.Stats().Refused["handshake"]; got != n {
			t.Errorf("after %q %d were counted as refused, want %d", request, got, n)
		}
	}
}

// exhausted is a listener that fails for a while, as one for which no file descriptor is free.
type exhausted struct {
	net.Listener
	fault syscall.Errno
	until time.Time
	calls atomic.Int64
}

func (e *exhausted) Accept() (net.Conn, error) {
	e.calls.Add(1)
	if time.Now().Before(e.until) {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", e.fault)}
	}
	return e.Listener.Accept()
}

func TestNoFileDescriptorIsFree(t *testing.T) {
	for _, test := range []struct {
		kind  string
		fault syscall.Errno
	}{
		{"pipe", syscall.EMFILE}, {"wspipe", syscall.EMFILE}, {"pipe", syscall.ENFILE}, {"wspipe", syscall.ENOBUFS},
		{"pipe", syscall.ENOMEM}, {"wspipe", syscall.EPERM}, {"pipe", syscall.EPROTO}, {"wspipe", syscall.ECONNABORTED},
	} {
		kind := test.kind
		synctest.Test(t, func(t *testing.T) {
			log := newJournal()
			s := newServer(&Game{}, log.option())
			shutdownAtEnd(t, s)
			m := newMemory()
			l := &exhausted{Listener: m, fault: test.fault, until: time.Now().Add(30 * time.Second)}
			serve := s.Serve
			if kind == "wspipe" {
				serve = s.ServeWebSocket
			}
			done := make(chan error, 1)
			go func() { done <- serve(l) }()
			p := (&site{t: t, Server: s, kind: kind, path: "/", conn: m.dial}).patient()
			p.join()
			p.echo(1, "at last")
			if n := l.calls.Load(); n < 20 || n > 60 {
				t.Errorf("Accept was called %d times in 30 s, want once a second after a while", n)
			}
			if n := log.lines("nano: accept failed"); n < 20 || n > 60 {
				t.Errorf("%d lines in the log", n)
			}
			if n, calls := s.Stats().Refused["accept"], l.calls.Load(); n < calls-2 || n > calls {
				t.Errorf("%d faults were counted, want most of %d", n, calls)
			}
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Errorf("Serve = %v", err)
			}
		})
	}
}

// What a client can have logged as often as it likes is logged ten times a second.
func TestLogIsBounded(t *testing.T) {
	for _, test := range []struct{ route, line string }{
		{"Game.Fail", "nano: handler failed"},
		{"Game.Panic", "nano: panic in a handler"},
	} {
		synctest.Test(t, func(t *testing.T) {
			log := newJournal()
			at := open(t, "pipe", &Game{}, log.option())
			p := at.patient()
			p.join()
			for id := range uint64(1000) {
				if e := p.fails(id+1, test.route, ""); e.Code != nano.CodeInternal {
					t.Fatal(e)
				}
			}
			if n := log.lines(test.line); n != 10 {
				t.Errorf("%d lines %q in the log, want 10", n, test.line)
			}
			time.Sleep(time.Second)
			if e := p.fails(1001, test.route, ""); e.Code != nano.CodeInternal {
				t.Error(e)
			}
			if n, _ := log.find(test.line, "suppressed"); n != "990" {
				t.Errorf("the log says that %s lines were suppressed, want 990", n)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		log := newJournal()
		at := open(t, "pipe", &Game{}, log.option(), nano.WithHandshakeValidator(func(*session.Session, []byte) error { panic("no") }))
		for range 100 {
			p := at.patient()
			if a := p.shake("{}"); a.Code != 501 {
				t.Fatalf("%+v", a)
			}
			p.ends()
		}
		if n := log.lines("nano: panic in a handshake"); n > 110 || n < 10 {
			t.Errorf("%d lines of 100 clients", n)
		}
	})
}

// sends sends, and takes whatever comes.
func (p *peer) sends(b []byte) {
	p.goes(func() { p.rest() })
	p.send(b)
}

// Each limit that refuses says so once in ten seconds, and is counted by its name.
func TestLimitsAreLogged(t *testing.T) {
	const n = 50
	early := func(b []byte) func(*site) {
		return func(at *site) { at.patient().sends(b) }
	}
	late := func(b []byte) func(*site) {
		return func(at *site) {
			p := at.patient()
			p.join()
			p.sends(b)
		}
	}
	for _, test := range []struct {
		limit string
		opts  []nano.Option
		pass  func(at *site) // by one client, once
	}{
		{"packet size", nil, late([]byte{byte(packet.Data), 1, 0, 1})},
		{"packet size", nil, early([]byte{byte(packet.Handshake), 1, 0, 1})},
		{"route length", []nano.Option{nano.WithMaxRouteLength(9)}, late(request(1, "Game.Double", ""))},
		{"route length", []nano.Option{nano.WithMaxRouteLength(9)}, late(notify("Game.Double", ""))},
		{"handshake size", []nano.Option{nano.WithMaxHandshakeSize(2)}, early(pack(packet.Handshake, "{ }"))},
		{"send", []nano.Option{nano.WithWriteBuffer(1000, nano.CloseSlowClient)}, late(request(1, "Game.Echo", strings.Repeat("x", 1000)))},
		{"send", []nano.Option{nano.WithWriteBuffer(1000, nano.RefusePush)}, late(request(1, "Game.Echo", strings.Repeat("x", 1000)))},
		{"rate", []nano.Option{nano.WithMessageRate(1, 1)}, late(slices.Concat(request(1, "Game.Echo", ""), notify("Game.Echo", "")))},
		{"origin", []nano.Option{nano.WithSameOrigin()}, func(at *site) {
			conn, err := at.conn()
			if err != nil {
				at.t.Fatal(err)
			}
			w := newWire(conn)
			defer w.abort()
			if status := w.ask(at.t, "Origin: http://evil.example"); status != http.StatusForbidden {
				at.t.Fatalf("status %d, want 403", status)
			}
		}},
	} {
		for _, kind := range []string{"pipe", "wspipe"} {
			if test.limit == "origin" && kind == "pipe" {
				continue
			}
			t.Run(test.limit+" over "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log := newJournal()
					at := open(t, kind, &Game{}, append(slices.Clip(test.opts), log.option())...)
					check := func(times int64, lines int) {
						t.Helper()
						synctest.Wait()
						if got := at.Stats().Refused[test.limit]; got != times {
							t.Errorf("%d were counted as refused, want %d", got, times)
						}
						if got := log.lines(limitLine); got != lines {
							t.Errorf("%d lines in the log, want %d: %s", got, lines, log.all())
						}
						if got, _ := log.find(limitLine, "limit"); got != test.limit {
							t.Errorf("the log names the limit %q, want %q", got, test.limit)
						}
					}
					for range n {
						test.pass(at)
					}
					check(n, 1)
					time.Sleep(10*time.Second + time.Millisecond)
					test.pass(at)
					check(n+1, 2)
					if got, _ := log.find(limitLine, "so far"); got != fmt.Sprint(n+1) {
						t.Errorf("the log says that %s were refused so far, want %d", got, n+1)
					}
				})
			})
		}
	}
}

// It says so too where nobody else is connected.
func TestRefusalsAreLoggedWithoutClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newJournal()
		from, _ := openFrom(t, "wspipe", &Game{}, nano.WithMaxConnections(1), nano.WithHandshakeTimeout(time.Minute), log.option())
		first, err := from("192.0.2.1:1").conn()
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		for i := range 3 {
			second, err := from("192.0.2.2:1").conn()
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			_ = second.Close()
			if n := log.lines(limitLine); n != 1+i/2 {
				t.Errorf("%d lines after %d refusals, 5 s apart", n, i+1)
			}
			time.Sleep(5 * time.Second)
		}
	})
}

func TestLimitFaults(t *testing.T) {
	for name, opt := range map[string]nano.Option{
		"WithMaxPacketSize":            nano.WithMaxPacketSize(0),
		"WithMaxPacketSize ":           nano.WithMaxPacketSize(1 << 24),
		"WithMaxPending":               nano.WithMaxPending(0),
		"WithWriteBuffer":              nano.WithWriteBuffer(0, nano.CloseSlowClient),
		"WithMaxRouteLength":           nano.WithMaxRouteLength(256),
		"WithMaxRouteLength ":          nano.WithMaxRouteLength(0),
		"WithMaxHandshakeSize":         nano.WithMaxHandshakeSize(-1),
		"WithMessageRate":              nano.WithMessageRate(0, 1),
		"WithMessageRate ":             nano.WithMessageRate(1, 0),
		"WithByteRate":                 nano.WithByteRate(-1, 1),
		"WithByteRate ":                nano.WithByteRate(1, 0),
		"WithMaxConnections":           nano.WithMaxConnections(0),
		"WithMaxConnectionsPerAddress": nano.WithMaxConnectionsPerAddress(-1),
		"WithTrustedProxies":           nano.WithTrustedProxies("10.0.0.0/8", "10.0.0.0/33"),
		"WithTrustedProxies ":          nano.WithTrustedProxies("proxy.example"),
		"WithTrustedProxies  ":         nano.WithTrustedProxies("::ffff:10.0.0.0/90"),
	} {
		err := nano.New(quiet, opt).Start()
		if name = strings.TrimSpace(name); err == nil || !strings.Contains(err.Error(), name+": want ") {
			t.Errorf("%s: Start = %v, want an error that says what was expected", name, err)
		}
	}
}

// A validator may bind the user before there is a session for anybody to see.
func TestBindInValidator(t *testing.T) {
	t.Parallel()
	for _, kind := range sockets {
		at := open(t, kind, &Game{}, nano.WithHandshakeValidator(func(s *session.Session, _ []byte) error { return s.Bind(42) }))
		p := at.dial()
		p.shake("{}")
		p.send(pack(packet.Ack, ""))
		p.echo(1, "hello")
		if n := len(at.SessionsByUID(42)); n != 1 {
			t.Errorf("%d sessions of the user, want 1", n)
		}
		p.abort()
		eventually(t, "the user is gone", func() bool { return len(at.SessionsByUID(42)) == 0 })
	}
}
