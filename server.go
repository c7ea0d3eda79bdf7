package nano

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/errors"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/agent"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/listen"
	"github.com/lonng/nano/internal/logsample"
	"github.com/lonng/nano/internal/relay"
	"github.com/lonng/nano/internal/snowflake"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

// Server is one game server: its components, its logic goroutine and its clients. Several may live in one process.
// Its methods may be called concurrently.
type Server struct {
	opts  *options
	log   *slog.Logger
	fault error // of the options; Start returns it

	sched    *scheduler.Scheduler
	dispatch *dispatch.Dispatcher
	hub      *agent.Hub
	broker   *relay.Broker
	fallback http.Handler // serves what is not a WebSocket, on listeners of ServeWebSocket; nil for none

	clusterListener net.Listener // where other nodes dial; nil for none

	mu        sync.Mutex
	state     serverState // mu guards it and what follows
	startErr  error
	listeners map[net.Listener]struct{}
	https     map[*http.Server]struct{}

	ready   atomic.Bool    // clients are accepted
	started chan struct{}  // closed when Start has ended
	closing chan struct{}  // closed when Shutdown begins
	stopped chan struct{}  // closed when it has ended
	serving sync.WaitGroup // Serve and ServeWebSocket
	watch   sync.WaitGroup
}

type serverState int

const (
	stateNew serverState = iota
	stateStarting
	stateRunning
	stateClosed
)

// New makes a server. It opens nothing and starts nothing; faults of the options are reported by Start.
func New(opts ...Option) *Server { return newServer(nil, opts) }

// newServer makes a server with a scheduler of its own, or with the given one.
func newServer(sched *scheduler.Scheduler, opts []Option) *Server {
	o := newOptions(opts)
	s := &Server{
		opts:      o,
		log:       logsample.Log(o.logger()),
		listeners: map[net.Listener]struct{}{},
		https:     map[*http.Server]struct{}{},
		started:   make(chan struct{}),
		closing:   make(chan struct{}),
		stopped:   make(chan struct{}),
	}
	switch {
	case o.scheduler != nil:
		s.sched = o.scheduler
	case sched != nil:
		s.sched = sched
	default:
		s.sched = scheduler.New(scheduler.Stopped())
	}
	s.fault = s.build()
	return s
}

// build makes the parts of the server out of the options.
func (s *Server) build() error {
	o := s.opts
	dictionary, err := o.check()
	if err != nil {
		return err
	}
	ids, err := snowflake.New(o.nodeID)
	if err != nil {
		return err
	}
	inbound, outbound := hooks(o.pipeline)
	s.dispatch = dispatch.New(dispatch.Config{
		Log:        s.log,
		Serializer: o.serializer,
		Inbound:    inbound,
		Dictionary: dictionary,
		Scheduler:  s.sched,
		Slow:       o.slowHandler,
		Debug:      o.debug,
	})
	for _, c := range o.components {
		if err := s.dispatch.Add(c.Comp, c.Opts); err != nil {
			return errors.Wrap(err, "nano: WithComponents")
		}
	}
	s.broker = s.newBroker()
	newID := ids.Next
	if s.broker.Clustered() {
		n := &numbers{server: s}
		n.last.Store(&numbering{o.nodeID, ids})
		newID = n.next
	}
	var bound func(*session.Session, []*session.Session)
	if o.singleLogin {
		bound = s.replace
	}
	s.hub, err = agent.NewHub(agent.Config{
		Log:              s.log,
		Dispatcher:       s.dispatch,
		Serializer:       o.serializer,
		Dictionary:       dictionary,
		Outbound:         outbound,
		NewID:            newID,
		Heartbeat:        o.heartbeat,
		HandshakeTimeout: o.handshakeTimeout,
		Validator:        o.validator,
		UserData:         o.userData,
		MaxPacket:        o.maxPacket,
		MaxPending:       o.maxPending,
		MaxQueued:        o.maxQueued,
		RefuseAtFull:     o.refuseAtFull,
		TLS:              o.tlsConfig,
		Limits:           o.limits,
		CheckOrigin:      o.mayConnect,
		Bound:            bound,
		Cluster:          s.broker,
		Debug:            o.debug,
	})
	if err != nil {
		return errors.Wrap(err, "nano: WithDictionary")
	}
	s.sched.Configure(
		scheduler.WithLogger(s.log),
		scheduler.WithSlow(o.slowHandler),
		scheduler.WithPrecision(o.timerPrecision),
		scheduler.WithBatch(s.hub.Begin, s.hub.End),
	)
	return nil
}

// hooks returns the channels of a pipeline; nil where there is none, so that messages without hooks cost nothing.
func hooks(p pipeline.Pipeline) (inbound, outbound pipeline.Channel) {
	if p == nil {
		return nil, nil
	}
	return p.Inbound(), p.Outbound()
}

// Start starts the logic goroutine and runs Init and then AfterInit of every component on it, in the order of
// registration. Serve and ServeWebSocket do so themselves. Starting again does nothing and returns what the first
// Start returned; after Shutdown it is ErrServerClosed.
func (s *Server) Start() error {
	s.mu.Lock()
	state := s.state
	if state == stateNew {
		s.state = stateStarting
	}
	s.mu.Unlock()
	if state == stateNew {
		s.start()
	}
	<-s.started
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.startErr == nil && s.state == stateClosed {
		return ErrServerClosed
	}
	return s.startErr
}

// start leaves the server running, or closed with startErr set.
func (s *Server) start() {
	defer close(s.started)
	err := s.fault
	if err == nil && s.broker.Clustered() && s.clusterListener == nil {
		err = errNoClusterListener
	}
	if err != nil && s.clusterListener != nil {
		_ = s.clusterListener.Close()
	}
	if err == nil {
		s.sched.Start()
		s.hub.Start()
		if err = s.initComponents(); err == nil {
			err = s.join()
		} else if s.clusterListener != nil {
			_ = s.clusterListener.Close()
		}
		if err != nil {
			s.sched.Close()
			s.hub.Stop()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.state, s.startErr = stateClosed, err
		close(s.closing)
		close(s.stopped)
		return
	}
	s.state = stateRunning
	s.ready.Store(true)
	s.watch.Add(1)
	go s.watchStuck()
}

func (s *Server) initComponents() error {
	services := s.dispatch.Services()
	for _, step := range []struct {
		name string
		run  func(component.Component)
	}{{"Init", component.Component.Init}, {"AfterInit", component.Component.AfterInit}} {
		for i, c := range s.opts.components {
			if err := s.lifecycle(context.Background(), services[i].Name+"."+step.name, c.Comp, step.run); err != nil {
				return err
			}
		}
	}
	return nil
}

// lifecycle runs one step of a component on the logic goroutine and waits for it; a panic is an error.
func (s *Server) lifecycle(ctx context.Context, name string, c component.Component, step func(component.Component)) error {
	done := make(chan error, 1)
	accepted := s.sched.Offer(func() {
		s.sched.Watched() // a component may take its time
		finished := false
		defer func() {
			if p := recover(); p != nil {
				done <- errors.Errorf("nano: panic in %s: %v", name, p)
			} else if !finished {
				done <- errors.Errorf("nano: %s ended the logic goroutine", name)
			}
		}()
		step(c)
		finished = true
		done <- nil
	})
	if !accepted {
		return ErrServerClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.Wrap(ctx.Err(), "nano: waiting for "+name)
	}
}

// watchStuck looks now and then for a task that holds the logic goroutine.
func (s *Server) watchStuck() {
	defer s.watch.Done()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-t.C:
			s.sched.CheckStuck()
		}
	}
}

// open starts the server if needed, and takes a listener into its care. The caller calls the function it gets when
// it has done with the listener.
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
	s.listeners[l] = struct{}{}
	s.serving.Add(1)
	return func() {
		_ = l.Close()
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
		s.serving.Done()
	}, nil
}

// Serve accepts TCP clients, or TLS ones if the server has a certificate, on l until Shutdown, and then returns nil.
// It starts the server if that is needed. l may be any listener; it is closed when Serve returns.
func (s *Server) Serve(l net.Listener) error {
	release, err := s.open(l)
	if err != nil {
		return err
	}
	defer release()
	return listen.Accept(s.patient(l), s.hub.Accept)
}

// ServeWebSocket accepts WebSocket clients, over TLS if the server has a certificate, on l until Shutdown, and then
// returns nil. It starts the server if that is needed. Clients connect at the path of WithWSPath; everything else is
// not found. l may be any listener; it is closed when ServeWebSocket returns.
func (s *Server) ServeWebSocket(l net.Listener) error {
	release, err := s.open(l)
	if err != nil {
		return err
	}
	defer release()
	h := &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: s.opts.handshakeTimeout,
		IdleTimeout:       idlePage,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       s.hub.ConnContext,
		ConnState:         s.hub.ConnState,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.mu.Lock()
	s.https[h] = struct{}{}
	s.mu.Unlock()
	l = s.patient(l)
	if c := s.opts.tlsConfig; c != nil {
		c = c.Clone()
		c.NextProtos = []string{"http/1.1"}
		l = tls.NewListener(l, c)
	}
	err = h.Serve(l)
	select {
	case <-s.closing:
		return nil
	default:
	}
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("nano: accept: %w", err)
}

// patient returns l such that it waits out what passes.
func (s *Server) patient(l net.Listener) net.Listener {
	return listen.Retry(l, s.closing, s.log, s.hub.AcceptFailed)
}

const (
	idlePage  = 2 * time.Minute // how long a connection is kept between two requests that are not for a WebSocket
	maxHeader = 64 << 10        // bytes of the head of a request
)

// WebSocketHandler returns the handler that upgrades requests, for the program's own mux. It answers 503 until the
// server was started, and when it shuts down.
func (s *Server) WebSocketHandler() http.Handler { return http.HandlerFunc(s.upgrade) }

func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	if !s.ready.Load() {
		http.Error(w, "the server is not ready", http.StatusServiceUnavailable)
		return
	}
	s.hub.ServeWebSocket(w, r)
}

// hasPage reports whether the program serves the path of a request.
func (s *Server) hasPage(r *http.Request) bool {
	mux, ok := s.fallback.(*http.ServeMux)
	if !ok {
		return s.fallback != nil
	}
	_, pattern := mux.Handler(r)
	return pattern != ""
}

// serveHTTP serves a listener of ServeWebSocket.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	page := s.hasPage(r)
	upgrade := r.URL.Path == s.opts.wsPath && (r.Header.Get("Upgrade") != "" || !page)
	if page && !upgrade {
		s.hub.ServePage(s.fallback, w, r)
		return
	}
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // else the answer would wait for a body that may never come
	}
	switch {
	case upgrade:
		s.upgrade(w, r)
	case s.fallback != nil: // which says what it does not serve
		s.fallback.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// Invoke runs f on the logic goroutine. It never blocks and may be called from anywhere, also from inside a handler:
// it is how slow work, done elsewhere, comes back. After Shutdown f is dropped.
func (s *Server) Invoke(f func()) { s.sched.PushTask(f) }

// Scheduler returns the logic goroutine, for its timers.
func (s *Server) Scheduler() *scheduler.Scheduler { return s.sched }

// Session returns the open session with an id: of a client of this server, or of another node's that this one knows.
func (s *Server) Session(id int64) (*session.Session, bool) {
	if s.hub == nil {
		return nil, false
	}
	if u, ok := s.hub.Session(id); ok {
		return u, true
	}
	return s.broker.Session(id)
}

// SessionsByUID returns the open sessions of a user that this server knows, those of other nodes' clients included, in
// the order they connected.
func (s *Server) SessionsByUID(uid int64) []*session.Session {
	if s.hub == nil {
		return nil
	}
	sessions := s.hub.ByUID(uid)
	if others := s.broker.SessionsByUID(uid); len(others) > 0 {
		sessions = append(sessions, others...)
		slices.SortFunc(sessions, func(a, b *session.Session) int { return cmp.Compare(a.ID(), b.ID()) })
	}
	return sessions
}

// Push sends v to every session of a user, as Session.Push does, at whichever node of the cluster the user is connected.
// ErrUserNotFound if there is none; otherwise the first error of a session or node.
func (s *Server) Push(uid int64, route string, v any) error {
	return s.each(uid, func(u *session.Session) error { return u.Push(route, v) },
		func() (int, error) { return s.broker.Push(uid, route, v) })
}

// Kick kicks every session of a user, as Session.Kick does, at whichever node of the cluster the user is connected.
// ErrUserNotFound if there is none.
func (s *Server) Kick(uid int64, reason string) error {
	return s.each(uid, func(u *session.Session) error { return u.Kick(reason) },
		func() (int, error) { return s.broker.Kick(uid, reason) })
}

// each does f for every client of a user, and others for the nodes that have more of them.
func (s *Server) each(uid int64, f func(*session.Session) error, others func() (int, error)) error {
	if s.hub == nil {
		return ErrUserNotFound
	}
	sessions := s.hub.ByUID(uid)
	var first error
	for _, u := range sessions {
		if err := f(u); err != nil && first == nil {
			first = err
		}
	}
	nodes, err := others()
	if len(sessions) == 0 && nodes == 0 {
		return ErrUserNotFound
	}
	return cmp.Or(first, err)
}

// replace closes the sessions of a uid that another one has bound since.
func (s *Server) replace(_ *session.Session, others []*session.Session) {
	for _, other := range others {
		if a, ok := other.NetworkEntity().(*agent.Agent); ok {
			_ = a.KickFor(session.ErrReplaced, "logged in elsewhere")
		}
	}
}

// Shutdown ends the server: it accepts no more clients; runs BeforeShutdown of the components in reverse order, while
// the sessions are still open; runs the messages that were accepted; kicks the clients; runs their close callbacks;
// runs Shutdown of the components; and returns when every goroutine has ended. When ctx ends before that, connections
// are cut and the rest is left to end by itself; the error is then that of ctx. The last tenth of the time until its
// deadline, a second at most, is for kicking clients whose messages have not run.
//
// Calling it again waits likewise. Called on the logic goroutine, for which it would wait in vain, it goes on in the
// background and returns nil at once.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.sched.Running() {
		go func() { _ = s.shutdownOnce(ctx) }()
		return nil
	}
	return s.shutdownOnce(ctx)
}

func (s *Server) shutdownOnce(ctx context.Context) error {
	s.mu.Lock()
	if s.state == stateStarting {
		s.mu.Unlock()
		select {
		case <-s.started:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.mu.Lock()
	}
	state := s.state
	s.state = stateClosed
	s.ready.Store(false)
	if state != stateClosed {
		close(s.closing)
	}
	s.mu.Unlock()
	switch state {
	case stateNew:
		s.sched.Close()
		close(s.started)
		close(s.stopped)
		return nil
	case stateRunning:
		return s.shutdown(ctx)
	}
	select {
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// farewellTime is how much of the time until its deadline Shutdown keeps for clients to be told, or a tenth of it where that
// is less: the process may end when it returns.
const farewellTime = time.Second

// beforeFarewell returns ctx with an earlier deadline, if it has one.
func beforeFarewell(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Until(deadline)/10, farewellTime)))
}

func (s *Server) shutdown(ctx context.Context) error {
	pages := s.closeListeners(ctx)
	work, cancel := beforeFarewell(ctx)
	defer cancel()
	err := s.endComponents(work, "BeforeShutdown", component.Component.BeforeShutdown)
	s.broker.Withdraw(work)
	s.dispatch.Drain()
	s.hub.Drain()
	s.broker.Drain()
	e := s.hub.Wait(work, ctx)
	if e == nil {
		e = s.broker.Wait(ctx)
	}
	if err == nil && e != nil {
		err = errors.Wrap(e, "nano: waiting for sessions to close")
	}
	if e := s.endComponents(ctx, "Shutdown", component.Component.Shutdown); err == nil {
		err = e
	}
	if e := s.broker.Leave(ctx); err == nil && e != nil {
		err = errors.Wrap(e, "nano: leaving the cluster")
	}
	ended := make(chan struct{})
	go func() {
		defer close(s.stopped)
		defer close(ended)
		s.sched.Close()
		s.hub.Stop()
		<-pages
		s.serving.Wait()
		s.watch.Wait()
	}()
	select {
	case <-ended:
		return err
	case <-ctx.Done():
	}
	if err == nil {
		err = errors.Wrap(ctx.Err(), "nano: waiting for goroutines to end")
	}
	return err
}

// closeListeners closes the listeners; the channel is closed when the pages that were being served are done, or cut
// when ctx ends.
func (s *Server) closeListeners(ctx context.Context) <-chan struct{} {
	s.mu.Lock()
	listeners, servers := slices.Collect(maps.Keys(s.listeners)), slices.Collect(maps.Keys(s.https))
	s.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close()
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

// endComponents runs one step of every component in reverse order. A panic or a fault costs only its component; the
// first error is returned.
func (s *Server) endComponents(ctx context.Context, name string, step func(component.Component)) error {
	var first error
	services := s.dispatch.Services()
	for i, c := range slices.Backward(s.opts.components) {
		err := s.lifecycle(ctx, services[i].Name+"."+name, c.Comp, step)
		if err != nil {
			s.log.Error("nano: shutdown", "error", err.Error())
		}
		if first == nil {
			first = err
		}
	}
	return first
}
