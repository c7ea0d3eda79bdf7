package nano

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/lonng/nano/scheduler"
)

// standard is the state of Listen.
var standard listenState

// listenState lets one Listen run at a time, and ends it.
type listenState struct {
	mu      sync.Mutex
	running bool          // mu guards it and the fields below
	asked   chan struct{} // closed by stop; nil once it is
}

// enter begins a Listen, whose stop channel it returns. It reports false if another one
// runs.
func (l *listenState) enter() (stop <-chan struct{}, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running {
		return nil, false
	}
	l.running, l.asked = true, make(chan struct{})
	return l.asked, true
}

// leave ends a Listen.
func (l *listenState) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running, l.asked = false, nil
}

// stop asks the running Listen to end, if there is one.
func (l *listenState) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked != nil {
		close(l.asked)
		l.asked = nil
	}
}

// ports are the listeners of a Listen.
type ports struct {
	nodes   net.Listener // where other nodes dial; nil if the server is not a node
	clients net.Listener // where clients connect; nil for none
}

// bind opens the ports that Listen needs. A server that is not a node has one, for clients.
func (o *options) bind(addr string) (p ports, err error) {
	clients := o.listen.clientAddr
	if o.cluster.joined {
		if p.nodes, err = net.Listen("tcp", addr); err != nil {
			return ports{}, err
		}
	} else if clients == "" {
		clients = addr
	}
	if clients == "" && o.cluster.joined {
		return p, nil
	}
	if p.clients, err = net.Listen("tcp", clients); err != nil {
		p.close()
		return ports{}, err
	}
	return p, nil
}

// close closes the ports. Those that are closed stay closed.
func (p ports) close() {
	for _, l := range []net.Listener{p.nodes, p.clients} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// errNoWebSocket is returned by Listen for a WebSocket path that no client could use.
var errNoWebSocket = errors.New("nano: WithWSPath: want WithWebSocket(path) instead, or WithIsWebsocket(true) too: " +
	"Listen accepts TCP clients otherwise")

// checkListen returns the faults of options that only Listen uses.
func (o *options) checkListen() error {
	if o.web.ownPath && !o.web.enabled {
		return errNoWebSocket
	}
	return nil
}

// listen runs the server until stop is closed, a signal comes or the context ends.
func (s *Server) listen(addr string, stop <-chan struct{}) error {
	if err := errors.Join(s.fault, s.opts.checkListen()); err != nil {
		scheduler.Close()
		return err
	}
	var ended <-chan struct{}
	if ctx := s.opts.listen.ctx; ctx != nil {
		if ended = ctx.Done(); ctx.Err() != nil {
			scheduler.Close()
			return nil
		}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)

	p, err := s.opts.bind(addr)
	if err != nil {
		scheduler.Close()
		return fmt.Errorf("nano: Listen: %w", err)
	}
	defer p.close()
	failed := make(chan error, 1)
	go func() { failed <- s.startOn(p) }()
	for started := false; ; started = true {
		select {
		case sig := <-signals:
			signal.Stop(signals) // the next one ends the process
			s.log.Info("nano: shutting down; a second signal ends the process at once", "signal", sig.String())
		case <-stop:
			s.log.Info("nano: shutting down")
		case <-ended:
			s.log.Info("nano: shutting down", "reason", context.Cause(s.opts.listen.ctx).Error())
		case err = <-failed:
			switch {
			case !started && err != nil:
				scheduler.Close()
				return err
			case !started && p.clients != nil:
				go func() { failed <- s.serveClients(p.clients) }()
				continue
			case !started:
				continue
			}
		}
		break
	}
	return s.endListen(err)
}

// startOn starts the server, as a node if it has a port for other nodes.
func (s *Server) startOn(p ports) error {
	if p.nodes != nil {
		return s.StartCluster(p.nodes)
	}
	return s.Start()
}

// serveClients accepts clients on l until Shutdown.
func (s *Server) serveClients(l net.Listener) error {
	s.log.Info("nano: listening", "address", l.Addr().String(), "websocket", s.opts.web.enabled)
	if !s.opts.web.enabled {
		return s.Serve(l)
	}
	if s.fallback == nil {
		s.fallback = &publicMux{mux: http.DefaultServeMux, log: s.log}
	}
	return s.ServeWebSocket(l)
}

// endListen shuts the server and the default scheduler down. It returns the first error,
// which may be the given one.
func (s *Server) endListen(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.shutdownTimeout)
	defer cancel()
	for _, end := range []func(context.Context) error{s.Shutdown, scheduler.Shutdown} {
		if e := end(ctx); err == nil {
			err = e
		}
	}
	return err
}
