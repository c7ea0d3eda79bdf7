// Package relay connects the sessions and handlers of this node with those of the other nodes. It forwards clients'
// messages to the nodes that serve them, and serves the messages that other nodes forward. It carries answers, pushes,
// calls and the uids of users between nodes. It also carries the connections of clients that resume sessions of other
// gates. Package mesh keeps the links. Relay accesses clients through the interfaces Gate and Client.
//
// A session belongs to the node to which its client is connected, its gate. Other nodes have proxy sessions: what is sent
// to such a session goes to the gate. What one node sends to another is a frame; the table of frames is in frames.go.
package relay

import (
	"cmp"
	"context"
	"hash/maphash"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/carry"
	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/flow"
	"github.com/lonng/nano/internal/mesh"
	"github.com/lonng/nano/session"
	"github.com/lonng/nano/trace"
)

// Config configures a Broker.
type Config struct {
	// Node configures this node's membership; nil for a server without a cluster. The broker sets Handler, Listed and
	// Counts.
	Node *mesh.Config
	Log  *slog.Logger
	// Tracer makes the spans of messages and calls that other nodes serve; nil for none.
	Tracer trace.Tracer
	// Dispatcher serves the messages of other nodes.
	Dispatcher *dispatch.Dispatcher
	Gate       Gate
	// Route chooses the node that serves a session's messages to a service, from the nodes that serve it and are up. It
	// returns one of members. If it is nil, the broker takes one node after the other.
	Route func(service string, s *session.Session, members []*clusterpb.MemberInfo) *clusterpb.MemberInfo
	// Changed is called when a member came up or went down; nil for no calls. It must not block.
	Changed func(mesh.Member)
	// SingleLogin allows a user one session in the whole cluster.
	SingleLogin bool
	// MaxPending and MaxSize are the limits of the mailbox of a client's session: messages that wait, and bytes of
	// payload beside one message. The mailboxes of proxy sessions have larger limits: see [flow.Backlog].
	MaxPending int
	MaxSize    int
}

// Broker connects this node with the other nodes. Its methods may be called concurrently.
//
// Locks are taken in this order: loginMu, peerConn.mu, then one of the locks under which no other is taken: mu, callMu,
// proxySession.mu, and the locks of links, sessions and mailboxes.
type Broker struct {
	Config
	node *mesh.Node // nil for a server without a cluster

	boxLimit, boxSize int // limits of the mailboxes of proxy sessions

	addr atomic.Pointer[string]
	name atomic.Pointer[carry.Name]

	joined time.Time // when Join was called; set before clients come

	peers    atomic.Pointer[[]*peerConn] // peers that are up; replaced under mu
	services sync.Map                    // services that another node has served: *atomic.Uint64 by name, the next node's turn

	wg sync.WaitGroup // proxy sessions that have not finished; Add is called under mu

	mu       sync.Mutex
	draining bool // no more proxy sessions are created; mu guards it and the fields below
	queries  queries
	uids     map[int64][]*proxySession // open proxy sessions by uid
	lost     map[carry.Name]process    // processes whose links were lost, and that may come back

	ids callIDs

	callMu sync.Mutex
	calls  map[uint64]*outCall // the calls that this node waits for; callMu guards it and jobs
	jobs   map[uint64]*job     // the calls that this node serves or passes on

	loginMu sync.Mutex
	logins  map[int64]login // logins of this node's clients, by session; loginMu guards it

	counts counts
}

// New returns a Broker. Join makes it part of a cluster.
func New(c Config) *Broker {
	b := &Broker{
		Config: c,
		ids:    callIDs{seed: maphash.MakeSeed()},
		uids:   make(map[int64][]*proxySession),
		lost:   make(map[carry.Name]process),
		calls:  make(map[uint64]*outCall),
		jobs:   make(map[uint64]*job),
		logins: make(map[int64]login),
	}
	b.boxLimit, b.boxSize = flow.Backlog(c.MaxPending, c.MaxSize)
	b.peers.Store(new([]*peerConn))
	if c.Node != nil {
		nc := *c.Node
		nc.Handler, nc.Listed, nc.Counts = b, b.listed, &b.counts.traffic
		b.node = mesh.NewNode(nc)
	}
	return b
}

// Address returns where other nodes dial this one; "" without a cluster and before Join.
func (b *Broker) Address() string {
	if a := b.addr.Load(); a != nil || b.node == nil {
		return *cmp.Or(a, new(string))
	}
	a := b.node.Self().Addr
	if a != "" {
		b.addr.Store(&a)
	}
	return a
}

// Clustered reports whether this server is a node of a cluster.
func (b *Broker) Clustered() bool { return b.node != nil }

// Node returns the node's membership; nil for a server without a cluster.
func (b *Broker) Node() *mesh.Node { return b.node }

// Join starts the node on l: see [mesh.Node.Start].
func (b *Broker) Join(ctx context.Context, l net.Listener) error {
	b.joined = time.Now()
	return b.node.Start(ctx, l)
}

// Drain closes the proxy sessions, with ErrShutdown, when their accepted messages have run. The clients stay connected.
func (b *Broker) Drain() {
	b.mu.Lock()
	b.draining = true
	b.mu.Unlock()
	for _, pc := range *b.peers.Load() {
		for _, p := range pc.proxies() {
			p.drain()
		}
	}
}

// Wait returns when every proxy session has finished, or with the error of ctx when that ends.
func (b *Broker) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		b.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Leave takes the node out of the cluster: see [mesh.Node.Stop].
func (b *Broker) Leave(ctx context.Context) error {
	if b.node == nil {
		return nil
	}
	return b.node.Stop(ctx)
}

var (
	_ mesh.Handler    = (*Broker)(nil)
	_ dispatch.Remote = (*Broker)(nil)
)
