package mesh

import (
	"log/slog"
	"time"

	"github.com/lonng/nano/internal/gossip"
	"github.com/lonng/nano/internal/link"

	"google.golang.org/grpc"
)

// Config configures a Node.
type Config struct {
	// ID is the node id. If another member has the same id, one of the two nodes takes a free id from 1 to MaxID: see
	// [Node.ID]. A node with FixedID keeps its id, and two nodes with the same fixed id refuse each other. MaxID is 1023
	// if it is 0.
	ID      uint64
	FixedID bool
	MaxID   uint64
	// Addr is where other nodes dial this one, "host:port". If it is empty, it is the listener's address, or an address
	// of this machine if the listener listens on all interfaces.
	Addr string
	// Seeds are the addresses of nodes to join, "host:port". Every address of a host name is tried. Retry is the time
	// between two attempts, 1 s if it is 0.
	Seeds []string
	Retry time.Duration
	// Label and Services are shown to other members.
	Label    string
	Services []string
	// Traces says in the hello that this node makes spans.
	Traces bool
	// Secret is the shared secret of all nodes of the cluster; "" for none. It is never
	// sent.
	Secret string
	// DialOptions and ServerOptions apply to links and gossip, after the node's own
	// options.
	DialOptions   []grpc.DialOption
	ServerOptions []grpc.ServerOption
	// Handler receives the events of the links. It is required.
	Handler Handler
	// Listed, if it is not nil, is called after Handler.Up, when Links and Members include the link.
	Listed func(l *link.Link)
	// Counts, if it is not nil, counts the traffic of the links.
	Counts *link.Counts
	// Logger is slog.Default() if it is nil.
	Logger *slog.Logger
	// Timing is DefaultTiming() if it is nil.
	Timing *Timing
}

// Handler receives the events of the links. For one link, one goroutine calls Up, then
// Received any number of times, then Down. The calls of different links are concurrent. A
// Handler must not block: see [link.Handler].
type Handler interface {
	// Up is called when a member came up. Frames that it sends on the link precede all
	// others.
	Up(l *link.Link)
	// Received is called with frames in the order in which the member sent them. The slice and the bytes of the frames
	// are valid until it returns.
	Received(l *link.Link, frames []link.Frame)
	// Down is called when a member went down, with the reason. The same process may come up again on another link.
	Down(l *link.Link, err error)
}

// Timing holds the periods and deadlines of a node.
type Timing struct {
	Link      link.Config
	Gossip    gossip.Timing
	Handshake time.Duration // the longest time to dial a link and to complete its handshake
	Settle    time.Duration // how long Start waits for links to the known members
	RedialMin time.Duration // shortest time between two dials of a member
	RedialMax time.Duration // longest time, for a member that was seen recently
	RedialOld time.Duration // longest time, for other members
	Recent    time.Duration // how long a member counts as seen recently
	Refused   time.Duration // between two dials of a member that refused this node
	Crossing  time.Duration // how long a dial in progress has precedence over the peer's dial
	Alive     time.Duration // how long an old process may take to show that it still has the address of a newer one
	Forget    time.Duration // after this time without a sign of it, a member is not dialed any more
	Heal      time.Duration // how long a linked member may be missing from the gossip
	Leave     time.Duration // how long Stop waits for the members to end their links
}

// DefaultTiming returns the periods and deadlines for nodes of one site.
func DefaultTiming() Timing {
	return Timing{
		Link:      link.DefaultConfig(),
		Gossip:    gossip.DefaultTiming(),
		Handshake: 2 * time.Second,
		Settle:    500 * time.Millisecond,
		RedialMin: 20 * time.Millisecond,
		RedialMax: 500 * time.Millisecond,
		RedialOld: 3 * time.Second,
		Recent:    time.Minute,
		Refused:   5 * time.Second,
		Crossing:  500 * time.Millisecond,
		Alive:     500 * time.Millisecond,
		Forget:    10 * time.Minute,
		Heal:      3 * time.Second,
		Leave:     time.Second,
	}
}
