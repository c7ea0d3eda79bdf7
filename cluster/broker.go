// Package cluster owns the other nodes: who they are, what they serve, and what is sent between them. It does not know how
// clients are connected: of those it sees a Gate and its Clients.
//
// Programs meet Member, Stats, the errors and CustomerRemoteServiceRoute; nodes are started by the options of package
// nano.
package cluster

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/internal/dispatch"
	"github.com/lonng/nano/internal/sessionctl"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/session"
)

// Client is one connected client of this node: the network entity of its session.
type Client interface {
	session.NetworkEntity
	Session() *session.Session
	Control() sessionctl.Control
	Mailbox() *dispatch.Mailbox
	// Relay sends a response or push whose payload is encoded; the payload is not kept.
	Relay(m *message.Message) error
	// RelayError answers a request of the client with an error.
	RelayError(mid uint64, route string, e *message.Error)
	// KickFor kicks the client for a reason.
	KickFor(why error, reason string) error
	// Bound is told that the session's uid has changed.
	Bound(s *session.Session, old, uid int64) error
	// Routed is told where a service is bound for the session.
	Routed(s *session.Session, service, address string)
}

// Gate is the clients of this node. Its methods may be called concurrently.
type Gate interface {
	// ByUID returns the open sessions of a user.
	ByUID(uid int64) []*session.Session
	// Multicast pushes one message to many clients; the payload is not kept.
	Multicast(to []Client, route string, data []byte)
	// Begin and End enclose a run of what is sent to clients: it may go out together at the End.
	Begin()
	End()
}

// BrokerConfig is what a Broker is made of.
type BrokerConfig struct {
	// Node is this node's membership; nil for a server on its own. The broker sets its Handler and Listed.
	Node *Config
	Log  *slog.Logger
	// Dispatcher serves what other nodes send, and is told what they serve.
	Dispatcher *dispatch.Dispatcher
	Gate       Gate
	// Route chooses the node that serves a session's messages to a service; nil for one after the other.
	Route CustomerRemoteServiceRoute
	// Changed is told of members that came up and went down, nil where nobody wants to know. It must not block.
	Changed func(Member)
	// SingleLogin allows a user one session in the whole cluster.
	SingleLogin bool
	// MaxPending and MaxSize bound the messages of a session of another node's client that wait here, and their bytes.
	MaxPending int
	MaxSize    int
}

// Broker joins the sessions and handlers of this node with those of the others: it sends clients' messages to who serves
// them, serves what others send, and brings the answers back. A session has its home at its client's gate, through which
// everything goes that the session sends or is sent; the other nodes have copies. Its methods may be called
// concurrently.
//
// Locks are taken in this order: loginMu, neighbor.mu, then one of those that take no other: mu, callMu, remote.mu,
// and those of links, sessions and mailboxes.
type Broker struct {
	BrokerConfig
	node *Node // nil for a server on its own
	addr atomic.Pointer[string]

	neighbors atomic.Pointer[[]*neighbor] // that are up; replaced under mu
	services  sync.Map                    // those that another node has served so far: *atomic.Uint64 by name, whose turn it is

	wg sync.WaitGroup // remotes that have not finished; Add is called under mu

	mu       sync.Mutex
	draining bool                // no more remotes are made; mu guards it and what follows
	uids     map[int64][]*remote // open remotes by uid

	ids callIDs

	callMu sync.Mutex
	calls  map[uint64]*outCall // that this node waits for; callMu guards it and what follows
	jobs   map[uint64]*job     // calls that this node serves, or passes on

	loginMu sync.Mutex
	logins  map[int64]login // of this node's clients, by session; loginMu guards it

	counts counts
}

// NewBroker makes a broker. Join makes it part of a cluster.
func NewBroker(c BrokerConfig) *Broker {
	b := &Broker{
		BrokerConfig: c,
		ids:          callIDs{seed: maphash.MakeSeed()},
		uids:         make(map[int64][]*remote),
		calls:        make(map[uint64]*outCall),
		jobs:         make(map[uint64]*job),
		logins:       make(map[int64]login),
	}
	b.neighbors.Store(new([]*neighbor))
	if c.Node != nil {
		nc := *c.Node
		nc.Handler, nc.Listed, nc.Counts = b, b.listed, &b.counts.traffic
		b.node = NewNode(nc)
	}
	return b
}

// address returns where others dial this node; "" for a server on its own, and before it has joined.
func (b *Broker) address() string {
	if a := b.addr.Load(); a != nil || b.node == nil {
		return *cmp.Or(a, new(string))
	}
	a := b.node.Self().Addr
	if a != "" {
		b.addr.Store(&a)
	}
	return a
}

// Clustered reports whether the broker is a node's.
func (b *Broker) Clustered() bool { return b.node != nil }

// Join starts the node on l: see Node.Start.
func (b *Broker) Join(ctx context.Context, l net.Listener) error { return b.node.Start(ctx, l) }

// withdrawTimeout is how long Withdraw waits for the others, or half of the time that there is where that is less: what was
// accepted is to run yet.
const withdrawTimeout = time.Second

// Withdraw tells the others that nothing is served here any more, and waits until they know, and what they sent before is
// here.
func (b *Broker) Withdraw(ctx context.Context) {
	if b.node == nil {
		return
	}
	b.node.Withdraw()
	ctx, cancel := context.WithTimeout(ctx, min(withdrawTimeout, left(ctx)/2))
	defer cancel()
	var wg sync.WaitGroup
	for _, nb := range *b.neighbors.Load() {
		wg.Go(func() { nb.flush(ctx) })
	}
	wg.Wait()
}

// flush returns when the neighbor has acted on what it was sent, and this node on what the neighbor sent until then. It
// calls no route: that tells the neighbor that nothing may come behind its answer; see neighbor.withdrew.
func (nb *neighbor) flush(ctx context.Context) {
	_ = nb.b.await(ctx, nil, nil, func(ctx context.Context, c *outCall, _ []byte) error {
		nb.b.at(c, nb)
		return nb.link.Send(&Frame{Kind: kindCall, ID: c.id, Meta: appendTime(nil, left(ctx).Microseconds())})
	})
}

// Leave takes the node out of the cluster: see Node.Stop.
func (b *Broker) Leave(ctx context.Context) error {
	if b.node == nil {
		return nil
	}
	return b.node.Stop(ctx)
}

// Node returns the membership, nil for a server on its own.
func (b *Broker) Node() *Node { return b.node }

// Drain has the sessions of other nodes' clients closed here, with ErrShutdown, when the messages that were accepted
// have run. Their clients stay connected.
func (b *Broker) Drain() {
	b.mu.Lock()
	b.draining = true
	b.mu.Unlock()
	for _, nb := range *b.neighbors.Load() {
		for _, r := range nb.remotes() {
			r.drain()
		}
	}
}

// Wait returns when every session of other nodes' clients has finished here, or with the error of ctx when that ends.
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

// Up is told that a member came up; it is part of Handler.
func (b *Broker) Up(l *Link) {
	nb := &neighbor{b: b, link: l, clients: make(map[int64]*reach), sessions: make(map[int64]*remote), users: make(map[int64][]login)}
	l.Owner = nb
	for _, s := range l.Hello().GetInfo().GetServices() {
		b.services.LoadOrStore(s, new(atomic.Uint64))
	}
	b.loginMu.Lock()
	defer b.loginMu.Unlock()
	nb.tellLogins()
	b.mu.Lock()
	defer b.mu.Unlock()
	list := append(slices.Clone(*b.neighbors.Load()), nb)
	b.neighbors.Store(&list)
}

// listed is told that a member that is up may be chosen.
func (b *Broker) listed(l *Link) {
	l.Owner.(*neighbor).listed = true
	if b.Changed != nil {
		b.Changed(MemberOf(l))
	}
}

// Received is handed what a member sent; it is part of Handler.
func (b *Broker) Received(l *Link, frames []Frame) {
	nb := l.Owner.(*neighbor)
	b.Gate.Begin()
	defer b.Gate.End()
	for i := range frames {
		nb.receive(&frames[i])
	}
	nb.deliver()
}

// Down is told that a member went down; it is part of Handler.
func (b *Broker) Down(l *Link, err error) {
	nb := l.Owner.(*neighbor)
	b.mu.Lock()
	list := slices.DeleteFunc(slices.Clone(*b.neighbors.Load()), func(n *neighbor) bool { return n == nb })
	b.neighbors.Store(&list)
	b.mu.Unlock()
	b.Gate.Begin()
	nb.lost()
	b.Gate.End()
	b.dropCalls(nb)
	if nb.listed && b.Changed != nil && !errors.Is(err, ErrStopped) { // it is this node that went
		b.Changed(MemberOf(l))
	}
}

// neighbor is another node, over one link to it.
type neighbor struct {
	b    *Broker
	link *Link
	dead atomic.Bool // the link was found broken

	// These belong to the link's goroutine.
	listed   bool
	batch    *dispatch.Batch // messages of batchFor that are not delivered yet
	batchFor *remote
	room     int             // that batchFor had when batch was begun
	block    []byte          // what is left of a block that payloads are copied into
	message  message.Message // of which clients are sent one at a time
	members  []Client

	mu       sync.Mutex
	down     bool              // it serves nothing any more, as when the link is over; mu guards it and what follows
	clients  map[int64]*reach  // clients of this node whose sessions the neighbor knows
	sessions map[int64]*remote // sessions of the neighbor's clients that are known here
	users    map[int64][]login // of the neighbor's clients, by uid
	jobs     int               // calls that are served for the neighbor; Broker.callMu guards it and jobSize
	jobSize  int
}

// neighborOf returns the neighbor at the other end of a link that is up.
func neighborOf(l *Link) *neighbor { return l.Owner.(*neighbor) }

// blockSize is how much is allocated at a time for the payloads that handlers get; larger ones get their own.
const blockSize = 4 << 10

// Keep copies a payload to where it stays. It is for the link's goroutine.
func (nb *neighbor) Keep(data []byte) []byte {
	if len(data) > blockSize/4 {
		return bytes.Clone(data)
	}
	if len(data) > len(nb.block) {
		nb.block = make([]byte, blockSize)
	}
	n := copy(nb.block, data)
	kept := nb.block[:n:n]
	nb.block = nb.block[n:]
	return kept
}

// receive acts on a frame of the neighbor.
func (nb *neighbor) receive(f *Frame) {
	var err error
	switch f.Kind {
	case kindRequest, kindNotify:
		err = nb.serve(f)
	case kindResponse:
		nb.response(f)
	case kindDone:
		err = nb.done(f)
	case kindPush:
		nb.push(f)
	case kindMulticast:
		err = nb.multicast(f)
	case kindKick, kindClose:
		nb.close(f)
	case kindRPC:
		nb.rpc(f)
	case kindUID:
		nb.uid(f)
	case kindRoute:
		nb.route(f)
	case kindClosed:
		nb.closed(f)
	case kindCall:
		err = nb.call(f)
	case kindReturn:
		nb.returned(f)
	case kindCancel:
		nb.b.cancelJob(nb, f.ID)
	case kindLogins:
		err = nb.loggedIn(f)
	case kindPushUser, kindKickUser:
		nb.user(f)
	}
	if err != nil {
		nb.b.Log.Warn("cluster: frame dropped", "from", nb.link.Addr, "kind", f.Kind, "err", err)
	}
}

// lost ends everything that went over the link.
func (nb *neighbor) lost() {
	nb.dead.Store(true)
	nb.mu.Lock()
	nb.down = true
	clients, sessions := nb.clients, nb.sessions
	nb.clients, nb.sessions, nb.users = nil, nil, nil
	nb.mu.Unlock()
	if nb.batch != nil {
		nb.batch.Free()
		nb.batch = nil
	}
	for _, r := range clients {
		nb.lostClient(r)
	}
	for _, r := range sessions {
		_ = r.shut(errGateDown) // it may have closed before
	}
}

// remotes returns the sessions of the neighbor's clients that are known here.
func (nb *neighbor) remotes() []*remote {
	nb.mu.Lock()
	defer nb.mu.Unlock()
	list := make([]*remote, 0, len(nb.sessions))
	for _, r := range nb.sessions {
		list = append(list, r)
	}
	return list
}

// serviceOf returns the service of a route.
func serviceOf(route string) (string, bool) {
	dot := strings.LastIndexByte(route, '.')
	return route[:max(dot, 0)], dot > 0
}

// failure is an error that a client may be told of, with what errors.Is finds in it.
type failure struct {
	public *message.Error
	cause  error
}

func (f *failure) Error() string   { return f.public.Error() }
func (f *failure) Unwrap() []error { return []error{f.public, f.cause} }

// sendError returns the error of a link's Send as a program or client gets it.
func sendError(err error) error {
	switch err {
	case nil:
		return nil
	case ErrMemberDown:
		return errDown
	case ErrQueueFull:
		return errQueueFull
	}
	return err
}

var (
	errDown      error = &failure{message.Errorf(message.CodeUnavailable, "the node that serves it is down"), ErrMemberDown}
	errQueueFull error = &failure{message.Errorf(message.CodeUnavailable, "the node that serves it is too slow"), ErrQueueFull}
)

var _ interface {
	Handler
	dispatch.Remote
} = (*Broker)(nil)
