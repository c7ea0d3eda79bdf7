package nano_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
)

// starter is a component that calls functions of the test during the start.
type starter struct {
	testkit.Game
	init, afterInit func()
}

func (s *starter) Init() {
	if s.init != nil {
		s.init()
	}
}

func (s *starter) AfterInit() {
	if s.afterInit != nil {
		s.afterInit()
	}
}

// startListen calls Listen with a starter and returns the channel of its result.
func startListen(addr string, s *starter, opts ...nano.Option) <-chan error {
	components := &component.Components{}
	components.Register(s, component.WithName("Game"))
	returned := make(chan error, 1)
	opts = append([]nano.Option{testkit.Quiet, nano.WithComponents(components)}, opts...)
	go func() { returned <- nano.Listen(addr, opts...) }()
	return returned
}

// freeAddr returns an address without a listener.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestListenBindsBeforeInit checks that an address in use, for clients or for other
// nodes, is reported before any component starts.
func TestListenBindsBeforeInit(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	for name, opts := range map[string][]nano.Option{
		"clients":              nil,
		"nodes":                {nano.WithCluster()},
		"clients of a node":    {nano.WithCluster(), nano.WithClientAddr(taken)},
		"clients of an option": {nano.WithClientAddr(taken)},
	} {
		addr := taken
		if strings.Contains(name, " of ") {
			addr = "127.0.0.1:0"
		}
		s := &starter{init: func() { t.Errorf("%s: Init ran", name) }}
		err := testkit.Receive(t, startListen(addr, s, opts...), "the end of Listen")
		if err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("%s: Listen = %v, want the address in use", name, err)
		}
	}
}

// TestListenAcceptsAfterAfterInit checks that clients that connect during Init are
// accepted after AfterInit, and that their handshake deadline starts then.
func TestListenAcceptsAfterAfterInit(t *testing.T) {
	addr := freeAddr(t)
	const timeout = 200 * time.Millisecond
	dialed := make(chan net.Conn, 1)
	s := &starter{afterInit: func() {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Errorf("Dial while AfterInit runs = %v, want a connection", err)
			return
		}
		dialed <- conn
		time.Sleep(2 * timeout) // longer than the handshake deadline
	}}
	returned := startListen(addr, s, nano.WithHandshakeTimeout(timeout))
	p := testkit.NewClient(t, testkit.Receive(t, dialed, "the connection"))
	p.Join()
	nano.Shutdown()
	p.ReadEnd()
	if err := testkit.Receive(t, returned, "the end of Listen"); err != nil {
		t.Errorf("Listen = %v, want nil", err)
	}
}

// TestShutdownWhileInitRuns checks that Shutdown ends a call of Listen at any time,
// including during Init.
func TestShutdownWhileInitRuns(t *testing.T) {
	nano.Shutdown() // before Listen it has no effect
	s := &starter{init: nano.Shutdown}
	for range 2 {
		if err := testkit.Receive(t, startListen("127.0.0.1:0", s), "the end of Listen"); err != nil {
			t.Errorf("Listen = %v, want nil", err)
		}
	}
}

// TestShutdownWhileInitBlocks checks that an Init that does not return delays Listen for
// at most the time of WithShutdownTimeout.
func TestShutdownWhileInitBlocks(t *testing.T) {
	leave := make(chan struct{})
	left := make(chan struct{})
	s := &starter{init: func() { nano.Shutdown(); <-leave; close(left) }}
	returned := startListen("127.0.0.1:0", s, nano.WithShutdownTimeout(20*time.Millisecond))
	if err := testkit.Receive(t, returned, "the end of Listen"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Listen = %v, want the deadline passed", err)
	}
	close(leave)
	testkit.Receive(t, left, "the end of Init")
}

func TestWithContext(t *testing.T) {
	ended, end := context.WithCancel(context.Background())
	end()
	s := &starter{init: func() { t.Error("Init ran though the context had ended") }}
	if err := testkit.Receive(t, startListen("127.0.0.1:0", s, nano.WithContext(ended)), "the end of Listen"); err != nil {
		t.Errorf("Listen with a context that has ended = %v, want nil", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s = &starter{init: cancel}
	if err := testkit.Receive(t, startListen("127.0.0.1:0", s, nano.WithContext(ctx)), "the end of Listen"); err != nil {
		t.Errorf("Listen whose context ends in Init = %v, want nil", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	addr, returned := listen(t, &testkit.Game{}, nano.WithContext(ctx))
	p := tcpClient(t, addr)
	p.Echo(1, "hello")
	cancel()
	if e := p.ReadEnd(); e.Kick != `{"reason":"server shutdown","code":"shutdown"}` {
		t.Errorf("kick %q when the context ends, want that of a shutdown", e.Kick)
	}
	if err := testkit.Receive(t, returned, "the end of Listen"); err != nil {
		t.Errorf("Listen whose context ends = %v, want nil", err)
	}
}

// TestWithClientAddrAlone checks that WithClientAddr alone does not make a node. Listen
// serves clients there, and does not open its own address.
func TestWithClientAddrAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, other := range map[string]string{"the same": "", "another": l.Addr().String()} {
		addr := freeAddr(t)
		if other == "" {
			other = addr
		}
		dialable := make(chan struct{})
		s := &starter{afterInit: func() { close(dialable) }}
		returned := startListen(other, s, nano.WithClientAddr(addr))
		select {
		case <-dialable:
			tcpClient(t, addr).Echo(1, "hello")
			nano.Shutdown()
		case err := <-returned:
			t.Errorf("%s address: Listen = %v, want it to serve", name, err)
			continue
		}
		if err := testkit.Receive(t, returned, "the end of Listen"); err != nil {
			t.Errorf("%s address: Listen = %v, want nil", name, err)
		}
	}
	addr, returned := listen(t, &testkit.Game{}, nano.WithClientAddr(""))
	tcpClient(t, addr).Echo(1, "hello")
	nano.Shutdown()
	if err := testkit.Receive(t, returned, "the end of Listen"); err != nil {
		t.Errorf("Listen with an empty client address = %v, want nil", err)
	}
}

// TestWSPathWithoutWebSocket checks that Listen refuses a WebSocket path if it accepts
// TCP clients. Servers of New accept one.
func TestWSPathWithoutWebSocket(t *testing.T) {
	s := &starter{init: func() { t.Error("Init ran") }}
	err := testkit.Receive(t, startListen("127.0.0.1:0", s, nano.WithWSPath("/nano")), "the end of Listen")
	if err == nil || !strings.Contains(err.Error(), "WithWebSocket") {
		t.Errorf("Listen = %v, want an error that names WithWebSocket", err)
	}
	at := testkit.Start(t, "ws", &testkit.Game{}, nano.WithWSPath("/nano"))
	at.Path = "/nano"
	at.Join().Echo(1, "hello")
}

// serveDebugPages registers pages under /debug/ on http.DefaultServeMux. A path can be
// registered only once.
var serveDebugPages = sync.OnceFunc(func() {
	for _, pattern := range []string{"/debug/nano-test/", "GET /debug/nano-vars", "GET localhost/debug/nano-host"} {
		http.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") })
	}
})

// TestListenHidesDebugPages checks that Listen serves the pages under /debug/ of
// http.DefaultServeMux only if the program asks for it.
func TestListenHidesDebugPages(t *testing.T) {
	servePage()
	serveDebugPages()
	get := func(url string) (int, string) {
		t.Helper()
		client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		defer client.CloseIdleConnections()
		r, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(body)
	}
	for _, asked := range []bool{false, true} {
		opts := []nano.Option{nano.WithWebSocket("/nano")}
		want := http.StatusNotFound
		if asked {
			opts = append(opts, nano.WithHTTPHandler(http.DefaultServeMux))
			want = http.StatusOK
		}
		addr, returned := listen(t, &testkit.Game{}, opts...)
		for _, path := range []string{"/debug/nano-test/", "/debug/nano-test/x", "/debug/nano-vars", "/debug/nano-vars?x=1", "/%64ebug/nano-vars"} {
			if status, body := get("http://" + addr + path); status != want || strings.Contains(body, "secret") != asked {
				t.Errorf("asked %v: GET %s = %d %q, want %d", asked, path, status, body, want)
			}
		}
		for _, path := range []string{"/debug/nano-test", "//debug/nano-vars", "/x/../debug/nano-vars"} {
			if status, body := get("http://" + addr + path); strings.Contains(body, "secret") || !asked && status != http.StatusNotFound {
				t.Errorf("asked %v: GET %s = %d %q", asked, path, status, body)
			}
		}
		_, port, _ := net.SplitHostPort(addr)
		if status, body := get("http://localhost:" + port + "/debug/nano-host"); status != want {
			t.Errorf("asked %v: GET of a pattern with a host = %d %q, want %d", asked, status, body, want)
		}
		if status, body := get("http://" + addr + "/nano-test/rules"); status != http.StatusOK || body != "page /nano-test/rules" {
			t.Errorf("asked %v: GET of a page = %d %q, want the page", asked, status, body)
		}
		nano.Shutdown()
		if err := testkit.Receive(t, returned, "the end of Listen"); err != nil {
			t.Errorf("Listen = %v", err)
		}
	}
}
