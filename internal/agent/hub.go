// Package agent serves the clients of one server.
//
// A [Conn] is one connection: it reads bytes, takes frames and packets off them, shakes
// hands, keeps heartbeats and writes. An [Agent] is one client, and the network entity of
// its session: it has the mailbox of incoming messages, the outbox of outgoing packets
// and the record of requests that wait for an answer. An agent can outlive its connection
// and be given another one. A [Hub] is what the agents of a server share.
//
// The package does not know how routes are found.
package agent

import (
	"context"
	"crypto/tls"
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
	Outbound   pipeline.Channel // nil if there are no hooks
	NewID      func() int64

	Heartbeat        time.Duration // interval of the server's heartbeats
	HandshakeTimeout time.Duration // from the start of a connection to the client's ack
	Validator        func(*session.Session, []byte) error
	UserData         func(*session.Session, []byte) (any, error) // "user" of the handshake's answer

	MaxPacket    int  // bytes of an incoming packet's body
	MaxPending   int  // messages of a session that may wait for the logic goroutine
	MaxQueued    int  // bytes that may be queued to a client
	RefuseAtFull bool // refuse what does not fit, instead of closing the slow client

	TLS    *tls.Config // of TCP clients; nil for none
	Limits Limits
	// Subprotocols are the WebSocket subprotocols that the server supports, the preferred one first.
	Subprotocols []string
	CheckOrigin  func(*http.Request) bool // whether a page of that origin may connect
	Resume       Resume

	// Bound is called when a session binds another uid, with the open sessions that had
	// bound it before; it may be nil. Of two sessions that bind one uid at the same time,
	// one call has the other session.
	Bound func(s *session.Session, others []*session.Session)
	// Cluster is the other nodes, and the program's calls; nil if there is neither.
	Cluster Cluster
	// Carrier reaches the sessions of other nodes that clients of this one resume; nil if
	// there is none.
	Carrier Carrier
	// Closed is called on the logic goroutine when a session's close callbacks have run.
	Closed func(s *session.Session)
	Debug  bool
}

// Hub is what the agents of one server share. Its methods may be called concurrently.
type Hub struct {
	Config
	hello   handshake
	flusher flusher
	wheel   wheel
	parking parking
	silence time.Duration // after how long a silent client is closed
	stall   time.Duration // how long a blocked write may take without progress
	Counts  Counts

	wg sync.WaitGroup // connections, sessions and writers that have not ended

	mu       sync.Mutex
	agents   map[int64]*Agent           // connections and sessions that are not gone; mu guards it and what follows
	uids     map[int64]map[int64]*Agent // by uid, then by session id
	draining bool

	connections int                   // open ones
	extra       int                   // those that were let in beyond the limits, see admit
	addresses   map[netip.Prefix]int  // open connections by address, if that is limited
	proxies     map[net.Conn]struct{} // of trusted proxies whose header has not come
	dismissed   map[net.Conn]struct{} // of clients that are dismissed
	pages       map[net.Conn]*page    // that are not upgraded, or never will be

	upgrades sync.Map // requests of WebSocket upgrades whose handshake has no answer, by *Agent

	refusals [refusedKinds]refusal

	tokens     tokens
	reclaiming atomic.Bool // a goroutine frees memory of sessions with resume
}

// NewHub makes a hub. Start starts it.
func NewHub(c Config) (*Hub, error) {
	h := &Hub{
		Config:    c,
		agents:    map[int64]*Agent{},
		uids:      map[int64]map[int64]*Agent{},
		addresses: map[netip.Prefix]int{},
		proxies:   map[net.Conn]struct{}{},
		dismissed: map[net.Conn]struct{}{},
		pages:     map[net.Conn]*page{},
		stall:     3 * c.Heartbeat,
	}
	h.tokens.init()
	if err := h.hello.prepare(&h.Config); err != nil {
		return nil, err
	}
	// Clients keep the interval that the handshake tells, and their packets can lie two
	// intervals apart: this is between two and a half and three.
	h.silence = max(c.Heartbeat, time.Duration(h.hello.heartbeat)*time.Second) * 11 / 4
	h.flusher.init(h, runtime.GOMAXPROCS(0))
	h.wheel.init(min(c.Heartbeat, c.HandshakeTimeout))
	return h, nil
}

// Start starts the clock that heartbeats and deadlines go by.
func (h *Hub) Start() { h.wheel.start() }

// Stop ends the goroutines of a hub all of whose agents are gone.
func (h *Hub) Stop() {
	h.flusher.stop()
	h.wheel.stop()
	h.parking.stop()
}

// Begin and End enclose what the logic goroutine does in one go: what is sent meanwhile
// goes out at the End.
func (h *Hub) Begin() { h.flusher.hold() }

// End flushes what was sent since Begin.
func (h *Hub) End() { h.flusher.release() }

// PendingPackets bounds the bytes of messages that wait for the logic goroutine, in
// packets of the largest size.
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

// Drain accepts no more connections, and has every session closed with ErrShutdown and a
// kick when the messages it had accepted have run. Connections that are no clients are
// closed, but for those in a page of the program.
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

// Wait returns when every connection has ended and every session has finished. When ctx
// ends first, clients get the farewell without waiting for their messages, and the error
// is that of ctx; when last ends too, connections that were to be closed already are cut.
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
