package testkit

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Prompt is the longest time that a well-behaved client may wait for an answer.
const Prompt = 100 * time.Millisecond * Slack

// CheckServes checks that an old and a new well-behaved client get answers within
// [Prompt]. old may be nil. One success in five tries is enough, because the machine may
// be busy.
func (s *Server) CheckServes(old *Client) {
	s.T.Helper()
	var took time.Duration
	for range 5 {
		start := time.Now()
		if old != nil {
			old.Echo(1<<40, "still here")
		}
		w, err := s.Wire()
		if err != nil {
			s.T.Fatalf("a new client: %v", err)
		}
		if err = w.Join(); err == nil {
			err = w.Echo(1, "new here")
		}
		w.Abort()
		if err != nil {
			s.T.Fatalf("a new client: %v", err)
		}
		if took = time.Since(start); took <= Prompt {
			return
		}
	}
	s.T.Errorf("well-behaved clients were answered after %v, want %v at most", took, Prompt)
}

// EachDialed connects n clients and calls f for each, 32 at a time.
func (s *Server) EachDialed(n int, f func(i int, w *Wire)) {
	s.T.Helper()
	s.run(n, s.Wire, f)
}

// EachConn is EachDialed for clients that have not asked for a WebSocket upgrade.
func (s *Server) EachConn(n int, f func(i int, w *Wire)) {
	s.T.Helper()
	s.run(n, func() (*Wire, error) {
		conn, err := s.DialConn()
		if err != nil {
			return nil, err
		}
		return NewWire(conn), nil
	}, f)
}

func (s *Server) run(n int, connect func() (*Wire, error), f func(i int, w *Wire)) {
	s.T.Helper()
	var wg sync.WaitGroup
	next := atomic.Int64{}
	for range 32 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				w, err := connect()
				if err != nil {
					s.T.Errorf("client %d: %v", i, err)
					return
				}
				f(i, w)
				w.Abort()
			}
		})
	}
	wg.Wait()
}

// Drain closes the sending side and reads until the server closes the connection.
func (w *Wire) Drain(t testing.TB) {
	if c, ok := w.Conn.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
	_ = w.Conn.SetReadDeadline(time.Now().Add(Patience))
	var n net.Error
	if _, err := io.Copy(io.Discard, w.Reader); errors.As(err, &n) && n.Timeout() {
		t.Error("the server did not end the connection")
	}
}

// CheckCloses sends each HTTP request on n connections, and checks that the server closes them.
func (s *Server) CheckCloses(n int, requests map[string]int) {
	s.T.Helper()
	if !s.IsWebSocket() {
		return
	}
	var wg sync.WaitGroup
	for request := range requests {
		for range n {
			wg.Go(func() {
				conn, err := s.DialConn()
				if err != nil {
					s.T.Error(err)
					return
				}
				w := NewWire(conn)
				defer w.Abort()
				if w.Raw([]byte(request)) != nil {
					return // the server closed it first
				}
				_ = conn.SetReadDeadline(time.Now().Add(Patience))
				if _, err := io.Copy(io.Discard, w.Reader); errors.Is(err, os.ErrDeadlineExceeded) {
					s.T.Errorf("%.40q holds its connection", request)
				}
			})
		}
	}
	wg.Wait()
}

// Together connects n clients and calls do for each, 32 at a time. Then it calls then and
// closes all clients.
func (s *Server) Together(n int, do func(i int, w *Wire), then func()) {
	s.T.Helper()
	wires := make([]*Wire, n)
	var wg sync.WaitGroup
	for k := range 32 {
		wg.Go(func() {
			for i := k; i < n; i += 32 {
				w, err := s.Wire()
				if err != nil {
					s.T.Errorf("client %d: %v", i, err)
					return
				}
				wires[i] = w
				do(i, w)
			}
		})
	}
	wg.Wait()
	then()
	for _, w := range wires {
		if w != nil {
			w.Abort()
		}
	}
}
