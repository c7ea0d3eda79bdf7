// Package agent owns the connected clients of one server: it reads their bytes and takes packets and messages out
// of them, shakes hands, keeps heartbeats, and writes what the program sends. An Agent is one client, and the
// network entity of its session; a Hub is what the agents of a server share.
package agent

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/session"
)

// Config is what a Hub is made of. Every field is set by the server.
type Config struct {
	Log        *slog.Logger
	Dispatcher *dispatch.Dispatcher
	Serializer serialize.Serializer
	Dictionary *message.Dictionary
	Outbound   pipeline.Channel // nil where no hook is to run
	NewID      func() int64

	Heartbeat        time.Duration // interval of the server's heartbeats
	HandshakeTimeout time.Duration // from the start of a connection to the client's ack
	Validator        func(*session.Session, []byte) error
	UserData         func(*session.Session, []byte) (any, error) // "user" of the handshake's answer

	MaxPacket    int  // bytes of an incoming packet's body
	MaxPending   int  // messages of a session that may wait for the logic goroutine
	MaxQueued    int  // bytes that may be queued to a client
	RefuseAtFull bool // refuse what does not fit, instead of closing the slow client

	TLS         *tls.Config // of TCP clients; nil for none
	Limits      Limits
	CheckOrigin func(*http.Request) bool // whether a page of that origin may connect

	// Bound is called when a session binds another uid, with the open sessions that had bound it before; nil where
	// nobody wants to know. Of two that bind one uid at the same time, one is told of the other.
	Bound func(s *session.Session, others []*session.Session)
	// Cluster is the other nodes, and the program's calls; nil where there is neither.
	Cluster Cluster
	// Closed is called on the logic goroutine when a session's close callbacks have run.
	Closed func(s *session.Session)
	Debug  bool
}

const (
	linger       = time.Second     // how long a client is given to close its side once everything was sent
	closeTimeout = 5 * time.Second // how long the last bytes may take
)

// Hub is what the agents of one server share. Its methods may be called concurrently.
type Hub struct {
	Config
	hello   handshake
	flusher flusher
	wheel   wheel
	stall   time.Duration // how long a blocked write may take without progress
	Counts  Counts

	wg sync.WaitGroup // connections, sessions and writers that have not ended

	mu       sync.Mutex
	agents   map[int64]*Agent           // connections and sessions that are not gone; mu guards it and what follows
	uids     map[int64]map[int64]*Agent // by uid, then by session id
	draining bool

	connections int                   // open ones
	addresses   map[netip.Prefix]int  // open connections by address, where that is limited
	greeting    map[net.Conn]struct{} // of trusted proxies that have not said for whom they are
	pages       map[net.Conn]*page    // that are not upgraded, or never will be

	refusals [refusedKinds]refusal
}

// limit is one that can refuse.
type limit int

const (
	noLimit limit = iota
	refusedRate
	refusedConnections
	refusedAddress
	refusedPacket
	refusedRoute
	refusedHandshake
	refusedSend
	refusedOrigin
	refusedAccept
	refusedKinds
)

var refusedNames = [refusedKinds]string{
	refusedRate:        "rate",
	refusedConnections: "connections",
	refusedAddress:     "address",
	refusedPacket:      "packet size",
	refusedRoute:       "route length",
	refusedHandshake:   "handshake size",
	refusedSend:        "send",
	refusedOrigin:      "origin",
	refusedAccept:      "accept",
}

// refusal counts what one limit refused, and logs it now and then.
type refusal struct {
	count  atomic.Int64
	logged atomic.Int64 // when, since the wheel's base
}

// logEvery is how often a limit at most is logged to have been passed.
const logEvery = 10 * time.Second

// refuse notes that a limit was passed.
func (h *Hub) refuse(l limit, remote net.Addr) {
	r := &h.refusals[l]
	n := r.count.Add(1)
	now, last := int64(time.Since(h.wheel.base)), r.logged.Load() // the wheel's clock stands still without agents
	if n > 1 && now-last < int64(logEvery) || !r.logged.CompareAndSwap(last, now) {
		return
	}
	h.Log.Warn("nano: a limit refuses", "limit", refusedNames[l], "so far", n, "last", remote)
}

// AcceptFailed counts a connection that could not be accepted.
func (h *Hub) AcceptFailed() { h.refusals[refusedAccept].count.Add(1) }

// RefusedBy returns what each limit has refused.
func (h *Hub) RefusedBy() map[string]int64 {
	m := make(map[string]int64, refusedKinds)
	for l := noLimit + 1; l < refusedKinds; l++ {
		m[refusedNames[l]] = h.refusals[l].count.Load()
	}
	return m
}

// Counts is what went through the agents of a host.
type Counts struct {
	Accepted, Open        atomic.Int64 // connections
	MessagesIn, BytesIn   atomic.Int64 // requests and notifies
	MessagesOut, BytesOut atomic.Int64 // responses and pushes, heartbeats and handshakes only in bytes
	HandshakesRefused     atomic.Int64
	Control               atomic.Int64                             // heartbeats and pings of clients
	ready                 atomic.Int64                             // open sessions
	closed                [session.ReasonShutdown + 1]atomic.Int64 // sessions, by reason
}

func (c *Counts) close(reason error) {
	if r := session.ReasonOf(reason); r != session.ReasonNone {
		c.closed[r].Add(1)
	}
}

// ClosedBy returns how many sessions closed for each reason, by the reason's name.
func (c *Counts) ClosedBy() map[string]int64 {
	m := make(map[string]int64, len(c.closed))
	for _, r := range session.CloseReasons() {
		m[r.String()] = c.closed[r].Load()
	}
	return m
}

// NewHub makes a host. Start starts it.
func NewHub(c Config) (*Hub, error) {
	h := &Hub{
		Config:    c,
		agents:    map[int64]*Agent{},
		uids:      map[int64]map[int64]*Agent{},
		addresses: map[netip.Prefix]int{},
		greeting:  map[net.Conn]struct{}{},
		pages:     map[net.Conn]*page{},
		stall:     3 * c.Heartbeat,
	}
	if err := h.hello.prepare(&h.Config); err != nil {
		return nil, err
	}
	h.flusher.init(h, runtime.GOMAXPROCS(0))
	h.wheel.init(min(c.Heartbeat, c.HandshakeTimeout))
	return h, nil
}

// Start starts the clock that heartbeats and deadlines go by.
func (h *Hub) Start() { h.wheel.start() }

// Stop ends the goroutines of a host all of whose agents are gone.
func (h *Hub) Stop() {
	h.flusher.stop()
	h.wheel.stop()
}

// Begin and End enclose what the logic goroutine does in one go: what is sent meanwhile goes out at the End.
func (h *Hub) Begin() { h.flusher.hold() }

// End flushes what was sent since Begin.
func (h *Hub) End() { h.flusher.release() }

// Accept serves a connection on a goroutine of its own. Its deadline for the handshake starts now.
func (h *Hub) Accept(conn net.Conn) {
	if !h.trusts(conn.RemoteAddr()) {
		h.begin(conn, conn.RemoteAddr(), nil, h.HandshakeTimeout)
		return
	}
	h.mu.Lock()
	draining, full := h.draining, h.full(nil)
	if !draining && full == noLimit {
		h.greeting[conn] = struct{}{}
		h.occupy(nil, 1)
		h.wg.Add(1)
	}
	h.mu.Unlock()
	switch {
	case draining:
		_ = conn.Close()
	case full != noLimit:
		h.refuse(full, conn.RemoteAddr())
		answer := h.hello.noRoom
		if h.TLS != nil {
			answer = nil // nothing can be told before TLS
		}
		turnAway(conn, answer)
	default:
		go h.acceptProxied(conn)
	}
}

// acceptProxied is Accept for a connection that a trusted proxy made. The proxy's header comes before any TLS; while it
// is awaited the connection counts as one of nobody's address.
func (h *Hub) acceptProxied(conn net.Conn) {
	defer h.wg.Done()
	began := time.Now()
	remote, rest, err := proxied(conn, h.HandshakeTimeout)
	h.mu.Lock()
	delete(h.greeting, conn)
	h.occupy(nil, -1)
	h.mu.Unlock()
	if err != nil {
		if err != io.EOF { // it did not look in just to see whether somebody is there
			h.Counts.HandshakesRefused.Add(1)
			h.Log.Debug("nano: PROXY header refused", "proxy", conn.RemoteAddr(), "error", err)
		}
		_ = conn.Close()
		return
	}
	h.begin(conn, remote, rest, max(h.HandshakeTimeout-time.Since(began), time.Millisecond))
}

// begin serves a TCP client from whose connection rest was read before; left is what it has for its handshake.
func (h *Hub) begin(conn net.Conn, remote net.Addr, rest []byte, left time.Duration) {
	if h.TLS != nil {
		if len(rest) > 0 {
			conn, rest = &behind{conn, rest}, nil
		}
		conn = tls.Server(conn, h.TLS)
	}
	if a := h.admit(conn, remote); a != nil {
		go a.serve(rest, left)
	}
}

// admit registers a connection, or tells the client that there is no room for it and closes it.
func (h *Hub) admit(conn net.Conn, remote net.Addr) *Agent {
	a, full := h.newAgent(conn, remote, false)
	if a != nil {
		return a
	}
	if full != noLimit {
		turnAway(conn, h.hello.noRoom)
		return nil
	}
	_ = conn.Close()
	return nil
}

// turnAway tells a client that there is no room, if it can be told without waiting.
func turnAway(conn net.Conn, answer []byte) {
	if raw := rawConn(conn); raw != nil {
		w := rawWriters.Get().(*rawWriter)
		_, _ = w.write(raw, answer)
		rawWriters.Put(w)
	}
	_ = conn.Close()
}

// noRoomPage is the answer to an HTTP request when a limit of connections is passed.
var noRoomPage = []byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

// newAgent registers a connection. It returns nil once the host drains, or when a limit is passed, which it
// returns. The caller must see that serve runs.
func (h *Hub) newAgent(conn net.Conn, remote net.Addr, ws bool) (a *Agent, full limit) {
	a = &Agent{hub: h, conn: conn, remote: remote, raw: rawConn(conn), ws: ws, id: h.NewID()}
	a.session = session.New(a)
	a.box.Init(h.Dispatcher, a.session, a, h.MaxPending, h.MaxPacket*PendingPackets)
	h.mu.Lock()
	if h.draining {
		h.mu.Unlock()
		return nil, noLimit
	}
	if full := h.full(remote); full != noLimit {
		h.mu.Unlock()
		h.refuse(full, remote)
		return nil, full
	}
	h.occupy(remote, 1)
	h.agents[a.id] = a
	h.wg.Add(2) // the connection, and the session
	h.mu.Unlock()
	h.Counts.Accepted.Add(1)
	h.Counts.Open.Add(1)
	return a, noLimit
}

// PendingPackets bounds the bytes of messages that wait for the logic goroutine, in packets of the largest size.
const PendingPackets = 4

// Session returns the open session with an id.
func (h *Hub) Session(id int64) (*session.Session, bool) {
	h.mu.Lock()
	a := h.agents[id]
	h.mu.Unlock()
	if a == nil || a.state.Load() != stateReady || a.session.Closed() {
		return nil, false
	}
	return a.session, true
}

// ByUID returns the open sessions of a user, in the order they connected.
func (h *Hub) ByUID(uid int64) []*session.Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return sorted(h.uids[uid])
}

// Len returns the number of open connections and of sessions that are ready.
func (h *Hub) Len() (connections, sessions int) {
	return int(h.Counts.Open.Load()), int(h.Counts.ready.Load())
}

// bound keeps the index of uids.
func (h *Hub) bound(a *Agent, old, uid int64) {
	var others []*session.Session
	h.mu.Lock()
	h.unindex(a, old)
	h.unindex(a, uid)
	// Another call may have bound another uid meanwhile: what counts is what the session bears now.
	if now := a.session.UID(); now != 0 && !a.flags.has(flagClosed) {
		if h.Bound != nil {
			others = sorted(h.uids[now])
		}
		if h.uids[now] == nil {
			h.uids[now] = map[int64]*Agent{}
		}
		h.uids[now][a.id] = a
	}
	h.mu.Unlock()
	if h.Cluster != nil {
		h.Cluster.Bound(a.session, old, uid)
	}
	if len(others) > 0 {
		h.Bound(a.session, others)
	}
}

// unindex forgets a under uid. The caller holds mu.
func (h *Hub) unindex(a *Agent, uid int64) {
	if m := h.uids[uid]; m != nil {
		if delete(m, a.id); len(m) == 0 {
			delete(h.uids, uid)
		}
	}
}

// gone forgets an agent whose connection and session have both ended; which tells what ended now.
func (h *Hub) gone(a *Agent, which uint32) {
	const both = flagConnGone | flagSessionGone
	last := (a.flags.bits.Or(which)|which)&both == both
	h.mu.Lock()
	defer h.mu.Unlock()
	if which == flagConnGone {
		h.occupy(a.remote, -1)
	}
	if last {
		delete(h.agents, a.id)
	}
}

func (h *Hub) snapshot() []*Agent {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*Agent, 0, len(h.agents))
	for _, a := range h.agents {
		list = append(list, a)
	}
	return list
}

// Drain accepts no more connections, and has every session closed with ErrShutdown and a kick when the messages it
// had accepted have run. Connections that are no clients are closed, but for those in a page of the program.
func (h *Hub) Drain() {
	h.mu.Lock()
	h.draining = true
	strangers := slices.Collect(maps.Keys(h.greeting))
	for conn, p := range h.pages {
		if !p.program {
			strangers = append(strangers, conn)
		}
	}
	h.mu.Unlock()
	for _, conn := range strangers {
		closeNow(conn)
	}
	for _, a := range h.snapshot() {
		a.shutdown()
	}
}

// Wait returns when every connection has ended and every session has finished. When ctx ends first, clients are told
// without waiting for their messages, and the error is that of ctx; when last ends too, connections that were to be closed
// already are cut.
func (h *Hub) Wait(ctx, last context.Context) error {
	done := make(chan struct{})
	go func() {
		h.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	var closing []*Agent
	for _, a := range h.snapshot() {
		if a.shut(session.ErrShutdown, goodbye()) != nil {
			closing = append(closing, a)
		}
	}
	select {
	case <-done:
	case <-last.Done():
		for _, a := range closing {
			closeNow(a.conn)
		}
	}
	return ctx.Err()
}
