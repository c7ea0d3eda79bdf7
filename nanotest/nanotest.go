package nanotest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/scheduler"
)

// shutdownTimeout bounds the end of a server. A test that holds the logic goroutine for longer has a fault.
const shutdownTimeout = 10 * time.Second

// Server is a server that runs for one test. Its methods may be called concurrently.
type Server struct {
	*nano.Server
	// Listener is where players connect. Tests that speak to the server in bytes of their own dial it.
	Listener *Listener

	t testing.TB
}

// Start starts a server with the given options, and fails the test at once if it does not start. When the test ends,
// the server shuts down, and the test fails unless every goroutine of it ends within 10 s. The server's log is shown
// with the test, unless an option sets another logger.
//
// Package functions such as nano.Invoke do not use this server: see [StartDefault].
func Start(t testing.TB, opts ...nano.Option) *Server {
	t.Helper()
	log := &logger{w: t.Output()}
	opts = append([]nano.Option{nano.WithLogger(log)}, opts...)
	s := &Server{Server: nano.New(opts...), Listener: Listen(), t: t}
	if err := s.Start(); err != nil {
		t.Fatalf("nanotest: Start = %v", err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(s.Listener) }()
	t.Cleanup(func() {
		defer log.stop() // writing for a test that has ended panics
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("nanotest: Shutdown = %v", err)
		}
		// A test that shuts the server down itself may be faster than Serve.
		if err := <-served; err != nil && !errors.Is(err, nano.ErrServerClosed) {
			t.Errorf("nanotest: Serve = %v", err)
		}
	})
	return s
}

// StartDefault is [Start] with a server that is the default one for the time of the test: package functions such as
// nano.Invoke and scheduler.NewTimer work on its logic goroutine, as in a program that calls nano.Listen. A process has one
// default server, so StartDefault panics in a parallel test, as [testing.T.Setenv] does.
func StartDefault(t testing.TB, opts ...nano.Option) *Server {
	t.Helper()
	t.Setenv("NANOTEST_DEFAULT_SERVER", "1") // panics in a parallel test, and keeps the test from becoming one
	return Start(t, append(slices.Clip(opts), nano.WithScheduler(scheduler.Default()))...)
}

// Connect connects a player, and fails the test at once if the server does not let it in. When it returns, the server
// has the session and may push to it. The player closes when the test t ends, which may be a subtest of the server's.
//
// If the server has nano.WithResume, the player asks for it, and connects again within milliseconds when its connection
// is lost. Options of the test come after that.
func (s *Server) Connect(t testing.TB, opts ...client.Option) *Player {
	t.Helper()
	p := &Player{t: t, srv: s}
	opts = append(s.resumeOptions(), opts...)
	// This hook runs after the hooks of the test, so it records the messages that they
	// have changed.
	opts = append(slices.Clip(opts), client.WithInbound(p.record))
	c, err := s.connect(t.Context(), &p.network, opts)
	if err != nil {
		t.Fatalf("nanotest: Connect = %v", err)
	}
	p.Client = c
	t.Cleanup(func() { _ = c.Close() }) // the test does not depend on unsent data
	return p
}

// resumeOptions returns the options of a client that resumes, if the server lets it.
func (s *Server) resumeOptions() []client.Option {
	if s.Stats().Resume.Window <= 0 {
		return nil
	}
	soon := client.Reconnect{Wait: func(int) time.Duration { return time.Millisecond }}
	return []client.Option{client.WithResume(), client.WithReconnect(soon)}
}

// Dial connects a client as client.Dial does, and returns its error: a refused handshake is a
// *client.HandshakeError. The caller closes the client.
func (s *Server) Dial(ctx context.Context, opts ...client.Option) (*client.Client, error) {
	return s.connect(ctx, &network{}, opts)
}

// connect is Dial for a client that connects over n.
func (s *Server) connect(ctx context.Context, n *network, opts []client.Option) (*client.Client, error) {
	n.listener = s.Listener
	c, err := client.Dial(ctx, s.Listener.Addr().String(), append([]client.Option{client.WithDialer(n.dial)}, opts...)...)
	if err != nil {
		return nil, err
	}
	// The client is ready when it has sent its ack. So that the server may push to it at once, wait for the other side, too.
	if conn := n.latest(); conn != nil { // else an option of the test has its own way to connect
		select {
		case <-conn.entered:
		case <-c.Done():
		}
	}
	return c, nil
}

// Do runs f on the logic goroutine and returns when it is done. So a test may read the data of handlers. A panic in f,
// and a server that is shut down, are errors of the test. f must not end its goroutine, so it reports with t.Error and
// not with t.Fatal. A handler does not call Do: it would wait for itself.
func (s *Server) Do(f func()) {
	s.t.Helper()
	done := make(chan struct{})
	fault := "the function ended the logic goroutine"
	accepted := s.Scheduler().Invoke(func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				fault = fmt.Sprintf("panic: %v", p)
			}
		}()
		f()
		fault = ""
	})
	if !accepted {
		s.t.Error("nanotest: Do: the server is shut down")
		return
	}
	<-done
	if fault != "" {
		s.t.Errorf("nanotest: Do: %s", fault)
	}
}

// logger writes the log of a server to the output of its test. It is a nano.Logger, of which servers use Println.
type logger struct {
	mu sync.Mutex
	w  io.Writer // mu guards it; nil when the test has ended
}

func (l *logger) Println(v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w != nil {
		fmt.Fprintln(l.w, v...)
	}
}

func (l *logger) Fatal(v ...any)                 { l.Println(v...) }
func (l *logger) Fatalf(format string, v ...any) { l.Println(fmt.Sprintf(format, v...)) }

func (l *logger) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w = nil
}
