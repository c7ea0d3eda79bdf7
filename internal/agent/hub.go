// Package agent serves the clients of one server.
//
// A [Conn] is one connection. It reads bytes, decodes frames and packets, performs the
// handshake, sends heartbeats and writes. An [Agent] is one client, and the network
// entity of its session. It has the mailbox of incoming messages, the outbox of outgoing
// packets and the record of unanswered requests. An agent can outlive its connection and
// get another one. A [Hub] holds the shared state of a server's agents.
//
// The package does not depend on how routes are resolved.
package agent

import (
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"math"
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

// Config configures a Hub. The server sets every field.
type Config struct {
	Log        *slog.Logger
	Dispatcher *dispatch.Dispatcher
	Serializer serialize.Serializer
	Dictionary *message.Dictionary
	Outbound   pipeline.Channel // nil if there are no hooks
	NewID      func() int64

	Heartbeat        time.Duration // interval of the server's heartbeats
	HandshakeTimeout time.Duration // from the start of a connection to the client's ack
	Validator        func(*session.Session, []byte) error
	UserData         func(*session.Session, []byte) (any, error) // returns "user" of the handshake answer

	MaxPacket    int  // maximum size of an incoming packet body in bytes
	MaxPending   int  // maximum number of messages of a session that wait for the logic goroutine
	MaxQueued    int  // maximum number of bytes queued to a client
	RefuseAtFull bool // refuse messages that do not fit, instead of closing the slow client

	TLS    *tls.Config // for TCP clients; nil for no TLS
	Limits Limits
	// Subprotocols are the supported WebSocket subprotocols, the preferred one first.
	Subprotocols []string
	CheckOrigin  func(*http.Request) bool // reports whether a page of the origin may connect
	Resume       Resume

	// Bound is called when a session binds another uid. others are the open sessions that
	// had bound it before. If two sessions bind one uid at the same time, one of the two
	// calls includes the other session. Bound may be nil.
	Bound func(s *session.Session, others []*session.Session)
	// Cluster connects to the other nodes and handles the program's calls. It is nil if
	// there is neither.
	Cluster Cluster
	// Carrier resumes sessions of other nodes for clients of this node, or is nil.
	Carrier Carrier
	// Closed is called on the logic goroutine after a session's close callbacks have run.
	Closed func(s *session.Session)
	Debug  bool
}

// Hub holds the shared state of a server's agents. Its methods may be called
// concurrently.
type Hub struct {
	Config
	hello   handshake
	flusher flusher
	wheel   wheel
	parking parking
	silence time.Duration // time after which a silent client is closed
	stall   time.Duration // time that a blocked write may take without progress, see silence
	Counts  Counts

	wg sync.WaitGroup // connections, sessions and writers that have not ended

	mu       sync.Mutex
	agents   map[int64]*Agent           // agents whose connection or session has not ended; mu guards it and the following fields
	uids     map[int64]map[int64]*Agent // by uid, then by session id
	draining bool

	connections int                   // number of open connections
	extra       int                   // connections accepted beyond the limits, see admit
	addresses   map[netip.Prefix]int  // open connections by address, if limited
	proxies     map[net.Conn]struct{} // connections of trusted proxies whose header has not arrived
	dismissed   map[net.Conn]struct{} // connections of clients that are being dismissed
	pages       map[net.Conn]*page    // connections that are not upgraded, now or ever

	upgrades sync.Map // requests of WebSocket upgrades with an unanswered handshake, by *Agent

	refusals [refusedKinds]refusal

	tokens     tokens
	reclaiming atomic.Bool // a goroutine frees memory of sessions with resume
}

// longest bounds the times of a Config, so that sums of them do not overflow: 29 years.
const longest = math.MaxInt64 / 10

// NewHub creates a hub. Start starts it.
func NewHub(c Config) (*Hub, error) {
	for _, d := range []*time.Duration{&c.Heartbeat, &c.HandshakeTimeout, &c.Resume.Window} {
		*d = min(*d, longest)
	}
	h := &Hub{
		Config:    c,
		agents:    map[int64]*Agent{},
		uids:      map[int64]map[int64]*Agent{},
		addresses: map[netip.Prefix]int{},
		proxies:   map[net.Conn]struct{}{},
		dismissed: map[net.Conn]struct{}{},
		pages:     map[net.Conn]*page{},
	}
	h.tokens.init()
	if err := h.hello.prepare(&h.Config); err != nil {
		return nil, err
	}
	// Clients use the interval from the handshake, and their packets can be two intervals
	// apart. This value is between two and a half and three intervals.
	interval := max(c.Heartbeat, time.Duration(h.hello.heartbeat)*time.Second)
	h.silence = interval / 4 * 11
	h.stall = interval * 3
	h.flusher.init(h, runtime.GOMAXPROCS(0))
	h.wheel.init(min(c.Heartbeat, c.HandshakeTimeout))
	return h, nil
}

// Start starts the clock for heartbeats and deadlines.
func (h *Hub) Start() { h.wheel.start() }

// Stop ends the goroutines of a hub without agents.
func (h *Hub) Stop() {
	h.flusher.stop()
	h.wheel.stop()
	h.parking.stop()
}

// Begin starts a batch on the logic goroutine. Output is written at End.
func (h *Hub) Begin() { h.flusher.hold() }

// End writes the output queued since Begin.
func (h *Hub) End() { h.flusher.release() }

// PendingPackets limits the bytes of messages that wait for the logic goroutine, as a
// multiple of the largest packet size.
const PendingPackets = 4

func (h *Hub) snapshot() []*Agent {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*Agent, 0, len(h.agents))
	for _, a := range h.agents {
		list = append(list, a)
	}
	return list
}

// Drain stops accepting connections. It closes every session with ErrShutdown and a kick
// when the session's accepted messages have run. It closes connections that are not
// clients, except those that serve a page of the program.
func (h *Hub) Drain() {
	h.mu.Lock()
	h.draining = true
	others := slices.AppendSeq(slices.Collect(maps.Keys(h.proxies)), maps.Keys(h.dismissed))
	for conn, p := range h.pages {
		if !p.program {
			others = append(others, conn)
		}
	}
	h.mu.Unlock()
	for _, conn := range others {
		closeNow(conn)
	}
	for _, a := range h.snapshot() {
		a.shutdown()
	}
}

// Wait returns when every connection has ended and every session has finished. If ctx
// ends first, clients get the farewell at once, and Wait returns the error of ctx. If
// last also ends, Wait closes the connections that are still closing.
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
		if a.shut(session.ErrShutdown, shutdownFarewell()) != nil {
			closing = append(closing, a)
		}
	}
	select {
	case <-done:
	case <-last.Done():
		for _, a := range closing {
			a.cut()
		}
	}
	return ctx.Err()
}
