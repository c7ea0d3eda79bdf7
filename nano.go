// Package nano is a networking library for game servers. Register components, whose exported methods become
// handlers of the messages that clients send; call Listen; and push to players through their sessions.
//
//	type Room struct{ component.Base }
//
//	func (r *Room) Join(s *session.Session, req *JoinRequest) (*JoinReply, error) { ... }
//
//	func main() {
//		components := &component.Components{}
//		components.Register(&Room{})
//		if nano.Listen(":3250", nano.WithComponents(components)) != nil {
//			os.Exit(1) // Listen has logged why
//		}
//	}
//
// Clients speak a small binary protocol over TCP or WebSocket; the request of the route "Room.Join" runs the method
// Join. Which methods are handlers is told by component.Handler.
//
// # The logic goroutine
//
// One goroutine runs all handlers, timers and close callbacks of a server, one after the other, so game logic needs no
// locks, and must not block: slow work runs elsewhere and comes back with Invoke. The messages of one session run in the
// order in which they were sent. Decoding, hooks and writing happen on other goroutines.
//
// # Servers
//
// The functions of this package serve one default server, that of Listen. New makes servers of their own, as many as a
// process needs, on any net.Listener or http mux. Package nanotest runs one in memory, for tests.
//
// # Sending
//
// A handler answers with what it returns, or with session.Session.Response; Push sends to a session at any time, a Group
// to many at once, and Server.Push to a user. None of them waits for the network.
package nano

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/pkg/errors"

	"github.com/lonng/nano/scheduler"
)

// VERSION is the version of the library.
var VERSION = "1.0.0"

var (
	standardMu sync.Mutex // guards what follows, the state of Listen
	listening  bool
	asked      chan struct{} // closed by Shutdown
)

// Listen serves clients at addr, such as ":3250", and blocks until the process gets SIGINT or SIGTERM, or Shutdown is
// called; then it shuts down as Server.Shutdown does and returns nil. With WithIsWebsocket, what the program
// registered on http.DefaultServeMux is served on the same address.
//
// With WithMaster, WithAdvertiseAddr, WithServiceAddr, WithClientAddr or WithClusterSecret the server is a node of a
// cluster: addr is then where other nodes dial it, and clients connect to the address of WithClientAddr, if there is one.
//
// An error that it returns is logged too. It may be called again when it has returned; while it runs, another call
// returns ErrRunning.
func Listen(addr string, opts ...Option) error {
	standardMu.Lock()
	if listening {
		standardMu.Unlock()
		newOptions(opts).logger().Error("nano: Listen", "error", ErrRunning)
		return ErrRunning
	}
	listening = true
	asked = make(chan struct{})
	s := newServer(scheduler.Default(), opts)
	stop := asked
	standardMu.Unlock()

	err := s.listen(addr, stop)

	standardMu.Lock()
	asked, listening = nil, false
	standardMu.Unlock()
	if err != nil {
		s.log.Error("nano: Listen", "error", err.Error()) // the text alone: a wrapped error prints its stack
	}
	return err
}

func (s *Server) listen(addr string, stop <-chan struct{}) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)

	players, err := s.startAt(addr)
	if err != nil {
		scheduler.Close()
		return err
	}
	failed := make(chan error, 1)
	if players != "" {
		err = s.admit(players, failed)
	}
	if err == nil {
		select {
		case sig := <-signals:
			s.log.Info("nano: shutting down", "signal", sig.String())
		case <-stop:
			s.log.Info("nano: shutting down")
		case err = <-failed:
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.shutdownTimeout)
	defer cancel()
	if e := s.Shutdown(ctx); err == nil {
		err = e
	}
	if e := scheduler.Shutdown(ctx); err == nil {
		err = e
	}
	return err
}

// startAt starts the server, as a node at addr if an option says so, and returns the address for players, "" for none.
func (s *Server) startAt(addr string) (players string, err error) {
	if !s.opts.cluster.joined {
		return addr, s.Start()
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", errors.Wrap(err, "nano: Listen")
	}
	return s.opts.cluster.clientAddr, s.StartCluster(l)
}

// admit serves players at addr; an error of serving goes to failed.
func (s *Server) admit(addr string, failed chan<- error) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return errors.Wrap(err, "nano: Listen")
	}
	serve := s.Serve
	if s.opts.websocket {
		serve = s.ServeWebSocket
		s.fallback = http.DefaultServeMux
	}
	s.log.Info("nano: listening", "address", l.Addr().String(), "websocket", s.opts.websocket)
	go func() { failed <- serve(l) }()
	return nil
}

// Shutdown asks the server of Listen to shut down, and returns at once, so a handler may call it: Listen returns when
// it is done. Without a server, or when it was asked before, it does nothing.
func Shutdown() {
	standardMu.Lock()
	defer standardMu.Unlock()
	if asked != nil {
		close(asked)
		asked = nil
	}
}

// Invoke runs f on the logic goroutine of the server of Listen. It never blocks and may be called from anywhere.
func Invoke(f func()) { scheduler.Invoke(f) }
