package cluster

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/gossip"
	"github.com/lonng/nano/internal/nodeauth"
	"github.com/lonng/nano/internal/link"

	"github.com/pkg/errors"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Config is what a Node is made of.
type Config struct {
	// ID is the node id. If another member has it, one of the two takes another that is free, 1 to MaxID: see Node.ID.
	// One with FixedID keeps its id, and two of them refuse each other. MaxID is 1023 if it is 0.
	ID      uint64
	FixedID bool
	MaxID   uint64
	// Addr is where others dial this node, "host:port". Empty: the listener's address, or an address of this machine if
	// it listens on all of them.
	Addr string
	// Seeds are the addresses of nodes to join, "host:port"; of a host name every address is tried. Retry is the time
	// between two tries, 1 s if it is 0.
	Seeds []string
	Retry time.Duration
	// Label and Services are told to the other members.
	Label    string
	Services []string
	// Secret, if it is not empty, is needed to take part. It is never sent.
	Secret string
	// DialOptions and ServerOptions apply to data and gossip alike, after the node's own.
	DialOptions   []grpc.DialOption
	ServerOptions []grpc.ServerOption
	// Handler is told of members and handed their frames. It is required.
	Handler Handler
	// Listed, if it is not nil, is called after Handler.Up, when Links and Members show the link.
	Listed func(l *Link)
	// Counts, if it is not nil, is where the links count.
	Counts *link.Counts
	// Logger gets the node's notes; slog.Default() if it is nil.
	Logger *slog.Logger
}

// Handler is told what happens on the links. Up, any number of Received, and Down of one link come in this order from
// one goroutine; different links call concurrently. It must not block: see link.Handler.
type Handler interface {
	// Up tells that a member came up. What it sends on the link goes out before anything else.
	Up(l *Link)
	// Received is handed frames in the order in which the member sent them; the slice and the bytes of the frames are
	// valid until it returns.
	Received(l *Link, frames []Frame)
	// Down tells that a member went down, and why. The same process may come up again on another link.
	Down(l *Link, err error)
}

// Link is what two members talk over.
type Link = link.Link

// Frame is what they say.
type Frame = link.Frame

// timing holds the node's periods and deadlines.
type timing struct {
	link      link.Config
	gossip    gossip.Timing
	greet     time.Duration // within which a link is dialed and greeted
	hello     time.Duration // that Start waits for the links of the members it knows of
	redialMin time.Duration
	redialMax time.Duration // while a member was seen not long ago
	redialOld time.Duration // after recent
	recent    time.Duration
	refused   time.Duration // between two tries to a member that refused
	cross     time.Duration // how long a dial under way has precedence over the peer's
	alive     time.Duration // within which an older process shows that it still has the address of a newer one
	forget    time.Duration // after which a member that nobody sees is dialed no more
	heal      time.Duration // that a linked member may be missing from the gossip
	leave     time.Duration // that Stop waits for the members to take leave
}

func defaultTiming() timing {
	return timing{
		link:      link.DefaultConfig(),
		gossip:    gossip.DefaultTiming(),
		greet:     2 * time.Second,
		hello:     500 * time.Millisecond,
		redialMin: 20 * time.Millisecond,
		redialMax: 500 * time.Millisecond,
		redialOld: 3 * time.Second,
		recent:    time.Minute,
		refused:   5 * time.Second,
		cross:     500 * time.Millisecond,
		alive:     500 * time.Millisecond,
		forget:    10 * time.Minute,
		heal:      3 * time.Second,
		leave:     time.Second,
	}
}

// state is how far a node has come. It only grows.
type state int

const (
	fresh state = iota
	starting
	serving
	stopping
)

// Node is this process's membership in a cluster: it owns the gRPC server, the gossip and the links. Its methods may
// be called concurrently.
type Node struct {
	cfg    Config
	t      timing
	self   *nodeauth.Self
	log    *slog.Logger
	dial   []grpc.DialOption
	server *grpc.Server
	gossip *gossip.Gossip
	id     atomic.Uint64
	table  atomic.Pointer[table] // of the links that are up
	met    atomic.Bool           // see Met

	refusals rate.Sometimes // log those of strangers: they choose how many there are

	ctx    context.Context // ends when the node stops
	cancel context.CancelFunc
	wg     sync.WaitGroup // of the node's goroutines; Add is called under mu, or by one of them

	leaving sync.WaitGroup // of the gossip's goodbye
	stopped chan struct{}  // closed when Stop is through
	opening sync.Mutex     // held while start opens what Stop closes; taken before mu

	// mu guards what follows. It may be taken under memberlist's lock: whoever holds it must not call memberlist.
	mu      sync.Mutex
	state   state
	hello   *clusterpb.Hello // what this node tells of itself; replaced, never changed
	peers   map[string]*peer // by address
	changed chan struct{}    // closed and replaced when a peer's state changes
	joined  bool             // a seed has answered, or there is none
	failure error            // why the node can't start
	notes   []note           // what unlock is to log
}

// note is a line for the log.
type note struct {
	level slog.Level
	text  string
	args  []any
}

// note has unlock log a line. It is called under mu, which unlock has to release then.
func (n *Node) note(level slog.Level, text string, args ...any) {
	n.notes = append(n.notes, note{level, text, args})
}

// unlock releases mu and logs what was noted under it: the handler of the log is the program's, which may ask for the
// members.
func (n *Node) unlock() {
	notes := n.notes
	n.notes = nil
	n.mu.Unlock()
	for _, l := range notes {
		n.log.Log(context.Background(), l.level, l.text, l.args...)
	}
}

// NewNode makes a node; it does nothing until Start.
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
		cfg: cfg, t: defaultTiming(), log: cfg.Logger,
		refusals: rate.Sometimes{Interval: time.Second},
		stopped:  make(chan struct{}),
		peers:    make(map[string]*peer),
		changed:  make(chan struct{}),
	}
	n.t.link.Counts = cfg.Counts
	n.id.Store(cfg.ID)
	n.table.Store(&table{})
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Start serves on l and joins the cluster. It waits until a seed answered or none will soon, and then at most 500 ms for
// the other seeds and for a link to every member that it knows of; seeds that do not answer are tried on for ever. It
// fails if a seed refuses this node meanwhile, or if its address, or an id that is fixed, is that of another member. The
// node closes l, also if it fails. A node starts once.
func (n *Node) Start(ctx context.Context, l net.Listener) error {
	if err := n.start(l); err != nil {
		_ = l.Close()
		return err
	}
	err := n.join(ctx)
	if err == nil {
		n.mu.Lock()
		switch {
		case n.failure != nil:
			err = n.failure
		case n.state == stopping:
			err = ErrStopped
		default:
			n.state = serving
			n.renew()
		}
		n.mu.Unlock()
	}
	if err != nil {
		_ = n.Stop(context.WithoutCancel(ctx))
		return errors.Wrapf(err, "cluster: join as %s", n.self.Addr)
	}
	if n.cfg.Secret == "" && !isLoopback(l.Addr()) && n.isOpen(ctx, l.Addr()) {
		n.log.Warn("cluster: nodes are not asked to prove themselves: set a cluster secret or TLS options", "listen", l.Addr().String())
	}
	n.log.Info("cluster: started", "addr", n.self.Addr, "id", n.ID(), "members", len(n.Links()))
	return nil
}

// start opens everything that does not need other nodes.
func (n *Node) start(l net.Listener) error {
	if n.cfg.Handler == nil {
		return errors.New("cluster: a Handler is required")
	}
	for _, s := range n.cfg.Seeds {
		if _, _, err := net.SplitHostPort(s); err != nil {
			return errors.Wrapf(err, "cluster: seed %q, host:port expected", s)
		}
	}
	addr := n.cfg.Addr
	if addr == "" {
		addr = dialable(l.Addr())
	}
	if !names(addr) {
		return errors.Wrapf(ErrInvalidRegisterReq, "cluster: address %q, host:port expected", addr)
	}

	n.opening.Lock()
	defer n.opening.Unlock()
	n.mu.Lock()
	if n.state != fresh {
		n.mu.Unlock()
		return errors.New("cluster: node was started or stopped before")
	}
	n.self = &nodeauth.Self{
		Addr: addr, Epoch: uint64(time.Now().UnixNano()), Secret: []byte(n.cfg.Secret),
		Refused: func(why string) {
			n.refusals.Do(func() { n.log.Warn("cluster: refused a node", "err", why) })
		},
	}
	n.renew()
	n.mu.Unlock()
	n.dial = append(dialDefaults(), n.cfg.DialOptions...)
	var err error
	n.gossip, err = gossip.New(gossip.Config{
		Self: n.self, Dial: n.dial, Timing: n.t.gossip, Logger: n.log,
		Alive: n.alive, Gone: n.gone,
	})
	if err != nil {
		return err
	}
	n.server = grpc.NewServer(append(serverDefaults(), n.cfg.ServerOptions...)...)
	clusterpb.RegisterClusterServer(n.server, service{node: n})

	n.mu.Lock()
	defer n.mu.Unlock()
	n.state = starting
	n.wg.Go(func() {
		if err := n.server.Serve(l); err != nil && n.ctx.Err() == nil {
			n.log.Error("cluster: serving ended", "err", err)
		}
	})
	return nil
}

// isOpen reports whether this node lets in who has nothing to show. The server options do not tell what they ask for, so it
// tries: it dials itself at addr without TLS, and with TLS but no certificate.
func (n *Node) isOpen(ctx context.Context, addr net.Addr) bool {
	ctx, cancel := context.WithTimeout(ctx, n.t.greet)
	defer cancel()
	stranger := &nodeauth.Self{Addr: n.self.Addr, Epoch: n.self.Epoch}
	for _, creds := range []credentials.TransportCredentials{
		insecure.NewCredentials(),
		credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}), // it is this node, whatever its certificate says
	} {
		conn, err := grpc.NewClient("passthrough:///"+addr.String(), append(dialDefaults(), grpc.WithTransportCredentials(creds))...)
		if err != nil {
			continue
		}
		st, err := clusterpb.NewClusterClient(conn).Packets(ctx)
		if err == nil {
			_, err = stranger.Dial(st, nil)
		}
		_ = conn.Close()
		if err == nil {
			return true
		}
	}
	return false
}

// join makes the node part of the cluster as far as that is possible now.
func (n *Node) join(ctx context.Context) error {
	first := make(chan error, 1)
	n.mu.Lock()
	n.spawn(func() { n.tend(first) })
	n.mu.Unlock()
	var deadline <-chan time.Time // from when a seed has answered, or none has
	tried := false                // every seed
	for {
		n.mu.Lock()
		changed, err, joined, settled := n.changed, n.failure, n.joined, n.settled()
		n.mu.Unlock()
		if err != nil || tried && settled {
			return err
		}
		if deadline == nil && (joined || tried) {
			t := time.NewTimer(n.t.hello)
			defer t.Stop()
			deadline = t.C
		}
		select {
		case err := <-first:
			if err != nil {
				return err
			}
			tried = true
		case <-changed:
		case <-deadline:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-n.ctx.Done():
			return ErrStopped
		}
	}
}

// settled reports whether every member that is known of was linked or could not be. It is called under mu.
func (n *Node) settled() bool {
	for _, p := range n.peers {
		if !p.up && !p.tried && !p.left {
			return false
		}
	}
	return true
}

// Stop leaves the cluster: frames that were queued are sent, the members are told, and every goroutine is waited for.
// When ctx ends it breaks off what is still open, and returns the context's error if something did not end. Calling
// it again waits for the first call.
func (n *Node) Stop(ctx context.Context) error {
	n.opening.Lock()
	n.mu.Lock()
	was := n.state
	n.state = stopping
	links := n.allLinks()
	n.mu.Unlock()
	n.opening.Unlock()
	switch was {
	case stopping:
		select {
		case <-n.stopped:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	case fresh:
		n.cancel()
		close(n.stopped)
		return nil
	}
	left := make(chan struct{})
	n.leaving.Go(func() {
		defer close(left)
		n.gossip.Leave(2 * n.t.gossip.Gossip)
	})
	for _, l := range links {
		l.Leave()
	}
	timeout := time.NewTimer(n.t.leave)
	defer timeout.Stop()
	expired := false
	for _, l := range links {
		if !expired {
			select {
			case <-l.Finished():
				continue
			case <-timeout.C:
			case <-ctx.Done():
			}
			expired = true
		}
		l.Close(ErrStopped)
	}
	select {
	case <-left:
	case <-ctx.Done():
	}
	return n.end(ctx)
}

// end breaks off everything and waits for it.
func (n *Node) end(ctx context.Context) error {
	n.mu.Lock()
	links := n.allLinks()
	n.mu.Unlock()
	for _, l := range links {
		l.Close(ErrStopped)
	}
	n.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.leaving.Wait() // memberlist is not stopped while it takes leave
		n.gossip.Stop()
		n.server.Stop()
		n.wg.Wait()
		n.gossip.Wait(ctx)
		close(n.stopped)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// spawn runs f on a goroutine that Stop waits for, unless the node is stopping. It is called under mu.
func (n *Node) spawn(f func()) bool {
	if n.state == stopping {
		return false
	}
	n.wg.Go(f)
	return true
}

// ID returns the node id. One that is not fixed may change: mostly while the node starts, later only when parts of a
// cluster meet that did not know of each other.
func (n *Node) ID() uint64 { return n.id.Load() }

// Withdraw tells the members that this node serves nothing any more.
func (n *Node) Withdraw() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state == starting || n.state == serving {
		n.cfg.Services = nil
		n.renew()
	}
}

// Self returns this node as the others see it. It is empty before Start.
func (n *Node) Self() Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.self == nil {
		return Member{}
	}
	return member(n.self.Addr, n.self.Epoch, n.hello, n.state == serving, 0)
}

// Members returns the other members that have been seen, by address: those that are up, and those that went down
// without leaving, for as long as they are dialed.
func (n *Node) Members() []Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []Member
	for _, p := range n.peers {
		switch {
		case p.up:
			all = append(all, member(p.addr, p.epoch, p.hello, p.link.Err() == nil, p.link.RTT()))
		case p.hello != nil && !p.left:
			all = append(all, member(p.addr, p.epoch, p.hello, false, 0))
		}
	}
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.Addr, b.Addr) })
	return all
}

// Links returns the links that are up, by address. The slice must not be changed.
func (n *Node) Links() []*Link { return n.table.Load().links }

// LinksTo returns the links that are up to members with the service, by address. The slice must not be changed.
func (n *Node) LinksTo(service string) []*Link { return n.table.Load().services[service] }

// Met reports whether this node has come to know the members and what they serve: a seed has answered, and since then
// there was a time when no member of the gossip was without a link. It stays true. A node without seeds has nobody to
// meet.
func (n *Node) Met() bool { return n.met.Load() }

// acquainted reports whether every member that the gossip takes for alive is linked. It is called under mu.
func (n *Node) acquainted() bool {
	for _, p := range n.peers {
		if !p.up && len(p.known) > 0 {
			return false
		}
	}
	return true
}

// table is a snapshot of the links that are up.
type table struct {
	links    []*Link
	services map[string][]*Link
}

// publish makes a new snapshot. It is called under mu.
func (n *Node) publish() {
	t := &table{services: make(map[string][]*Link)}
	for _, p := range n.peers {
		if p.up {
			t.links = append(t.links, p.link)
		}
	}
	slices.SortFunc(t.links, func(a, b *Link) int { return strings.Compare(a.Addr, b.Addr) })
	for _, l := range t.links {
		for _, s := range l.Hello().GetInfo().GetServices() {
			t.services[s] = append(t.services[s], l)
		}
	}
	n.table.Store(t)
	n.notify()
}

// notify wakes who waits for peers to change. It is called under mu.
func (n *Node) notify() {
	if n.joined && !n.met.Load() && n.acquainted() {
		n.met.Store(true)
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// renew makes the hello anew, and tells it to the members that have the one before. It is called under mu.
func (n *Node) renew() {
	n.hello = &clusterpb.Hello{
		Id: n.id.Load(), Fixed: n.cfg.FixedID, Serving: n.state == serving,
		Info: &clusterpb.MemberInfo{Label: n.cfg.Label, ServiceAddr: n.self.Addr, Services: n.cfg.Services},
	}
	for _, p := range n.peers {
		if p.link != nil {
			n.tell(p.link)
		}
	}
}

// tell sends the hello on a link. It is called under mu.
func (n *Node) tell(l *Link) {
	if err := l.SendHello(n.hello); err != nil {
		l.Close(err)
	}
}

// freeID returns an id that no member is known to have. It is called under mu.
func (n *Node) freeID() (uint64, bool) {
	taken := map[uint64]bool{n.id.Load(): true}
	for _, p := range n.peers {
		if p.hello != nil {
			taken[p.hello.GetId()] = true
		}
	}
	first := rand.Uint64N(n.cfg.MaxID)
	for i := range n.cfg.MaxID {
		if id := 1 + (first+i)%n.cfg.MaxID; !taken[id] {
			return id, true
		}
	}
	return 0, false
}

// allLinks returns every link, up or not. It is called under mu.
func (n *Node) allLinks() []*Link {
	var links []*Link
	for _, p := range n.peers {
		if p.link != nil {
			links = append(links, p.link)
		}
	}
	return links
}
