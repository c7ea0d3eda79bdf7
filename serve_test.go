package nano_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// A client of every kind can do what clients do.
func TestKinds(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			at := open(t, kind, &Game{do: func(s *session.Session, data []byte) error {
				if err := s.Push("onNews", data); err != nil {
					return err
				}
				return s.Kick("enough")
			}})
			p := at.client()
			p.echo(1, "hello")
			p.echo(2, strings.Repeat("long", 10_000))
			if got := p.call(3, "Game.Double", `{"N":21}`); got != `{"N":42}` {
				t.Errorf("Game.Double = %s", got)
			}
			if e := p.fails(4, "Game.Refuse", ""); e.Code != "GAME-1" {
				t.Errorf("Game.Refuse failed with %v", e)
			}
			p.send(notify("Game.Do", "news"))
			e := p.ends()
			if len(e.messages) != 1 || e.messages[0].Route != "onNews" || string(e.messages[0].Data) != "news" {
				t.Errorf("%v came, want one push", e.messages)
			}
			if e.kick != `{"reason":"enough"}` || !errors.Is(e.err, io.EOF) || at.webSocket() != (e.code == 1000) {
				t.Errorf("the connection ended with kick %s, code %d, %v", e.kick, e.code, e.err)
			}
		})
	}
}

// The raw-socket path is for sockets alone: what a listener wraps is read and written through its own methods.
func TestWrappedConnection(t *testing.T) {
	t.Parallel()
	s := newServer(&Game{})
	shutdownAtEnd(t, s)
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
	p := &peer{newWire(&flippedConn{conn.(*net.TCPConn)}), t}
	p.join()
	p.echo(1, "hello")
	_ = conn.Close()
	_ = s.Shutdown(context.Background())
	if err := receive(t, served, "the end of Serve"); err != nil {
		t.Errorf("Serve = %v", err)
	}
}

// flipped is a listener whose connections turn every bit over. They have all methods of a socket.
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

// One server serves TCP and WebSocket clients at once, and they share its sessions.
func TestTCPAndWebSocketAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(&Game{do: func(s *session.Session, _ []byte) error { return s.Bind(7) }})
	shutdownAtEnd(t, s)
	clients := []*peer{serve(t, s, "tcp").client(), serve(t, s, "ws").client(), serve(t, s, "pipe").client()}
	for i, p := range clients {
		p.send(request(1, "Game.Do", ""), request(2, "Game.Echo", ""))
		if m := p.next(); m.ID != 2 {
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
		if m := p.next(); m.Route != "onNews" || string(m.Data) != "to all" {
			t.Errorf("%v came, want the push", m)
		}
	}
	if err := s.Kick(7, "all out"); err != nil {
		t.Fatal(err)
	}
	for _, p := range clients {
		if e := p.ends(); e.kick != `{"reason":"all out"}` {
			t.Errorf("kick %q", e.kick)
		}
	}
	if err := s.Push(8, "onNews", nil); !errors.Is(err, nano.ErrUserNotFound) {
		t.Errorf("Push to nobody = %v, want ErrUserNotFound", err)
	}
}

func TestWebSocketHandlerOnTheProgramsMux(t *testing.T) {
	s := newServer(&Game{})
	shutdownAtEnd(t, s)
	mux := http.NewServeMux()
	mux.Handle("/play", s.WebSocketHandler())
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a page") })
	web := httptest.NewServer(mux)
	defer web.Close()
	dial := func() (*peer, error) {
		conn, err := net.Dial("tcp", web.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		p := &peer{newWire(conn), t}
		return p, p.upgrade("/play")
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
	p.join()
	p.echo(1, "hello")
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
	if e := p.ends(); e.kick != `{"reason":"server shutdown"}` || e.code != 1001 {
		t.Errorf("shutdown: kick %s, code %d", e.kick, e.code)
	}
	if err := receive(t, down, "the end of Shutdown"); err != nil {
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
	at := open(t, "ws", &Game{}, nano.WithWSPath("play"))
	for _, test := range []struct {
		path, want string
	}{{"/play", ""}, {"/", "404"}, {"/play/", "404"}} {
		conn, err := at.conn()
		if err != nil {
			t.Fatal(err)
		}
		w := newWire(conn)
		err = w.upgrade(test.path)
		_ = conn.Close()
		if got := fmt.Sprint(err); test.want == "" && err != nil || !strings.Contains(got, test.want) {
			t.Errorf("upgrade at %s: %v, want %q", test.path, err, test.want)
		}
	}
}

func TestCheckOrigin(t *testing.T) {
	t.Parallel()
	at := open(t, "ws", &Game{}, nano.WithCheckOriginFunc(func(r *http.Request) bool {
		return r.Header.Get("Origin") == "" && r.Host == "localhost"
	}))
	at.client().echo(1, "hello")
	conn, err := at.conn()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w := newWire(conn)
	ask := strings.Replace(upgradeRequest("/"), "\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n", 1)
	if err := w.raw([]byte(ask)); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(w.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if r.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another origin: %s, want 403", r.Status)
	}
}

// wrapped is a response as middleware wraps it.
type wrapped struct{ inner http.ResponseWriter }

func (w wrapped) Header() http.Header         { return w.inner.Header() }
func (w wrapped) Write(b []byte) (int, error) { return w.inner.Write(b) }
func (w wrapped) WriteHeader(status int)      { w.inner.WriteHeader(status) }
func (w wrapped) Unwrap() http.ResponseWriter { return w.inner }

func TestHandlerBehindMiddleware(t *testing.T) {
	t.Parallel()
	s := newServer(&Game{})
	shutdownAtEnd(t, s)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.WebSocketHandler().ServeHTTP(wrapped{w}, r)
	}))
	defer web.Close()
	at := &site{t: t, Server: s, kind: "ws", path: "/", conn: func() (net.Conn, error) {
		return net.Dial("tcp", web.Listener.Addr().String())
	}}
	at.client().echo(1, "hello")
}

// journal keeps what a server logs.
type journal struct {
	mu      sync.Mutex
	records []slog.Record
	came    chan struct{}
}

func newJournal() *journal { return &journal{came: make(chan struct{}, 1)} }

func (l *journal) Enabled(context.Context, slog.Level) bool { return true }
func (l *journal) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *journal) WithGroup(string) slog.Handler            { return l }
func (l *journal) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	l.records = append(l.records, r)
	l.mu.Unlock()
	select {
	case l.came <- struct{}{}:
	default:
	}
	return nil
}

func (l *journal) option() nano.Option { return nano.WithSlog(slog.New(l)) }

// find returns an attribute of the last record with a message.
func (l *journal) find(message, key string) (value string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r.Message != message {
			continue
		}
		ok = true
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == key {
				value = a.Value.String()
			}
			return true
		})
	}
	return value, ok
}

// wait returns an attribute of a record that has to come.
func (l *journal) wait(t testing.TB, message, key string) string {
	t.Helper()
	for {
		if v, ok := l.find(message, key); ok {
			return v
		}
		receive(t, l.came, message)
	}
}

// listen runs nano.Listen on a free port and returns the address, and a channel with what Listen returns.
func listen(t testing.TB, c component.Component, opts ...nano.Option) (string, <-chan error) {
	t.Helper()
	components := &component.Components{}
	components.Register(c)
	l := newJournal()
	opts = append([]nano.Option{l.option(), nano.WithComponents(components), nano.WithSerializer(json.NewSerializer())}, opts...)
	returned := make(chan error, 1)
	go func() { returned <- nano.Listen("127.0.0.1:0", opts...) }()
	return l.wait(t, "nano: listening", "address"), returned
}

// tcpClient connects to the server of Listen.
func tcpClient(t testing.TB, addr string) *peer {
	t.Helper()
	at := &site{t: t, kind: "tcp", conn: func() (net.Conn, error) { return net.Dial("tcp", addr) }}
	return at.client()
}

func TestListen(t *testing.T) {
	// Pushed before, run when the server starts, on its logic goroutine.
	early := make(chan bool, 1)
	nano.Invoke(func() { early <- running(scheduler.Default()) })
	timer := make(chan bool, 1)
	scheduler.NewAfterTimer(0, func() { timer <- running(scheduler.Default()) })
	for range 3 { // a second Listen serves as the first did
		addr, returned := listen(t, &Game{do: func(*session.Session, []byte) error {
			nano.Shutdown() // a handler may
			nano.Shutdown() // twice
			return nano.Errorf("GAME-2", "going down")
		}})
		if err := nano.Listen("127.0.0.1:0", quiet); !errors.Is(err, nano.ErrRunning) {
			t.Errorf("Listen while another one runs = %v, want ErrRunning", err)
		}
		p := tcpClient(t, addr)
		p.echo(1, "hello")
		late := make(chan bool, 1)
		nano.Invoke(func() { late <- running(scheduler.Default()) })
		if !receive(t, late, "Invoke") {
			t.Error("Invoke ran elsewhere than on the logic goroutine")
		}
		p.send(request(2, "Game.Do", ""))
		if e := p.ends(); len(e.messages) != 1 || p.failure(e.messages[0]).Code != "GAME-2" || e.kick != `{"reason":"server shutdown"}` {
			t.Errorf("%v, then kick %s, want the answer and a kick", e.messages, e.kick)
		}
		if err := receive(t, returned, "the end of Listen"); err != nil {
			t.Errorf("Listen = %v", err)
		}
		if _, err := net.Dial("tcp", addr); err == nil {
			t.Error("the port is still open")
		}
	}
	if !receive(t, early, "what was pushed before Listen") || !receive(t, timer, "a timer made before Listen") {
		t.Error("what was pushed before Listen ran elsewhere than on the logic goroutine")
	}
	nano.Shutdown() // nobody listens
}

// A handler that does not return holds up Listen until the deadline, and no longer; a next Listen has another logic
// goroutine.
func TestListenKeepsItsDeadline(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	defer close(leave)
	addr, returned := listen(t, &Game{do: func(*session.Session, []byte) error {
		close(entered)
		<-leave
		return nil
	}}, nano.WithShutdownTimeout(50*time.Millisecond))
	tcpClient(t, addr).send(request(1, "Game.Do", ""))
	receive(t, entered, "the handler")
	nano.Shutdown()
	if err := receive(t, returned, "the end of Listen"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Listen whose handler blocks = %v, want the deadline passed", err)
	}
	addr, returned = listen(t, &Game{})
	tcpClient(t, addr).echo(1, "hello")
	nano.Shutdown()
	if err := receive(t, returned, "the end of the next Listen"); err != nil {
		t.Errorf("the next Listen = %v", err)
	}
}

// servePage puts a page on http.DefaultServeMux, which takes it once.
var servePage = sync.OnceFunc(func() {
	http.HandleFunc("/nano-test/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page "+r.URL.Path) })
})

// With WebSocket, what the program put on http.DefaultServeMux is served beside it.
func TestListenServesPages(t *testing.T) {
	servePage()
	// Where the program has no page at the WebSocket path, a request that is no upgrade is told so.
	for path, status := range map[string]int{"/": http.StatusBadRequest, "/nano-test/play": http.StatusOK} {
		addr, returned := listen(t, &Game{}, nano.WithIsWebsocket(true), nano.WithWSPath(path))
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
		p := &peer{newWire(conn), t}
		if err := p.upgrade(path); err != nil {
			t.Fatal(err)
		}
		p.join()
		p.echo(1, "hello")
		http.DefaultClient.CloseIdleConnections()
		nano.Shutdown()
		if e := p.ends(); e.kick != `{"reason":"server shutdown"}` {
			t.Errorf("kick %q", e.kick)
		}
		_ = conn.Close()
		if err := receive(t, returned, "the end of Listen"); err != nil {
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
	kept := newJournal()
	game := &Lifecycle{}
	components := &component.Components{}
	components.Register(game)
	err = nano.Listen(l.Addr().String(), kept.option(), nano.WithComponents(components))
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("Listen on a port in use = %v, want an error that names %v", err, l.Addr())
	}
	var op *net.OpError
	if !errors.As(err, &op) {
		t.Errorf("Listen = %v, want the error of package net inside", err)
	}
	if text, ok := kept.find("nano: Listen", "error"); !ok || text != err.Error() {
		t.Errorf("logged %q, want the error", text)
	}
	// The next one works.
	addr, returned := listen(t, &Game{})
	p := tcpClient(t, addr)
	p.echo(1, "hello")
	p.abort()
	nano.Shutdown()
	if err := receive(t, returned, "the end of Listen"); err != nil {
		t.Errorf("Listen = %v", err)
	}
}

// childEnv has the test binary be a server; see child.
const childEnv = "NANO_TEST_CHILD"

// child serves until a signal ends it. What it logs goes to the parent.
func child() {
	components := &component.Components{}
	components.Register(&Game{do: func(s *session.Session, data []byte) error {
		time.Sleep(100 * time.Microsecond)
		served.Add(1)
		return s.Response(data)
	}})
	err := nano.Listen("127.0.0.1:0",
		nano.WithSlog(slog.New(slog.NewJSONHandler(os.Stdout, nil))),
		nano.WithComponents(components),
		nano.WithIsWebsocket(os.Getenv(childEnv) == "ws"))
	if err != nil {
		os.Exit(3)
	}
	farewell()
}

// Lifecycle notes what is done to it.
type Lifecycle struct {
	component.Base
	name  string
	steps *[]string
	panic string // the step that panics
}

func (c *Lifecycle) Handle(*session.Session, []byte) error { return nil }

func (c *Lifecycle) step(step string) {
	if c.steps != nil {
		*c.steps = append(*c.steps, c.name+"."+step)
	}
	if c.panic == step {
		panic("no luck")
	}
}

func (c *Lifecycle) Init()           { c.step("Init") }
func (c *Lifecycle) AfterInit()      { c.step("AfterInit") }
func (c *Lifecycle) BeforeShutdown() { c.step("BeforeShutdown") }
func (c *Lifecycle) Shutdown()       { c.step("Shutdown") }

// lifecycles registers components that note their steps in one list.
func lifecycles(steps *[]string, panicking string, names ...string) nano.Option {
	components := &component.Components{}
	for _, name := range names {
		components.Register(&Lifecycle{name: name, steps: steps, panic: panicking}, component.WithName(name))
	}
	return nano.WithComponents(components)
}
