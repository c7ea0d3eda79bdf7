// Package mesh implements a node's membership in a cluster. It finds the other nodes,
// keeps one link to each of them, and knows which services they serve. It does not depend
// on the contents of the frames.
package mesh

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/gossip"
	"github.com/lonng/nano/internal/nodeauth"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
)

// state is the stage of a node's lifetime. It only grows.
type state int

const (
	fresh state = iota
	starting
	serving
	stopping
)

// Node is this process's membership in a cluster. It owns the gRPC server, the gossip and the links. Its methods may be
// called concurrently.
type Node struct {
	cfg    Config
	t      Timing
	self   *nodeauth.Self
	log    *slog.Logger
	dial   []grpc.DialOption
	server *grpc.Server
	gossip *gossip.Gossip
	id     atomic.Uint64
	table  atomic.Pointer[table] // the links that are up

	converged atomic.Bool // see Converged

	refusals rate.Sometimes // limits the log records of refused nodes, because strangers choose their number

	ctx    context.Context // ends when the node stops
	cancel context.CancelFunc
	wg     sync.WaitGroup // the node's goroutines; Add is called under mu, or by one of them

	leaving sync.WaitGroup // the goroutine that leaves the gossip
	stopped chan struct{}  // closed when Stop has finished
	opening sync.Mutex     // held while start opens what Stop closes; taken before mu

	// mu guards the fields below. It may be taken under memberlist's lock, so its holder must not call memberlist.
	mu      sync.Mutex
	state   state
	hello   *clusterpb.Hello // this node's data for members; replaced, never changed
	peers   map[string]*peer // by address
	changed chan struct{}    // closed and replaced when the state of a peer changes
	joined  bool             // a seed has answered, or there is none
	failure error            // why the node cannot start
	notes   []note           // log records for locked
}

// NewNode returns a node that does nothing until Start.
func NewNode(cfg Config) *Node {
	if cfg.MaxID == 0 {
		cfg.MaxID = 1023
	}
	if cfg.Retry <= 0 {
		cfg.Retry = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	n := &Node{
		cfg: cfg, t: DefaultTiming(), log: cfg.Logger,
		refusals: rate.Sometimes{Interval: time.Second},
		stopped:  make(chan struct{}),
		peers:    make(map[string]*peer),
		changed:  make(chan struct{}),
	}
	if cfg.Timing != nil {
		n.t = *cfg.Timing
	}
	n.t.Link.Counts = cfg.Counts
	n.id.Store(cfg.ID)
	n.table.Store(&table{})
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// spawn runs f on a goroutine that Stop waits for. It reports false if the node is stopping. The caller holds mu.
func (n *Node) spawn(f func()) bool {
	if n.state == stopping {
		return false
	}
	n.wg.Go(f)
	return true
}

// note is a log record.
type note struct {
	level slog.Level
	text  string
	attrs []any
}

// note adds a log record, which locked writes. Call it only from a function that locked runs.
func (n *Node) note(level slog.Level, text string, attrs ...any) {
	n.notes = append(n.notes, note{level, text, attrs})
}

// locked calls f with mu held, and then writes the log records that f has added. They are not written under mu because
// the log handler belongs to the program, and may call the node's methods.
func (n *Node) locked(f func()) {
	for _, l := range n.notesOf(f) {
		n.log.Log(context.Background(), l.level, l.text, l.attrs...)
	}
}

// notesOf calls f with mu held, and returns the log records that f has added.
func (n *Node) notesOf(f func()) []note {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	notes := n.notes
	n.notes = nil
	return notes
}

// ID returns the node id. An id that is not fixed may change: usually while the node starts, and later only when two
// parts of a cluster meet that did not know each other.
func (n *Node) ID() uint64 { return n.id.Load() }

// Self returns this node as the other members see it. It is empty before Start.
func (n *Node) Self() Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.self == nil {
		return Member{}
	}
	return member(n.self.Addr, n.self.Epoch, n.hello, n.state == serving, 0)
}
