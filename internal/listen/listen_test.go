package listen_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano/internal/listen"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a listener whose Accept returns the given connections and errors.
type scripted struct {
	next chan any

	mu sync.Mutex
	at []time.Duration // times of the calls of Accept, since start

	start time.Time
}

func newScripted(script ...any) *scripted {
	l := &scripted{next: make(chan any, 100), start: time.Now()}
	for _, s := range script {
		l.next <- s
	}
	return l
}

func (l *scripted) Accept() (net.Conn, error) {
	l.mu.Lock()
	l.at = append(l.at, time.Since(l.start))
	l.mu.Unlock()
	switch v := (<-l.next).(type) {
	case error:
		return nil, v
	case net.Conn:
		return v, nil
	}
	return nil, net.ErrClosed
}

func (l *scripted) Close() error   { close(l.next); return nil }
func (l *scripted) Addr() net.Addr { return &net.TCPAddr{} }

// passing is a temporary error, as for a process without a free file descriptor.
type passing struct{ error }

func (passing) Temporary() bool { return true }

type lasting struct{ error }

func (lasting) Temporary() bool { return false }

func accept(l net.Listener, closing chan struct{}, serve func(net.Conn)) (log string, err error) {
	var buf bytes.Buffer
	failed := 0
	l = listen.Retry(l, closing, slog.New(slog.NewTextHandler(&buf, nil)), func() { failed++ })
	err = listen.Accept(l, serve)
	if n := strings.Count(buf.String(), "accept failed"); n != failed {
		err = fmt.Errorf("%d faults were counted and %d logged", failed, n)
	}
	return buf.String(), err
}

func TestAccept(t *testing.T) {
	a, b := net.Pipe()
	l := newScripted(a, b)
	var served []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		if log, err := accept(l, make(chan struct{}), func(c net.Conn) {
			served = append(served, c)
			if len(served) == 2 {
				_ = l.Close()
			}
		}); err != nil || log != "" {
			t.Errorf("Accept of a listener that was closed = %v, logged %q, want nil and nothing", err, log)
		}
	}()
	<-done
	if !slices.Equal(served, []net.Conn{a, b}) {
		t.Errorf("served %v, want both connections in order", served)
	}
}

func TestClosedListenerIsNoError(t *testing.T) {
	wrapped := &net.OpError{Op: "accept", Err: net.ErrClosed}
	if log, err := accept(newScripted(wrapped), make(chan struct{}), nil); err != nil || log != "" {
		t.Errorf("Accept = %v, logged %q, want nil and nothing", err, log)
	}
}

func TestErrorWhileClosingIsNone(t *testing.T) {
	closing := make(chan struct{})
	close(closing)
	for _, fault := range []error{errors.New("broken"), passing{errors.New("no descriptor")}} {
		if log, err := accept(newScripted(fault), closing, nil); err != nil || log != "" {
			t.Errorf("Accept = %v, logged %q after %v, want nil and nothing", err, log, fault)
		}
	}
}

func TestLastingErrorIsReturned(t *testing.T) {
	for _, fault := range []error{errors.New("broken"), lasting{errors.New("broken")}} {
		_, err := accept(newScripted(fault), make(chan struct{}), nil)
		if !errors.Is(err, fault) || !strings.HasPrefix(err.Error(), "nano: accept: ") {
			t.Errorf("Accept = %v, want one that wraps %v and says where", err, fault)
		}
	}
}

// TestFaultsOfOneConnection checks that an error of a single connection is not an error
// of the listener, even if the system does not call it temporary.
func TestFaultsOfOneConnection(t *testing.T) {
	for _, fault := range []syscall.Errno{syscall.ECONNABORTED, syscall.EPROTO, syscall.EPERM, syscall.EHOSTUNREACH, syscall.ENOBUFS, syscall.ENOMEM} {
		conn, _ := net.Pipe()
		l := newScripted(&net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", fault)}, conn)
		log, err := accept(l, make(chan struct{}), func(net.Conn) { _ = l.Close() })
		if err != nil || !strings.Contains(log, "accept failed") {
			t.Errorf("Accept = %v after %v, logged %q, want nil and a line", err, fault, log)
		}
	}
}

// TestPassingErrorIsWaitedOut checks that Serve waits after a temporary error, longer
// each time, and for a short time again after a connection.
func TestPassingErrorIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := passing{errors.New("too many open files")}
		conn, _ := net.Pipe()
		l := newScripted(full, full, full, conn, full, full, full, full, full, full, full, full, full, full)
		served := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			log, err := accept(l, make(chan struct{}), func(net.Conn) { served++ })
			if err != nil || strings.Count(log, "too many open files") != 13 {
				t.Errorf("Accept = %v, logged %s, want nil and 13 lines with the fault", err, log)
			}
		}()
		time.Sleep(time.Minute)
		_ = l.Close()
		<-done
		var waits []time.Duration
		for i, at := range l.at[1:] {
			waits = append(waits, (at-l.at[i])/time.Millisecond)
		}
		want := []time.Duration{5, 10, 20, 0, 5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000}
		if served != 1 || !slices.Equal(waits, want) {
			t.Errorf("%d connections served, waits of %d ms, want 1 and %d", served, waits, want)
		}
	})
}

func TestClosingEndsAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := passing{errors.New("too many open files")}
		l := newScripted(slices.Repeat([]any{full}, 20)...)
		closing, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			if _, err := accept(l, closing, nil); err != nil {
				t.Errorf("Accept = %v, want nil", err)
			}
		}()
		time.Sleep(1500 * time.Millisecond)
		start := time.Now()
		close(closing)
		<-done
		if took := time.Since(start); took != 0 {
			t.Errorf("Accept returned %v after closing, want at once", took)
		}
	})
}

// TestAcceptOverTCP is TestTemporary over a real socket.
func TestAcceptOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served, done := make(chan net.Conn), make(chan struct{})
	go func() {
		defer close(done)
		if _, err := accept(l, make(chan struct{}), func(c net.Conn) { served <- c }); err != nil {
			t.Errorf("Accept = %v, want nil", err)
		}
	}()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := <-served
	if conn.RemoteAddr().String() != client.LocalAddr().String() {
		t.Errorf("served a connection from %v, want from %v", conn.RemoteAddr(), client.LocalAddr())
	}
	_ = conn.Close()
	_ = client.Close()
	_ = l.Close()
	<-done
}
