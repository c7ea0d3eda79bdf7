package top

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/console"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

type echo struct{ component.Base }

type line struct{ Text string }

func (*echo) Say(_ *session.Session, l *line) (*line, error) { return l, nil }

// bed is a server with a console that is reached without a network.
type bed struct {
	t       *testing.T
	srv     *nanotest.Server
	console http.Handler

	mu   sync.Mutex
	down error                     // requests fail with it; mu guards it and answer
	fake func(http.ResponseWriter) // answers in place of the console; nil for the console
}

const token = "viewer-token"

func newBed(t *testing.T) *bed {
	components := &component.Components{}
	components.Register(&echo{}, component.WithName("echo"))
	srv := nanotest.Start(t, nano.WithComponents(components), nano.WithSerializer(json.NewSerializer()))
	return &bed{t: t, srv: srv, console: console.New(srv.Server, console.Options{Name: "test server", Authorize: console.Token(token, "")})}
}

// RoundTrip implements http.RoundTripper.
func (b *bed) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	down, fake := b.down, b.fake
	b.mu.Unlock()
	if down != nil {
		return nil, down
	}
	w := httptest.NewRecorder()
	if fake != nil {
		fake(w)
	} else {
		b.console.ServeHTTP(w, r)
	}
	return w.Result(), nil
}

func (b *bed) setDown(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = err
}

func (b *bed) setFake(f func(http.ResponseWriter)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fake = f
}

func (b *bed) config(token string) Config {
	b.t.Helper()
	api, err := NewAPI("http://console.test", token, b)
	if err != nil {
		b.t.Fatal(err)
	}
	return Config{API: api, Interval: 2 * time.Second, Timeout: 5 * time.Second}
}

// window is a terminal of a test.
type window struct {
	mu            sync.Mutex
	width, height int
	all           bytes.Buffer // mu guards it and the size
}

func (w *window) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.Write(p)
}

func (w *window) Size() (width, height int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.width, w.height, nil
}

func (w *window) resize(width, height int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.width, w.height = width, height
}

// shown returns the lines that stand on the screen.
func (w *window) shown() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.all.String()
	return strings.Split(text[strings.LastIndex(text, erase)+len(erase):], "\r\n")
}

// output returns everything that was written.
func (w *window) output() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}

// expect checks that the screen has a line with each of the texts.
func (w *window) expect(t *testing.T, texts ...string) {
	t.Helper()
	all := strings.Join(w.shown(), "\n")
	for _, text := range texts {
		if !strings.Contains(all, text) {
			t.Errorf("the screen shows\n%s\nwant %q", all, text)
		}
	}
}

// start runs the screen of a terminal until the test ends.
func (b *bed) start(c Config, w *window) (stop func() error) {
	ctx, cancel := context.WithCancel(b.t.Context())
	c.Terminal = w
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, c) }()
	return func() error {
		cancel()
		return <-ended
	}
}

func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		p := b.srv.Connect(t)
		if err := p.Request(t.Context(), "echo.Say", line{"hi"}, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second) // the next sample
		var out bytes.Buffer
		c := b.config(token)
		c.Out = &out
		if err := Run(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"test server  http://console.test/console/\n", "role viewer", "1 connections, 1 sessions", "echo.Say      0.2"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("printed\n%s\nwant %q", out.String(), want)
			}
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("printed a control sequence: %q", out.String())
		}
	})
}

func TestScreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		w := &window{width: 80, height: 24}
		stop := b.start(b.config(token), w)
		synctest.Wait()
		if !strings.HasPrefix(w.output(), enter) {
			t.Errorf("wrote %q first, want the alternate screen", w.output()[:20])
		}
		w.expect(t, "0 connections", "no handler was called yet")

		p := b.srv.Connect(t)
		for range 10 {
			if err := p.Request(t.Context(), "echo.Say", line{"hi"}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(8 * time.Second)
		w.expect(t, "1 connections, 1 sessions", "echo.Say      2.0")

		before := w.output()
		w.resize(20, 5)
		time.Sleep(time.Second)
		lines := w.shown()
		if w.output() == before || len(lines) != 5 {
			t.Errorf("a terminal of 5 lines shows %q", lines)
		}
		for _, l := range lines {
			if n := columns(l); n > 20 {
				t.Errorf("a terminal of 20 columns shows %q, which has %d", l, n)
			}
		}
		if err := stop(); err != nil {
			t.Errorf("Run = %v after its context has ended, want nil", err)
		}
		if !strings.HasSuffix(w.output(), leave) {
			t.Error("the alternate screen stays")
		}
	})
}

// TestUnchanged checks that a screen without a change is not drawn again.
func TestUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		w := &window{width: 80, height: 24}
		stop := b.start(b.config(token), w)
		time.Sleep(time.Second)
		before := len(w.output())
		time.Sleep(time.Second)
		if n := len(w.output()); n != before {
			t.Errorf("wrote %d bytes in a second without a change", n-before)
		}
		_ = stop()
	})
}

func TestServerReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		w := &window{width: 100, height: 24}
		stop := b.start(b.config(token), w)
		time.Sleep(time.Second)
		b.setDown(errors.New("connection refused"))
		time.Sleep(14 * time.Second)
		w.expect(t, "NO ANSWER for 13s: connection refused", "0 connections")
		b.setFake(func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
		b.setDown(nil)
		time.Sleep(2 * time.Second)
		w.expect(t, "502 Bad Gateway")
		b.setFake(func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) })
		time.Sleep(2 * time.Second)
		w.expect(t, "is not a console")
		b.srv.Connect(t)
		b.setFake(nil)
		time.Sleep(7 * time.Second)
		w.expect(t, "1 connections", "sample of")
		if strings.Contains(strings.Join(w.shown(), "\n"), "NO ANSWER") {
			t.Error("the failure is still shown")
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestRefused checks that a token that the console does not accept ends Run, at the start
// and later.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		for _, bad := range []string{"", "other"} {
			c := b.config(bad)
			c.Terminal = &window{width: 80, height: 24}
			if err := Run(t.Context(), c); !errors.Is(err, ErrRefused) {
				t.Errorf("Run with the token %q = %v, want ErrRefused", bad, err)
			}
			if out := c.Terminal.(*window).output(); out != "" {
				t.Errorf("Run with the token %q wrote %q, want nothing", bad, out)
			}
		}
		for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
			w := &window{width: 80, height: 24}
			b.setFake(nil)
			stop := b.start(b.config(token), w)
			time.Sleep(time.Second)
			b.setFake(func(w http.ResponseWriter) { w.WriteHeader(status) })
			time.Sleep(3 * time.Second)
			if !strings.HasSuffix(w.output(), leave) {
				t.Errorf("the screen stays after the status %d", status)
			}
			if err := stop(); !errors.Is(err, ErrRefused) {
				t.Errorf("Run = %v after the status %d, want ErrRefused", err, status)
			}
		}
	})
}

func TestFirstRequestFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.setDown(errors.New("connection refused"))
		if err := Run(t.Context(), b.config(token)); err == nil || err.Error() != "connection refused" {
			t.Errorf("Run = %v, want the error of the connection", err)
		}
	})
}

// TestHangs checks that a server that does not answer does not keep Run from ending.
func TestHangs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	api, err := NewAPI(server.URL, "", transport)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-asked
		cancel()
	}()
	if err := Run(ctx, Config{API: api, Interval: time.Second, Timeout: time.Minute, Terminal: &window{width: 80, height: 24}}); err != nil {
		t.Errorf("Run = %v after its context has ended, want nil", err)
	}
}

// TestRedirect checks that the token is not sent to the target of a redirect.
func TestRedirect(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	api, err := NewAPI(server.URL, token, transport)
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), Config{API: api, Timeout: time.Minute}); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("Run = %v, want the status 307", err)
	}
}

func TestNewAPI(t *testing.T) {
	for address, want := range map[string]string{
		"localhost:3251":                   "http://localhost:3251/console/",
		"http://localhost:3251/":           "http://localhost:3251/console/",
		"https://game.example/admin":       "https://game.example/admin/",
		"https://game.example/admin/?q=1#": "https://game.example/admin/",
		"http://u:secret@[::1]:80/c/":      "http://u:xxxxx@[::1]:80/c/",
	} {
		api, err := NewAPI(address, "", nil)
		if err != nil || api.String() != want {
			t.Errorf("NewAPI(%q) = %v, %v, want %s", address, api, err, want)
		}
	}
	for _, address := range []string{"", "ws://localhost:3250/nano", "http://", "http://a b/", "%zz"} {
		if api, err := NewAPI(address, "", nil); err == nil {
			t.Errorf("NewAPI(%q) = %v, want an error", address, api)
		}
	}
}
