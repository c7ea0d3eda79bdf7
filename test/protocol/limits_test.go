package protocol_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/pipenet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// located is a connection with a remote address that the test chooses.
type located struct {
	net.Conn
	remote net.Addr
}

func (l *located) RemoteAddr() net.Addr { return l.remote }

// openFrom starts a server whose clients have addresses that the test chooses. The test
// may use fake time. ws selects WebSocket.
func openFrom(t testing.TB, kind string, c *testkit.Game, opts ...nano.Option) (from func(addr string) *testkit.Server, srv *nano.Server) {
	t.Helper()
	s := testkit.NewServer(c, opts...)
	testkit.ShutdownAtEnd(t, s)
	m := pipenet.New()
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
	return func(addr string) *testkit.Server {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return &testkit.Server{T: t, Server: s, Transport: kind, Path: "/", DialConn: func() (net.Conn, error) {
			client, server := net.Pipe()
			return client, m.Deliver(context.Background(), &located{server, tcp})
		}}
	}, s
}

const limitLine = "nano: a limit refuses"

func TestMaxRouteLength(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		at := testkit.Start(t, kind, &testkit.Game{}, nano.WithMaxRouteLength(9))
		p := at.Join()
		p.Echo(1, "nine bytes")
		if e := p.CallError(2, "Game.Doubl", `{"N":1}`); e.Code != nano.CodeBadRequest {
			t.Errorf("a route of ten bytes: %v, want %s", e, nano.CodeBadRequest)
		}
		p.Send(testkit.Notify("Game.Doubl", "dropped"))
		p.Echo(3, "still here")
		if st := at.Stats(); st.Refused["notify"] != 1 || st.Refused["request"] != 1 {
			t.Errorf("refused: %v, want a request and a notify", st.Refused)
		}
	}
}

func TestMaxHandshakeSize(t *testing.T) {
	t.Parallel()
	for _, kind := range testkit.Sockets {
		at := testkit.Start(t, kind, &testkit.Game{}, nano.WithMaxHandshakeSize(2))
		at.Join().Echo(1, "two bytes")
		p := at.Dial()
		if a := p.Handshake("123"); a.Code != 500 || !strings.Contains(a.Message, "2") {
			t.Errorf("a handshake of three bytes was answered by %+v, want 500 and the limit", a)
		}
		if e := p.ReadEnd(); at.IsWebSocket() && e.Code != 1002 {
			t.Errorf("close code %d, want 1002", e.Code)
		}
		if n := at.Stats().Refused["handshake"]; n != 1 {
			t.Errorf("%d handshakes were counted as refused, want 1", n)
		}
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
				log := testkit.NewLogCapture()
				at := testkit.Start(t, kind, &testkit.Game{}, limit, log.Option())
				first, second := at.Join(), at.Join()
				// A silent connection counts too.
				conn, err := at.DialConn()
				if err != nil {
					t.Fatal(err)
				}
				silent := testkit.NewWire(conn)
				if c, ok := conn.(*tls.Conn); ok {
					if err := c.Handshake(); err != nil {
						t.Fatal(err)
					}
				}
				testkit.Eventually(t, "it was accepted", func() bool { return at.Stats().Accepted == 3 || at.IsWebSocket() })
				at.CheckRefuses()
				at.CheckRefuses()
				if st := at.Stats(); st.Refused[name] != 2 {
					t.Errorf("refused: %v, want 2 for %s", st.Refused, name)
				}
				if n := log.Count(limitLine); n != 1 {
					t.Errorf("%d lines in the log, want 1", n)
				}
				if got, _ := log.Find(limitLine, "limit"); got != name {
					t.Errorf("the log names the limit %q, want %q", got, name)
				}
				first.Echo(1, "not my business")
				silent.Abort()
				second.Abort()
				for range 2 {
					var w *testkit.Wire
					testkit.Eventually(t, "there is room again", func() bool {
						var err error
						if w, err = at.Wire(); err == nil && w.Join() == nil && w.Echo(1, "hello") == nil {
							return true
						}
						if err == nil {
							w.Abort()
						}
						return false
					})
					t.Cleanup(w.Abort)
				}
				at.CheckRefuses()
			})
		}
	}
}

// TestMaxConnectionsPerAddress checks that IPv6 clients are counted by /64 network, and
// IPv4 addresses are equal in every notation.
func TestMaxConnectionsPerAddress(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			from, srv := openFrom(t, kind, &testkit.Game{}, nano.WithMaxConnectionsPerAddress(2))
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
				w, err := from(test.addr).Wire()
				if err == nil {
					t.Cleanup(w.Abort)
					err = w.Join()
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

// TestLimitsOnTheProgramsMux checks that on the program's own mux the handshake deadline
// starts with the request, and that only WebSockets count toward the limit.
func TestLimitsOnTheProgramsMux(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := programsMux(t, nano.WithMaxConnections(1))
		const anywhere = "192.0.2.1:1"
		first, second, third := dial(anywhere), dial(anywhere), dial(anywhere)
		time.Sleep(time.Minute) // only the program's http.Server may limit this time
		if got := first.RequestUpgrade(t); got != http.StatusSwitchingProtocols {
			t.Fatalf("the first client was answered with status %d", got)
		}
		start := time.Now()
		if got := second.RequestUpgrade(t); got != http.StatusServiceUnavailable {
			t.Errorf("one too many was answered with status %d, want 503", got)
		}
		if n := s.Stats().Refused["connections"]; n != 1 {
			t.Errorf("%d connections were refused, want 1", n)
		}
		first.ReadEnd()
		if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("closed %v after the request, want 10s", took)
		}
		synctest.Wait()
		if got := third.RequestUpgrade(t); got != http.StatusSwitchingProtocols {
			t.Fatalf("there was room, and a client was answered with status %d", got)
		}
		third.Join()
		third.Echo(1, "hello")
	})
}

// programsMux serves a mux of the program, which may be in fake time. It returns a
// function that connects from an address.
func programsMux(t *testing.T, opts ...nano.Option) (s *nano.Server, from func(addr string) *testkit.Client) {
	t.Helper()
	s = testkit.NewServer(seen(), opts...)
	testkit.ShutdownAtEnd(t, s)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	m := pipenet.New()
	web := &http.Server{Handler: s.WebSocketHandler()}
	served := make(chan error, 1)
	go func() { served <- web.Serve(m) }()
	t.Cleanup(func() {
		_ = web.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the program's server ended with %v", err)
		}
	})
	return s, func(addr string) *testkit.Client {
		t.Helper()
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		client, server := net.Pipe()
		if err := m.Deliver(context.Background(), &located{server, tcp}); err != nil {
			t.Fatal(err)
		}
		p := testkit.NewClient(t, client)
		p.Patience = time.Hour
		t.Cleanup(p.Abort)
		return p
	}
}

// TestHeadOfARequest checks that the size of an upgrade request is limited.
func TestHeadOfARequest(t *testing.T) {
	t.Parallel()
	at := testkit.Start(t, "ws", &testkit.Game{})
	for size, want := range map[int]int{60 << 10: http.StatusSwitchingProtocols, 80 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		conn, err := at.DialConn()
		if err != nil {
			t.Fatal(err)
		}
		w := testkit.NewWire(conn)
		if got := w.RequestUpgrade(t, "X-Long: "+strings.Repeat("x", size)); got != want {
			t.Errorf("a head of %d bytes was answered with status %d, want %d", size, got, want)
		}
		w.Abort()
	}
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
		log := testkit.NewLogCapture()
		at := testkit.Start(t, "ws", &testkit.Game{}, append(test.opts, log.Option())...)
		for origin, want := range map[string]int{
			"":                              http.StatusSwitchingProtocols, // not a browser
			"http://localhost":              http.StatusSwitchingProtocols,
			"https://LOCALHOST":             http.StatusSwitchingProtocols,
			"http://evil.example":           test.other,
			"http://localhost.evil.example": test.other,
			"http://localhost:8080":         test.other,
			"null":                          test.other,
		} {
			conn, err := at.DialConn()
			if err != nil {
				t.Fatal(err)
			}
			w := testkit.NewWire(conn)
			var headers []string
			if origin != "" {
				headers = append(headers, "Origin: "+origin)
			}
			if got := w.RequestUpgrade(t, headers...); got != want {
				t.Errorf("%s: a page at %q was answered with %d, want %d", option, origin, got, want)
			}
			w.Abort()
		}
		want, lines := int64(0), 0
		if test.other == http.StatusForbidden {
			want, lines = 4, 1
		}
		if got := at.Stats().Refused["origin"]; got != want {
			t.Errorf("%s: %d were counted as refused, want %d", option, got, want)
		}
		if got := log.Count(limitLine); got != lines {
			t.Errorf("%s: %d lines in the log, want %d", option, got, lines)
		}
	}
}

// TestMalformedUpgrades checks that a failed upgrade is counted like a refused handshake,
// and that a request for a missing page is not.
func TestMalformedUpgrades(t *testing.T) {
	t.Parallel()
	at := testkit.Start(t, "ws", &testkit.Game{})
	good := testkit.UpgradeRequest("/")
	n := int64(0)
	for request, counts := range map[string]bool{
		strings.Replace(good, "Version: 13", "Version: 12", 1):             true,
		strings.Replace(good, "dGhlIHNhbXBsZSBub25jZQ==", "dGhl", 1):       true,
		strings.Replace(good, "Connection: Upgrade", "Connection: yes", 1): true,
		strings.Replace(good, "Upgrade: websocket", "Upgrade: h2c", 1):     true,
		strings.Replace(good, "GET", "PUT", 1):                             true,
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n":                        false,
	} {
		conn, err := at.DialConn()
		if err != nil {
			t.Fatal(err)
		}
		w := testkit.NewWire(conn)
		if err := w.Raw([]byte(request)); err != nil {
			t.Fatal(err)
		}
		if status, err := w.ReadStatus(); err != nil || status/100 != 4 {
			t.Errorf("%q was answered with status %d, %v", request, status, err)
		}
		w.Abort()
		if counts {
			n++
		}
		if got := at.Stats().Refused["handshake"]; got != n {
			t.Errorf("after %q %d were counted as refused, want %d", request, got, n)
		}
	}
}

// exhausted is a listener whose Accept fails for a while, as if no file descriptor were
// free.
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
			log := testkit.NewLogCapture()
			s := testkit.NewServer(&testkit.Game{}, log.Option())
			testkit.ShutdownAtEnd(t, s)
			m := pipenet.New()
			l := &exhausted{Listener: m, fault: test.fault, until: time.Now().Add(30 * time.Second)}
			serve := s.Serve
			if kind == "wspipe" {
				serve = s.ServeWebSocket
			}
			done := make(chan error, 1)
			go func() { done <- serve(l) }()
			p := (&testkit.Server{T: t, Server: s, Transport: kind, Path: "/", DialConn: m.Dial}).DialPatient()
			p.Join()
			p.Echo(1, "at last")
			if n := l.calls.Load(); n < 20 || n > 60 {
				t.Errorf("Accept was called %d times in 30 s, want once a second after a while", n)
			}
			if n := log.Count("nano: accept failed"); n < 20 || n > 60 {
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

// TestLogIsBounded checks that log records that clients can cause are limited to ten a
// second.
func TestLogIsBounded(t *testing.T) {
	for _, test := range []struct{ route, line string }{
		{"Game.Fail", "nano: handler failed"},
		{"Game.Panic", "nano: panic in a handler"},
	} {
		synctest.Test(t, func(t *testing.T) {
			log := testkit.NewLogCapture()
			at := testkit.Start(t, "pipe", &testkit.Game{}, log.Option())
			p := at.DialPatient()
			p.Join()
			for id := range uint64(1000) {
				if e := p.CallError(id+1, test.route, ""); e.Code != nano.CodeInternal {
					t.Fatal(e)
				}
			}
			if n := log.Count(test.line); n != 10 {
				t.Errorf("%d lines %q in the log, want 10", n, test.line)
			}
			time.Sleep(time.Second)
			if e := p.CallError(1001, test.route, ""); e.Code != nano.CodeInternal {
				t.Error(e)
			}
			if n, _ := log.Find(test.line, "suppressed"); n != "990" {
				t.Errorf("the log says that %s lines were suppressed, want 990", n)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		log := testkit.NewLogCapture()
		at := testkit.Start(t, "pipe", &testkit.Game{}, log.Option(), nano.WithHandshakeValidator(func(*session.Session, []byte) error { panic("no") }))
		for range 100 {
			p := at.DialPatient()
			if a := p.Handshake("{}"); a.Code != 500 {
				t.Fatalf("%+v", a)
			}
			p.ReadEnd()
		}
		if n := log.Count("nano: panic in a handshake"); n > 110 || n < 10 {
			t.Errorf("%d lines of 100 clients", n)
		}
	})
}

// TestLimitsAreLogged checks that each limit logs one record per ten seconds, and counts
// refusals under its name.
func TestLimitsAreLogged(t *testing.T) {
	const n = 50
	early := func(b []byte) func(*testkit.Server) {
		return func(at *testkit.Server) { at.DialPatient().SendAndDrain(b) }
	}
	late := func(b []byte) func(*testkit.Server) {
		return func(at *testkit.Server) {
			p := at.DialPatient()
			p.Join()
			p.SendAndDrain(b)
		}
	}
	for _, test := range []struct {
		limit string
		opts  []nano.Option
		pass  func(at *testkit.Server) // one client exceeds the limit once
	}{
		{"packet size", nil, late([]byte{byte(packet.Data), 1, 0, 1})},
		{"packet size", nil, early([]byte{byte(packet.Handshake), 1, 0, 1})},
		{"route length", []nano.Option{nano.WithMaxRouteLength(9)}, late(testkit.Request(1, "Game.Double", ""))},
		{"route length", []nano.Option{nano.WithMaxRouteLength(9)}, late(testkit.Notify("Game.Double", ""))},
		{"handshake size", []nano.Option{nano.WithMaxHandshakeSize(2)}, early(testkit.Pack(packet.Handshake, "{ }"))},
		{"send", []nano.Option{nano.WithWriteBuffer(1000, nano.CloseSlowClient)}, late(testkit.Request(1, "Game.Echo", strings.Repeat("x", 1000)))},
		{"send", []nano.Option{nano.WithWriteBuffer(1000, nano.RefusePush)}, late(testkit.Request(1, "Game.Echo", strings.Repeat("x", 1000)))},
		{"rate", []nano.Option{nano.WithMessageRate(1, 1)}, late(slices.Concat(testkit.Request(1, "Game.Echo", ""), testkit.Notify("Game.Echo", "")))},
		{"origin", []nano.Option{nano.WithSameOrigin()}, func(at *testkit.Server) {
			conn, err := at.DialConn()
			if err != nil {
				at.T.Fatal(err)
			}
			w := testkit.NewWire(conn)
			defer w.Abort()
			if status := w.RequestUpgrade(at.T, "Origin: http://evil.example"); status != http.StatusForbidden {
				at.T.Fatalf("status %d, want 403", status)
			}
		}},
	} {
		for _, kind := range []string{"pipe", "wspipe"} {
			if test.limit == "origin" && kind == "pipe" {
				continue
			}
			t.Run(test.limit+" over "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log := testkit.NewLogCapture()
					at := testkit.Start(t, kind, &testkit.Game{}, append(slices.Clip(test.opts), log.Option())...)
					check := func(times int64, lines int) {
						t.Helper()
						synctest.Wait()
						if got := at.Stats().Refused[test.limit]; got != times {
							t.Errorf("%d were counted as refused, want %d", got, times)
						}
						if got := log.Count(limitLine); got != lines {
							t.Errorf("%d lines in the log, want %d: %s", got, lines, log.All())
						}
						if got, _ := log.Find(limitLine, "limit"); got != test.limit {
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
					if got, _ := log.Find(limitLine, "total"); got != fmt.Sprint(n+1) {
						t.Errorf("the log says that %s were refused so far, want %d", got, n+1)
					}
				})
			})
		}
	}
}

// The limit logs too if no other client is connected.
func TestRefusalsAreLoggedWithoutClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := testkit.NewLogCapture()
		from, _ := openFrom(t, "wspipe", &testkit.Game{}, nano.WithMaxConnections(1), nano.WithHandshakeTimeout(time.Minute), log.Option())
		first, err := from("192.0.2.1:1").DialConn()
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		for i := range 3 {
			second, err := from("192.0.2.2:1").DialConn()
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			_ = second.Close()
			if n := log.Count(limitLine); n != 1+i/2 {
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
		err := nano.New(testkit.Quiet, opt).Start()
		if name = strings.TrimSpace(name); err == nil || !strings.Contains(err.Error(), name+": want ") {
			t.Errorf("%s: Start = %v, want an error that says what was expected", name, err)
		}
	}
}
