package nano

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/lonng/nano/internal/agent"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/logsample"
	"github.com/lonng/nano/internal/relay"
	"github.com/lonng/nano/internal/runloop"
	"github.com/lonng/nano/internal/snowflake"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/scheduler"
	"github.com/lonng/nano/session"
)

// Server is one game server: its components, its logic goroutine and its clients. A
// process may run several. Its methods may be called concurrently.
type Server struct {
	opts  *options
	log   *slog.Logger
	inner *slog.Logger // log without its limit on equal messages
	fault error        // the bad values of the options; Start returns it

	sched    *scheduler.Scheduler
	loop     *runloop.Loop // loop of sched
	dispatch *dispatch.Dispatcher
	hub      *agent.Hub
	broker   *relay.Broker
	fallback http.Handler // serves what is not a WebSocket, on listeners of ServeWebSocket; nil for none

	clusterListener net.Listener // where other nodes dial; nil for none

	mu        sync.Mutex
	state     serverState // mu guards it and the fields below
	startErr  error
	listeners map[*net.Listener]struct{}
	https     map[*http.Server]struct{}

	ready   atomic.Bool    // the server accepts clients
	begun   atomic.Bool    // the server has run; its components are initialized
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

// New makes a server. It opens no port and starts no goroutine; [Server.Start] returns
// the bad values of the options.
func New(opts ...Option) *Server { return newServer(nil, newOptions(opts)) }

// newServer makes a server with the given scheduler, or with one of its own for nil.
func newServer(sched *scheduler.Scheduler, o *options) *Server {
	s := &Server{
		opts:      o,
		fallback:  o.web.handler,
		listeners: map[*net.Listener]struct{}{},
		https:     map[*http.Server]struct{}{},
		started:   make(chan struct{}),
		closing:   make(chan struct{}),
		stopped:   make(chan struct{}),
	}
	s.inner = slog.New(nodeHandler{o.logger().Handler(), s.ClusterAddr})
	s.log = logsample.Log(s.inner)
	switch {
	case o.scheduler != nil:
		s.sched = o.scheduler
	case sched != nil:
		s.sched = sched
	default:
		s.sched = runloop.New(runloop.DefaultConfig()).Public().(*scheduler.Scheduler)
	}
	s.loop, _ = runloop.Of(s.sched)
	s.fault = s.build()
	return s
}

// build makes the parts of the server. It returns all faults of options and components,
// joined.
func (s *Server) build() error {
	o := s.opts
	dictionary, fault := o.check()
	inbound, outbound := hooks(o.pipeline)
	d := dispatch.New(dispatch.Config{
		Log:        s.log,
		Serializer: o.serializer,
		Inbound:    inbound,
		Dictionary: dictionary,
		Loop:       s.loop,
		Slow:       o.slowHandler,
		Debug:      o.debug,
		Tracer:     o.tracer,
		Node:       s.ClusterAddr,
	})
	for _, c := range o.components {
		if err := d.Add(c.Comp, c.Opts); err != nil {
			fault = errors.Join(fault, fmt.Errorf("nano: WithComponents: %w", err))
		}
	}
	ids, err := snowflake.New(o.nodeID)
	if fault = errors.Join(fault, err); fault != nil {
		return fault
	}
	s.dispatch = d
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
	var carrier agent.Carrier
	if s.broker.Clustered() && o.resume.Window > 0 {
		carrier = s.broker
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
		Subprotocols:     o.web.subprotocols,
		Resume:           o.resume,
		Bound:            bound,
		Cluster:          s.broker,
		Carrier:          carrier,
		Debug:            o.debug,
	})
	if err != nil {
		return fmt.Errorf("nano: WithDictionary: %w", err)
	}
	if file := os.Getenv(routesFile); file != "" {
		return s.writeRoutes(file)
	}
	s.loop.Configure(runloop.Config{
		Log:       s.log,
		Slow:      o.slowHandler,
		Precision: o.timerPrecision,
		Begin:     s.hub.Begin,
		End:       s.hub.End,
	})
	return nil
}

// hooks returns the channels of a pipeline, or nil without one, so that messages without
// hooks cost nothing.
func hooks(p pipeline.Pipeline) (inbound, outbound pipeline.Channel) {
	if p == nil {
		return nil, nil
	}
	return p.Inbound(), p.Outbound()
}

// Invoke runs f on the logic goroutine. It never blocks, and any goroutine may call it,
// also a handler. Use it after slow work on another goroutine, to change the game's
// state. After Shutdown, f is dropped.
func (s *Server) Invoke(f func()) { s.sched.Invoke(f) }

// Scheduler returns the logic goroutine, for its timers.
func (s *Server) Scheduler() *scheduler.Scheduler { return s.sched }
