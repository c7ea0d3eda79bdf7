package nano_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// choosy is a serializer that supports only the program's types. It cannot encode the
// library's errors.
type choosy struct {
	*json.Serializer
	fail func() error
}

func (c choosy) Marshal(any) ([]byte, error) { return nil, c.fail() }

func (c choosy) MarshalAppend(dst []byte, _ any) ([]byte, error) { return dst, c.fail() }

// TestSerializerThatCannotEncodeErrors checks that errors are encoded as JSON if the
// serializer cannot encode them. A reader sends some, and a panic there would end the
// process.
func TestSerializerThatCannotEncodeErrors(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("want a program's type") },
		"panic": func() error { panic("want a program's type") },
	} {
		for what, data := range map[string]string{
			"unknown route":   "\x00\x05\x09none.None",
			"malformed route": "\x00\x05\x30none",
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newClub(t, nano.WithSerializer(choosy{json.NewSerializer(), fail}))
					defer c.shutdown()
					g := c.join()
					g.raw.Store(true)
					frame, err := codec.Append(nil, packet.Data, []byte(data))
					if err != nil {
						t.Fatal(err)
					}
					if _, err := g.conn.Write(frame); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
					synctest.Wait()
					got := strings.Join(g.pushes(), "")
					if !strings.HasPrefix(got, "\x24\x05{\"code\":\"NANO-40") {
						t.Errorf("the client was answered with %q, want an error in JSON", got)
					}
				})
			})
		}
	}
}

// TestConcurrentBinds checks that the server finds a session under its last uid only, and
// not at all after its end, however the calls interleave.
func TestConcurrentBinds(t *testing.T) {
	c := newClub(t)
	defer c.shutdown()
	uids := []int64{1, 2, 3}
	for range 50 {
		u := c.join()
		bind := func() {
			var wg sync.WaitGroup
			for _, uid := range uids {
				wg.Go(func() {
					if err := u.session.Bind(uid); err != nil {
						t.Errorf("Bind(%d) = %v", uid, err)
					}
				})
			}
			wg.Wait()
		}
		bind()
		for _, uid := range uids {
			found := len(c.srv.SessionsByUID(uid))
			if want := uid == u.session.UID(); found > 1 || (found == 1) != want {
				t.Errorf("%d sessions of uid %d, want one of %d alone", found, uid, u.session.UID())
			}
		}
		ended := make(chan struct{})
		u.session.OnClose(func(*session.Session, error) { close(ended) })
		u.session.Close()
		bind()
		<-ended
		for _, uid := range uids {
			if found := c.srv.SessionsByUID(uid); len(found) != 0 {
				t.Errorf("uid %d has %d sessions when all are closed, want none", uid, len(found))
			}
		}
	}
}

// TestKinds checks that a client of every kind can use every feature.
func TestKinds(t *testing.T) {
	for _, kind := range testkit.Transports {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			at := testkit.Start(t, kind, &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
				if err := s.Push("onNews", data); err != nil {
					return err
				}
				return s.Kick("enough")
			}})
			p := at.Join()
			p.Echo(1, "hello")
			p.Echo(2, strings.Repeat("long", 10_000))
			if got := p.Call(3, "Game.Double", `{"N":21}`); got != `{"N":42}` {
				t.Errorf("Game.Double = %s", got)
			}
			if e := p.CallError(4, "Game.Refuse", ""); e.Code != "GAME-1" {
				t.Errorf("Game.Refuse failed with %v", e)
			}
			p.Send(testkit.Notify("Game.Do", "news"))
			e := p.ReadEnd()
			if len(e.Messages) != 1 || e.Messages[0].Route != "onNews" || string(e.Messages[0].Data) != "news" {
				t.Errorf("%v came, want one push", e.Messages)
			}
			if e.Kick != `{"reason":"enough","code":"kicked"}` || !errors.Is(e.Err, io.EOF) || at.IsWebSocket() != (e.Code == 1000) {
				t.Errorf("the connection ended with kick %s, code %d, %v", e.Kick, e.Code, e.Err)
			}
		})
	}
}

// TestWrappedConnection checks that the raw-socket path is used for sockets only. A
// wrapped connection is read and written through its own methods.
func TestWrappedConnection(t *testing.T) {
	t.Parallel()
	s := testkit.NewServer(&testkit.Game{})
	testkit.ShutdownAtEnd(t, s)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(flipped{l}) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := testkit.NewClient(t, &flippedConn{conn.(*net.TCPConn)})
	p.Join()
	p.Echo(1, "hello")
	_ = conn.Close()
	_ = s.Shutdown(context.Background())
	if err := testkit.Receive(t, served, "the end of Serve"); err != nil {
		t.Errorf("Serve = %v", err)
	}
}

// flipped is a listener whose connections invert every bit. The connections have all
// methods of a socket.
type flipped struct{ net.Listener }

func (l flipped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &flippedConn{c.(*net.TCPConn)}, nil
}

type flippedConn struct{ *net.TCPConn }

func (c *flippedConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	for i := range b[:n] {
		b[i] = ^b[i]
	}
	return n, err
}

func (c *flippedConn) Write(b []byte) (int, error) {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = ^b[i]
	}
	return c.TCPConn.Write(out)
}

// TestTCPAndWebSocketAtOnce checks that one server serves TCP and WebSocket clients at
// once, and that they share the sessions.
func TestTCPAndWebSocketAtOnce(t *testing.T) {
	t.Parallel()
	s := testkit.NewServer(&testkit.Game{OnDo: func(s *session.Session, _ []byte) error { return s.Bind(7) }})
	testkit.ShutdownAtEnd(t, s)
	clients := []*testkit.Client{testkit.Serve(t, s, "tcp").Join(), testkit.Serve(t, s, "ws").Join(), testkit.Serve(t, s, "pipe").Join()}
	for i, p := range clients {
		p.Send(testkit.Request(1, "Game.Do", ""), testkit.Request(2, "Game.Echo", ""))
		if m := p.Next(); m.ID != 2 {
			t.Fatalf("%v came, want the answer to request 2", m)
		}
		if n := len(s.SessionsByUID(7)); n != i+1 {
			t.Errorf("%d sessions of the user, want %d", n, i+1)
		}
	}
	if err := s.Push(7, "onNews", []byte("to all")); err != nil {
		t.Fatal(err)
	}
	for _, p := range clients {
		if m := p.Next(); m.Route != "onNews" || string(m.Data) != "to all" {
			t.Errorf("%v came, want the push", m)
		}
	}
	if err := s.Kick(7, "all out"); err != nil {
		t.Fatal(err)
	}
	for _, p := range clients {
		if e := p.ReadEnd(); e.Kick != `{"reason":"all out","code":"kicked"}` {
			t.Errorf("kick %q", e.Kick)
		}
	}
	if err := s.Push(8, "onNews", nil); !errors.Is(err, nano.ErrUserNotFound) {
		t.Errorf("Push to nobody = %v, want ErrUserNotFound", err)
	}
}

func TestWebSocketHandlerOnTheProgramsMux(t *testing.T) {
	s := testkit.NewServer(&testkit.Game{})
	testkit.ShutdownAtEnd(t, s)
	mux := http.NewServeMux()
	mux.Handle("/play", s.WebSocketHandler())
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a page") })
	web := httptest.NewServer(mux)
	defer web.Close()
	dial := func() (*testkit.Client, error) {
		conn, err := net.Dial("tcp", web.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		p := testkit.NewClient(t, conn)
		return p, p.Upgrade("/play")
	}
	if _, err := dial(); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("before Start: %v, want 503", err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	p.Join()
	p.Echo(1, "hello")
	if body := page(t, web.URL+"/page"); body != "a page" {
		t.Errorf("the page reads %q", body)
	}
	if r, err := http.Get(web.URL + "/play"); err != nil || r.StatusCode != http.StatusBadRequest {
		t.Errorf("a plain GET: %v, %v, want 400", r, err)
	} else {
		_ = r.Body.Close()
	}
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	if e := p.ReadEnd(); e.Kick != `{"reason":"server shutdown","code":"shutdown"}` || e.Code != 1001 {
		t.Errorf("shutdown: kick %s, code %d", e.Kick, e.Code)
	}
	if err := testkit.Receive(t, down, "the end of Shutdown"); err != nil {
		t.Error(err)
	}
	if _, err := dial(); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("after Shutdown: %v, want 503", err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func page(t testing.TB, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWebSocketPaths(t *testing.T) {
	t.Parallel()
	at := testkit.Start(t, "ws", &testkit.Game{}, nano.WithWebSocket("/play"))
	for _, test := range []struct {
		path, want string
	}{{"/play", ""}, {"/", "404"}, {"/play/", "404"}} {
		conn, err := at.DialConn()
		if err != nil {
			t.Fatal(err)
		}
		w := testkit.NewWire(conn)
		err = w.Upgrade(test.path)
		_ = conn.Close()
		if got := fmt.Sprint(err); test.want == "" && err != nil || !strings.Contains(got, test.want) {
			t.Errorf("upgrade at %s: %v, want %q", test.path, err, test.want)
		}
	}
}

func TestCheckOrigin(t *testing.T) {
	t.Parallel()
	at := testkit.Start(t, "ws", &testkit.Game{}, nano.WithCheckOriginFunc(func(r *http.Request) bool {
		return r.Header.Get("Origin") == "" && r.Host == "localhost"
	}))
	at.Join().Echo(1, "hello")
	conn, err := at.DialConn()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w := testkit.NewWire(conn)
	ask := strings.Replace(testkit.UpgradeRequest("/"), "\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n", 1)
	if err := w.Raw([]byte(ask)); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(w.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if r.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another origin: %s, want 403", r.Status)
	}
}

// wrapped is a ResponseWriter as middleware wraps it.
type wrapped struct{ inner http.ResponseWriter }

func (w wrapped) Header() http.Header { return w.inner.Header() }

func (w wrapped) Write(b []byte) (int, error) { return w.inner.Write(b) }

func (w wrapped) WriteHeader(status int) { w.inner.WriteHeader(status) }

func (w wrapped) Unwrap() http.ResponseWriter { return w.inner }

func TestHandlerBehindMiddleware(t *testing.T) {
	t.Parallel()
	s := testkit.NewServer(&testkit.Game{})
	testkit.ShutdownAtEnd(t, s)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.WebSocketHandler().ServeHTTP(wrapped{w}, r)
	}))
	defer web.Close()
	at := &testkit.Server{T: t, Server: s, Transport: "ws", Path: "/", DialConn: func() (net.Conn, error) {
		return net.Dial("tcp", web.Listener.Addr().String())
	}}
	at.Join().Echo(1, "hello")
}

// listen runs nano.Listen on a free port. It returns the address and the channel of its
// result.
func listen(t testing.TB, c component.Component, opts ...nano.Option) (string, <-chan error) {
	t.Helper()
	components := &component.Components{}
	components.Register(c)
	l := testkit.NewLogCapture()
	opts = append([]nano.Option{l.Option(), nano.WithComponents(components), nano.WithSerializer(json.NewSerializer())}, opts...)
	returned := make(chan error, 1)
	go func() { returned <- nano.Listen("127.0.0.1:0", opts...) }()
	return l.Wait(t, "nano: listening", "address"), returned
}

// tcpClient connects to the address of Listen.
func tcpClient(t testing.TB, addr string) *testkit.Client {
	t.Helper()
	at := &testkit.Server{T: t, Transport: "tcp", DialConn: func() (net.Conn, error) { return net.Dial("tcp", addr) }}
	return at.Join()
}

func TestListen(t *testing.T) {
	// These tasks are queued before the start and run on the logic goroutine when the
	// server starts.
	early := make(chan bool, 1)
	nano.Invoke(func() { early <- testkit.Running(scheduler.Default()) })
	timer := make(chan bool, 1)
	scheduler.NewAfterTimer(0, func() { timer <- testkit.Running(scheduler.Default()) })
	for range 3 { // a second Listen works like the first
		addr, returned := listen(t, &testkit.Game{OnDo: func(*session.Session, []byte) error {
			nano.Shutdown() // a handler may call it
			nano.Shutdown() // a second call has no effect
			return nano.Errorf("GAME-2", "going down")
		}})
		if err := nano.Listen("127.0.0.1:0", testkit.Quiet); !errors.Is(err, nano.ErrRunning) {
			t.Errorf("Listen while another one runs = %v, want ErrRunning", err)
		}
		p := tcpClient(t, addr)
		p.Echo(1, "hello")
		late := make(chan bool, 1)
		nano.Invoke(func() { late <- testkit.Running(scheduler.Default()) })
		if !testkit.Receive(t, late, "Invoke") {
			t.Error("Invoke ran elsewhere than on the logic goroutine")
		}
		p.Send(testkit.Request(2, "Game.Do", ""))
		if e := p.ReadEnd(); len(e.Messages) != 1 || p.ErrorOf(e.Messages[0]).Code != "GAME-2" || e.Kick != `{"reason":"server shutdown","code":"shutdown"}` {
			t.Errorf("%v, then kick %s, want the answer and a kick", e.Messages, e.Kick)
		}
		if err := testkit.Receive(t, returned, "the end of Listen"); err != nil {
			t.Errorf("Listen = %v", err)
		}
		if _, err := net.Dial("tcp", addr); err == nil {
			t.Error("the port is still open")
		}
	}
	if !testkit.Receive(t, early, "what was pushed before Listen") || !testkit.Receive(t, timer, "a timer made before Listen") {
		t.Error("what was pushed before Listen ran elsewhere than on the logic goroutine")
	}
	nano.Shutdown() // no Listen is running
}

// TestListenKeepsItsDeadline checks that a handler that does not return delays Listen
// until the deadline only. The next Listen has another logic goroutine.
func TestListenKeepsItsDeadline(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	defer close(leave)
	addr, returned := listen(t, &testkit.Game{OnDo: func(*session.Session, []byte) error {
		close(entered)
		<-leave
		return nil
	}}, nano.WithShutdownTimeout(50*time.Millisecond))
	tcpClient(t, addr).Send(testkit.Request(1, "Game.Do", ""))
	testkit.Receive(t, entered, "the handler")
	nano.Shutdown()
	if err := testkit.Receive(t, returned, "the end of Listen"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Listen whose handler blocks = %v, want the deadline passed", err)
	}
	addr, returned = listen(t, &testkit.Game{})
	tcpClient(t, addr).Echo(1, "hello")
	nano.Shutdown()
	if err := testkit.Receive(t, returned, "the end of the next Listen"); err != nil {
		t.Errorf("the next Listen = %v", err)
	}
}

// servePage registers a page on http.DefaultServeMux. A path can be registered only once.
var servePage = sync.OnceFunc(func() {
	http.HandleFunc("/nano-test/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page "+r.URL.Path) })
})

// TestListenServesPages checks that a WebSocket server also serves the handlers of
// http.DefaultServeMux.
func TestListenServesPages(t *testing.T) {
	servePage()
	// If the program has no page at the WebSocket path, a request without an upgrade gets
	// an error.
	for path, status := range map[string]int{"/": http.StatusBadRequest, "/nano-test/play": http.StatusOK} {
		addr, returned := listen(t, &testkit.Game{}, nano.WithWebSocket(path))
		if body := page(t, "http://"+addr+"/nano-test/rules"); body != "page /nano-test/rules" {
			t.Errorf("the page reads %q", body)
		}
		if r, err := http.Get("http://" + addr + path); err != nil || r.StatusCode != status {
			t.Errorf("a page at the WebSocket path %s: %v, %v, want status %d", path, r, err, status)
		} else {
			_ = r.Body.Close()
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		p := testkit.NewClient(t, conn)
		if err := p.Upgrade(path); err != nil {
			t.Fatal(err)
		}
		p.Join()
		p.Echo(1, "hello")
		http.DefaultClient.CloseIdleConnections()
		nano.Shutdown()
		if e := p.ReadEnd(); e.Kick != `{"reason":"server shutdown","code":"shutdown"}` {
			t.Errorf("kick %q", e.Kick)
		}
		_ = conn.Close()
		if err := testkit.Receive(t, returned, "the end of Listen"); err != nil {
			t.Errorf("Listen = %v", err)
		}
	}
}

func TestListenPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	kept := testkit.NewLogCapture()
	game := &testkit.StepRecorder{}
	components := &component.Components{}
	components.Register(game)
	err = nano.Listen(l.Addr().String(), kept.Option(), nano.WithComponents(components))
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("Listen on a port in use = %v, want an error that names %v", err, l.Addr())
	}
	if _, ok := errors.AsType[*net.OpError](err); !ok {
		t.Errorf("Listen = %v, want the error of package net inside", err)
	}
	if text, ok := kept.Find("nano: Listen", "error"); !ok || text != err.Error() {
		t.Errorf("logged %q, want the error", text)
	}
	// The next call of Listen works.
	addr, returned := listen(t, &testkit.Game{})
	p := tcpClient(t, addr)
	p.Echo(1, "hello")
	p.Abort()
	nano.Shutdown()
	if err := testkit.Receive(t, returned, "the end of Listen"); err != nil {
		t.Errorf("Listen = %v", err)
	}
}
