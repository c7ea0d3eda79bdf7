package nano

import (
	"context"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/session"
)

// clusterOptions holds what makes a server a node of a cluster.
type clusterOptions struct {
	joined   bool // an option makes the server a node
	seeds    []string
	retry    time.Duration
	nodeAddr string // where other nodes dial this one
	label    string
	secret   string
	selector cluster.CustomerRemoteServiceRoute
	dial     []grpc.DialOption
	server   []grpc.ServerOption
	changed  []func(cluster.Member) // called when members come up and go down
}

// listenOptions holds what only Listen uses.
type listenOptions struct {
	ctx        context.Context // ends Listen; nil for none
	clientAddr string          // where clients connect
}

// WithContext makes [Listen] shut down and return nil when ctx ends, whenever that is: if
// ctx has ended before, Listen opens no port. A server of [New] does not use it; call
// [Server.Shutdown] instead.
func WithContext(ctx context.Context) Option {
	return func(o *options) {
		if ctx == nil {
			o.fault("WithContext: want a context, got nil")
			return
		}
		o.listen.ctx = ctx
	}
}

// WithClientAddr sets the address at which [Listen] accepts clients, such as ":3250". On
// a node of a cluster, the address given to Listen is the one for other nodes; without
// WithClientAddr such a node accepts no clients. On any other server, Listen uses this
// address instead of its own argument, which it does not open. The empty address is the
// same as no option. WithClientAddr alone does not make a node.
func WithClientAddr(addr string) Option {
	return func(o *options) { o.listen.clientAddr = addr }
}

// WithCluster makes the server a node of a cluster. Without [WithSeeds] it waits for
// other nodes that have it as a seed. All nodes are equal: the cluster works on if this
// one ends.
func WithCluster() Option { return func(o *options) { o.cluster.joined = true } }

// WithSeeds makes the server a node of the cluster that the nodes at these addresses
// belong to. Each address is "host:port", and one node that answers is enough. If a host
// has several IP addresses, the node tries them all. It tries seeds that do not answer
// every second, or as [WithSeedRetry] says, without end.
func WithSeeds(addrs ...string) Option {
	return func(o *options) { o.addSeeds("WithSeeds", addrs) }
}

// addSeeds adds the addresses that an option names.
func (o *options) addSeeds(option string, addrs []string) {
	o.cluster.joined = true
	if len(addrs) == 0 {
		o.fault("%s: want host:port, got none", option)
	}
	for _, seed := range addrs {
		seed = strings.TrimSpace(seed)
		if host, port, err := net.SplitHostPort(seed); err != nil || host == "" || port == "" {
			o.fault("%s: want host:port, got %q", option, seed)
			continue
		}
		o.cluster.seeds = append(o.cluster.seeds, seed)
	}
}

// WithSeedRetry sets how long a node waits before it tries seeds again that did not
// answer: 1 s by default, any time above 0.
func WithSeedRetry(d time.Duration) Option {
	return func(o *options) {
		if o.above("WithSeedRetry", d) {
			o.cluster.retry = d
		}
	}
}

// WithNodeAddress makes the server a node, and sets the address, "host:port", at which
// other nodes dial it. It is needed if that is not the address on which the node listens,
// for example behind NAT. An address without a host, or of every interface such as
// 0.0.0.0, is an error. The default, and "", is the listener's address, or an address of
// this machine if the listener is on every interface.
func WithNodeAddress(addr string) Option {
	return func(o *options) { o.cluster.joined, o.cluster.nodeAddr = true, addr }
}

// WithClusterSecret makes the server a node, and makes nodes prove to each other that
// they know the secret. The secret itself is never sent, and a node that does not know it
// is refused. Messages between nodes are not encrypted; see [WithGrpcOptions] for TLS.
func WithClusterSecret(secret string) Option {
	return func(o *options) {
		if secret == "" {
			o.fault("WithClusterSecret: want a secret, got an empty one")
			return
		}
		o.cluster.joined, o.cluster.secret = true, secret
	}
}

// WithLabel sets a name for the node, or for its kind, that other nodes see in
// [cluster.Member].
func WithLabel(label string) Option { return func(o *options) { o.cluster.label = label } }

// WithMemberCallback sets a function to call when another node comes up and when it goes
// down; Member.Up says which. It runs on the logic goroutine, and calls about one node
// alternate. A process that restarts is a new node at the same address. It may be given
// several times.
func WithMemberCallback(f func(cluster.Member)) Option {
	return func(o *options) {
		if f == nil {
			o.fault("WithMemberCallback: want a function, got nil")
			return
		}
		o.cluster.changed = append(o.cluster.changed, f)
	}
}

// WithNodeSelector sets a function that chooses the node to serve a session's messages to
// a service. It gets the nodes that are up and serve the service. The session keeps to
// the chosen node until that node goes down or the program changes the session's
// [session.Router]. By default, and for nil, sessions are spread over the nodes in turn.
// The function runs on the logic goroutine, and on goroutines that call
// [session.Session.Call].
func WithNodeSelector(f func(service string, s *session.Session, nodes []*clusterpb.MemberInfo) *clusterpb.MemberInfo) Option {
	return func(o *options) { o.cluster.selector = f }
}

// WithGrpcOptions adds options with which this node dials other nodes, for messages and
// membership alike, such as [grpc.WithTransportCredentials] for TLS.
func WithGrpcOptions(opts ...grpc.DialOption) Option {
	return func(o *options) {
		if slices.Contains(opts, nil) {
			o.fault("WithGrpcOptions: want options, got nil")
			return
		}
		o.cluster.dial = append(o.cluster.dial, opts...)
	}
}

// WithGrpcServerOptions adds options with which this node serves other nodes, for
// messages and membership alike, such as [grpc.Creds] for TLS and client certificates.
func WithGrpcServerOptions(opts ...grpc.ServerOption) Option {
	return func(o *options) {
		if slices.Contains(opts, nil) {
			o.fault("WithGrpcServerOptions: want options, got nil")
			return
		}
		o.cluster.server = append(o.cluster.server, opts...)
	}
}
