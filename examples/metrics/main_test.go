package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// get fetches a page of the operators' listener.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestMetrics(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	players, operators := listen(t), listen(t)
	srv := newServer()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, srv, players, operators) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("run = %v", err)
		}
	}()

	url := "http://" + operators.Addr().String()
	for range 2 {
		c, err := client.Dial(t.Context(), "ws://"+players.Addr().String()+"/nano")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 3 {
			if err := c.Request(t.Context(), "Echo.Say", []byte("hello"), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Request(t.Context(), "Echo.None", nil, nil); !errors.Is(err, &client.Error{Code: nano.CodeNotFound}) {
			t.Errorf("Echo.None = %v, want NANO-404", err)
		}
	}
	// The server counts a message after it is sent, so the figure may change a moment
	// later.
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, page := get(t, url+"/metrics")
		missing := slices.DeleteFunc([]string{
			`nano_connections 2`, `nano_sessions 2`, `nano_accepted_total 2`,
			`nano_messages_total\{direction="in"\} 8`, `nano_messages_total\{direction="out"\} 8`,
			`nano_bytes_total\{direction="in"\} 34`, `nano_bytes_total\{direction="out"\} [1-9]\d+`,
			`nano_control_total \d+`, `nano_queue_depth \d+`, `nano_queue_delay_seconds_count [1-9]\d*`, `nano_panics_total 0`,
			`nano_handler_seconds_count\{route="Echo.Say"\} 6`, `nano_handler_seconds_sum\{route="Echo.Say"\} \S*[1-9]\S*`,
			`nano_handler_max_seconds\{route="Echo.Say"\} \S*[1-9]\S*`,
			`nano_refused_total\{reason="request"\} 2`, `nano_closed_total\{reason="client"\} 0`,
			`# TYPE nano_accepted_total counter`, `# TYPE nano_sessions gauge`, `# TYPE nano_handler_seconds histogram`,
		}, func(line string) bool { return regexp.MustCompile("(?m)^" + line + "$").MatchString(page) })
		if len(missing) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("GET /metrics has no lines %s:\n%s", strings.Join(missing, ", "), page)
		}
	}
	if status, body := get(t, url+"/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("GET /healthz: %d %q, want 200 ok", status, body)
	}
	if status, body := get(t, url+"/debug/vars"); status != http.StatusOK || !strings.Contains(body, `"memstats"`) {
		t.Errorf("GET /debug/vars: %d\n%s", status, body)
	}
	var figures struct {
		Sessions int
		Routes   map[string]struct{ Count int }
	}
	if err := json.Unmarshal([]byte(vars(srv).String()), &figures); err != nil {
		t.Fatal(err)
	}
	if figures.Sessions != 2 || figures.Routes["Echo.Say"].Count != 6 {
		t.Errorf("the figures for expvar are %+v, want 2 sessions and 6 calls of Echo.Say", figures)
	}
}

func TestRunEndsWithItsListeners(t *testing.T) {
	for i := range 2 {
		listeners := [2]net.Listener{listen(t), listen(t)}
		_ = listeners[i].Close()
		ended := make(chan error, 1)
		go func() { ended <- run(t.Context(), newServer(), listeners[0], listeners[1]) }()
		select {
		case err := <-ended:
			// The program may close the listeners for players, but not the listener for
			// operators.
			if i == 1 && !errors.Is(err, net.ErrClosed) {
				t.Errorf("without a listener for operators, run = %v, want net.ErrClosed", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("run goes on without one of its listeners")
		}
	}
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		check := func(want int) {
			t.Helper()
			start := time.Now()
			w := httptest.NewRecorder()
			health(srv).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
			if w.Code != want {
				t.Errorf("GET /healthz: %d %s, want %d", w.Code, w.Body, want)
			}
			if took := time.Since(start); took > healthy {
				t.Errorf("GET /healthz takes %v, want %v at most", took, healthy)
			}
		}
		check(http.StatusServiceUnavailable) // before the start
		if err := srv.Start(); err != nil {
			t.Fatal(err)
		}
		check(http.StatusOK)
		held := make(chan struct{})
		srv.Invoke(func() { <-held })
		check(http.StatusServiceUnavailable)
		close(held)
		synctest.Wait()
		check(http.StatusOK)
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(http.StatusServiceUnavailable)
	})
}
