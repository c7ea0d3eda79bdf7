package nano

import (
	"context"
	"maps"
	"net"
	"slices"

	"github.com/lonng/nano/internal/listen"
)

// open starts the server if needed and registers a listener, which Shutdown then closes.
// The caller calls release when it no longer uses the listener.
func (s *Server) open(l net.Listener) (release func(), err error) {
	if err := s.Start(); err != nil {
		_ = l.Close()
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateRunning {
		_ = l.Close()
		return nil, ErrServerClosed
	}
	s.listeners[&l] = struct{}{}
	s.serving.Add(1)
	return func() {
		_ = l.Close()
		s.mu.Lock()
		delete(s.listeners, &l)
		s.mu.Unlock()
		s.serving.Done()
	}, nil
}

// Serve accepts TCP clients on l, over TLS if the server has a certificate. It starts the
// server if needed, blocks until Shutdown, and then returns nil. l may be any listener.
// Serve closes it before it returns.
func (s *Server) Serve(l net.Listener) error {
	release, err := s.open(l)
	if err != nil {
		return err
	}
	defer release()
	return listen.Accept(s.patient(l), s.hub.Accept)
}

// patient returns l with an Accept that waits and tries again after a temporary error.
func (s *Server) patient(l net.Listener) net.Listener {
	return listen.Retry(l, s.closing, s.log, s.hub.AcceptFailed)
}

// closeListeners closes the listeners. The channel is closed when all pages that were
// being served are done; when ctx ends, their connections are closed.
func (s *Server) closeListeners(ctx context.Context) <-chan struct{} {
	s.mu.Lock()
	listeners, servers := slices.Collect(maps.Keys(s.listeners)), slices.Collect(maps.Keys(s.https))
	s.mu.Unlock()
	for _, l := range listeners {
		_ = (*l).Close()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, h := range servers {
			if h.Shutdown(ctx) != nil {
				_ = h.Close()
			}
		}
	}()
	return done
}
