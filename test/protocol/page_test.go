package protocol_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/pipenet"
	"github.com/lonng/nano/internal/testkit"
)

// TestSlowPage checks that a page of the program may take longer than a handshake.
func TestSlowPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Minute)
			_, _ = io.WriteString(w, "a page at last")
		})
		s := testkit.NewServer(&testkit.Game{}, nano.WithHTTPHandler(page))
		testkit.ShutdownAtEnd(t, s)
		at := testkit.Serve(t, s, "wspipe")
		conn, err := at.DialConn()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(conn)
		if err != nil || !strings.HasSuffix(string(b), "a page at last") {
			t.Errorf("%q, %v, want the page", b, err)
		}
	})
}

// pages starts a WebSocket server in fake time that also serves a page. It returns a
// function that connects.
func pages(t *testing.T, opts ...nano.Option) (dial func() *testkit.Client, s *nano.Server) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a page") })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Minute)
		_, err := io.Copy(w, r.Body)
		if err == nil {
			_, err = io.WriteString(w, "a page at last")
		}
		if err != nil {
			t.Errorf("a page: %v", err)
		}
	})
	s = testkit.NewServer(&testkit.Game{}, append([]nano.Option{nano.WithHTTPHandler(mux)}, opts...)...)
	testkit.ShutdownAtEnd(t, s)
	at := testkit.Serve(t, s, "wspipe")
	return func() *testkit.Client {
		t.Helper()
		conn, err := at.DialConn()
		if err != nil {
			t.Fatal(err)
		}
		p := testkit.NewClient(t, conn)
		p.Patience = time.Hour
		t.Cleanup(p.Abort)
		return p
	}, s
}

// TestRequestWithoutItsBody checks that a client that announces a body and does not send
// it gets an answer and is closed.
func TestRequestWithoutItsBody(t *testing.T) {
	for request, want := range testkit.RequestsWithoutBody() {
		synctest.Test(t, func(t *testing.T) {
			dial, _ := pages(t, nano.WithMaxConnections(1), nano.WithSameOrigin())
			p := dial()
			start := time.Now()
			if err := p.Raw([]byte(request)); err != nil {
				t.Fatal(err)
			}
			if got, err := p.ReadStatus(); got != want || err != nil {
				t.Errorf("%q was answered with status %d, %v, want %d", request, got, err, want)
			}
			_, err := io.ReadAll(p.Reader)
			if took := time.Since(start); took > 6*time.Second {
				t.Errorf("%q: the connection ended after %v, %v, want 5s at most", request, took, err)
			}
			synctest.Wait()
			next := dial()
			if err := next.Upgrade("/"); err != nil {
				t.Fatalf("after %q there is no room: %v", request, err)
			}
			next.Join()
			next.Echo(1, "hello")
		})
	}
}

// TestAnswersNeverRead checks that a client that sends requests without reading the
// answers is closed.
func TestAnswersNeverRead(t *testing.T) {
	for _, request := range []string{
		"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "junk\r\n\r\n", testkit.UpgradeRequest("/"),
	} {
		synctest.Test(t, func(t *testing.T) {
			dial, _ := pages(t, nano.WithMaxConnections(1))
			p := dial()
			start := time.Now()
			for time.Since(start) < time.Minute {
				if p.Raw([]byte(request)) != nil {
					break
				}
			}
			if took := time.Since(start); took > 11*time.Second {
				t.Errorf("%q: the connection ended after %v, want 5s or so", request, took)
			}
			synctest.Wait()
			next := dial()
			if err := next.Upgrade("/"); err != nil {
				t.Fatalf("after %q there is no room: %v", request, err)
			}
		})
	}
}

// TestShutdownWithPagesOpen checks that a shutdown does not wait for connections without
// a completed handshake, but waits for a page that is being served.
func TestShutdownWithPagesOpen(t *testing.T) {
	const get = "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n"
	for name, do := range map[string]func(p *testkit.Client){
		"silence":     func(*testkit.Client) {},
		"half a head": func(p *testkit.Client) { _ = p.Raw([]byte(get)) },
		"no body": func(p *testkit.Client) {
			_ = p.Raw([]byte(get + "Content-Length: 1000\r\n\r\n"))
			_, _ = p.ReadStatus()
		},
		"not read":  func(p *testkit.Client) { _ = p.Raw([]byte(get + "\r\n")) },
		"an answer": func(p *testkit.Client) { _ = p.Raw([]byte(get + "\r\n")); _, _ = p.ReadStatus() },
		"a second head": func(p *testkit.Client) {
			_ = p.Raw([]byte(get + "\r\n"))
			_, _ = p.ReadStatus()
			_ = p.Raw([]byte(get))
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			dial, s := pages(t)
			do(dial())
			synctest.Wait()
			start := time.Now()
			if err := s.Shutdown(context.Background()); err != nil {
				t.Errorf("Shutdown = %v", err)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("after %s, Shutdown took %v", name, took)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		dial, s := pages(t)
		p := dial()
		if err := p.Raw([]byte("POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(context.Background()) }()
		time.Sleep(2 * time.Minute)
		if err := p.Raw([]byte("body")); err != nil { // the page may wait for it without a limit
			t.Fatal(err)
		}
		if got, err := p.ReadStatus(); got != http.StatusOK || err != nil {
			t.Errorf("the page's status is %d, %v", got, err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	})
}

// closing is a connection that reports when the server has closed it.
type closing struct {
	net.Conn
	closed func()
}

func (c *closing) Close() error {
	c.closed()
	return c.Conn.Close()
}

// TestSlowUpgradeOverTLS checks that a TLS handshake and the request after it have one
// common deadline.
func TestSlowUpgradeOverTLS(t *testing.T) {
	for _, test := range []struct{ hello, head, shake time.Duration }{
		{time.Hour, 0, 0}, {6 * time.Second, time.Hour, 0}, {4 * time.Second, 4 * time.Second, time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := testkit.NewServer(&testkit.Game{}, nano.WithTLSConfig(&tls.Config{Certificates: []tls.Certificate{testkit.Certificate()}}))
			testkit.ShutdownAtEnd(t, s)
			m := pipenet.New()
			served := make(chan error, 1)
			go func() { served <- s.ServeWebSocket(m) }()
			client, server := net.Pipe()
			over := make(chan struct{})
			if err := m.Deliver(t.Context(), &closing{server, sync.OnceFunc(func() { close(over) })}); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			// step waits for its turn, and reports whether the connection is still open.
			step := func(d time.Duration) bool {
				select {
				case <-over:
					return false
				case <-time.After(d):
					return true
				}
			}
			c := tls.Client(client, &tls.Config{RootCAs: testkit.Roots(), ServerName: "localhost"})
			w := testkit.NewWire(c)
			if step(test.hello) && c.Handshake() == nil && step(test.head) && w.Upgrade("/") == nil && step(test.shake) {
				t.Errorf("%v: a client was waited for", test)
			}
			<-over
			if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
				t.Errorf("%v: closed after %v, want 10s", test, took)
			}
			_ = client.Close()
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if err := <-served; err != nil {
				t.Errorf("ServeWebSocket = %v", err)
			}
		})
	}
}
