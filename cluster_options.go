package nano

import (
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/lonng/nano/cluster"
)

// clusterOptions is what makes a server a node of a cluster.
type clusterOptions struct {
	joined      bool // an option asks for a cluster
	seeds       []string
	retry       time.Duration
	serviceAddr string
	clientAddr  string
	label       string
	secret      string
	route       cluster.CustomerRemoteServiceRoute
	dial        []grpc.DialOption
	server      []grpc.ServerOption
	changed     []func(cluster.Member) // told of members that came up and went down
}

// WithMaster makes the server a node of a cluster that needs no other node to begin with: the one that others name in
// WithAdvertiseAddr. That is all there is to it: nobody leads a cluster, and it goes on when this node is gone.
func WithMaster() Option { return func(o *options) { o.cluster.joined = true } }

// WithAdvertiseAddr makes the server a node of the cluster that the nodes at addr belong to: "host:port", and several
// with commas in between, any of which will do. Of a host name every address is tried. Those that do not answer are tried
// on for ever, every second, or every retry; so is one that is restarted later.
func WithAdvertiseAddr(addr string, retry ...time.Duration) Option {
	return func(o *options) {
		o.cluster.joined = true
		for _, seed := range strings.Split(addr, ",") {
			if seed = strings.TrimSpace(seed); seed != "" {
				o.cluster.seeds = append(o.cluster.seeds, seed)
			}
		}
		if len(o.cluster.seeds) == 0 {
			o.fault("WithAdvertiseAddr: want host:port, got %q", addr)
		}
		if len(retry) > 0 {
			o.cluster.retry = retry[0]
		}
	}
}

// WithServiceAddr sets the address, "host:port", at which other nodes dial this one, where it differs from the one that
// it listens on: behind NAT, or in a pod with a name of its own. One without a host, or of every interface, is an error. By
// default it is the listener's address; of one that listens on every interface, an address of this machine.
func WithServiceAddr(addr string) Option {
	return func(o *options) { o.cluster.joined, o.cluster.serviceAddr = true, addr }
}

// WithClientAddr sets the address that players connect to, of a node that Listen starts: Listen's own address is then the
// one for other nodes. Without it such a node has no players.
func WithClientAddr(addr string) Option {
	return func(o *options) { o.cluster.joined, o.cluster.clientAddr = true, addr }
}

// WithClusterSecret has nodes prove to each other that they know the secret, which is never sent: a node that does not is
// refused. It does not hide what is sent; TLS does, see WithGrpcOptions.
func WithClusterSecret(secret string) Option {
	return func(o *options) { o.cluster.joined, o.cluster.secret = true, secret }
}

// WithLabel sets a name for the node, or for what kind of node it is, for other nodes to see; see cluster.Member.
func WithLabel(label string) Option { return func(o *options) { o.cluster.label = label } }

// WithMemberCallback has f called when another node comes up, and when it goes down: Member.Up says which. f runs on the
// logic goroutine; for one node the calls take turns. A process that is restarted is a new node at the same address.
func WithMemberCallback(f func(cluster.Member)) Option {
	return func(o *options) {
		if f != nil {
			o.cluster.changed = append(o.cluster.changed, f)
		}
	}
}

// WithUnregisterCallback has f called when another node goes down, as WithMemberCallback does.
func WithUnregisterCallback(f func(cluster.Member)) Option {
	return func(o *options) {
		if f != nil {
			o.cluster.changed = append(o.cluster.changed, func(m cluster.Member) {
				if !m.Up {
					f(m)
				}
			})
		}
	}
}

// WithCustomerRemoteServiceRoute has f choose the node that serves a session's messages to a service, of those that serve
// it and are up. The session keeps to it until that node goes down, or the program changes Session.Router. By default
// sessions go to one node after the other. f runs on the logic goroutine, and on those that call Session.Call.
func WithCustomerRemoteServiceRoute(f cluster.CustomerRemoteServiceRoute) Option {
	return func(o *options) { o.cluster.route = f }
}

// WithGrpcOptions adds options to those with which this node dials others, for data and membership alike: TLS, with
// grpc.WithTransportCredentials.
func WithGrpcOptions(opts ...grpc.DialOption) Option {
	return func(o *options) { o.cluster.dial = append(o.cluster.dial, opts...) }
}

// WithGrpcServerOptions adds options to those with which this node serves others, for data and membership alike: TLS and
// the certificates that are asked for, with grpc.Creds.
func WithGrpcServerOptions(opts ...grpc.ServerOption) Option {
	return func(o *options) { o.cluster.server = append(o.cluster.server, opts...) }
}
