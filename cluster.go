package nano

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/pkg/errors"

	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/internal/agent"
	"github.com/lonng/nano/internal/carry"
	"github.com/lonng/nano/internal/mesh"
	"github.com/lonng/nano/internal/relay"
	"github.com/lonng/nano/internal/snowflake"
	"github.com/lonng/nano/session"
)

// errNoClusterListener is returned by Start for a node without a listener for other
// nodes.
var errNoClusterListener = errors.New("nano: a node of a cluster is started with StartCluster, which gives it a listener for the other nodes")

// newBroker makes the broker, which forwards messages to other nodes and serves theirs.
func (s *Server) newBroker() *relay.Broker {
	o := s.opts
	c := relay.Config{
		Log:         s.log,
		Dispatcher:  s.dispatch,
		Gate:        gate{s},
		Route:       o.cluster.selector,
		Tracer:      o.tracer,
		SingleLogin: o.singleLogin,
		MaxPending:  o.maxPending,
		MaxSize:     o.maxPacket * agent.PendingPackets,
	}
	if !o.cluster.joined {
		return relay.New(c)
	}
	services := make([]string, 0, len(s.dispatch.Services()))
	for _, service := range s.dispatch.Services() {
		services = append(services, service.Name)
	}
	c.Node = &mesh.Config{
		ID:            o.nodeID,
		FixedID:       o.hasNodeID,
		MaxID:         snowflake.MaxNode,
		Addr:          o.cluster.nodeAddr,
		Seeds:         o.cluster.seeds,
		Retry:         o.cluster.retry,
		Label:         o.cluster.label,
		Services:      services,
		Traces:        o.tracer != nil,
		Secret:        o.cluster.secret,
		DialOptions:   o.cluster.dial,
		ServerOptions: o.cluster.server,
		Logger:        s.log,
	}
	if len(o.cluster.changed) > 0 {
		c.Changed = func(m mesh.Member) {
			s.sched.Invoke(func() {
				for _, f := range o.cluster.changed {
					f(cluster.Member(m))
				}
			})
		}
	}
	b := relay.New(c)
	s.dispatch.SetRemote(b)
	return b
}

// numbers makes the ids of sessions. The number of the node, which is part of each id,
// may change.
type numbers struct {
	server *Server
	last   atomic.Pointer[numbering]
}

type numbering struct {
	node uint64
	ids  *snowflake.Generator
}

func (n *numbers) next() int64 {
	l := n.last.Load()
	if node := n.server.broker.Node().ID(); node != l.node {
		if ids, err := snowflake.New(node); err == nil {
			l = &numbering{node, ids}
			n.last.Store(l)
		}
	}
	return l.ids.Next()
}

// StartCluster is [Server.Start] for a node of a cluster. Other nodes dial it at l, which
// it closes when it shuts down.
//
// After AfterInit of the components, the node joins the cluster. StartCluster returns
// when the node knows the services of the nodes that it found, or after half a second; it
// tries seeds that do not answer again in the background. It returns an error if another
// node refuses this one, or if the number of [WithNodeID] is in use.
func (s *Server) StartCluster(l net.Listener) error {
	s.mu.Lock()
	fresh := s.state == stateNew
	switch {
	case !fresh:
	case !s.opts.cluster.joined:
		s.mu.Unlock()
		_ = l.Close()
		return errors.New("nano: StartCluster: want an option that makes the server a node, such as WithCluster or WithSeeds")
	default:
		s.clusterListener = l
		s.state = stateStarting
	}
	s.mu.Unlock()
	if !fresh {
		_ = l.Close()
		return errors.New("nano: StartCluster: the server was started before")
	}
	s.start()
	return s.Start()
}

// join joins the cluster, if the server is a node.
func (s *Server) join() error {
	if !s.broker.Clustered() {
		return nil
	}
	return s.broker.Join(context.Background(), s.clusterListener)
}

// ClusterAddr returns the address at which other nodes dial this one. It is empty if the
// server is not a node or has not started.
func (s *Server) ClusterAddr() string {
	if s.broker == nil {
		return ""
	}
	return s.broker.Address()
}

// Members returns the other nodes of the cluster, in the order of their addresses. It
// includes nodes that went down without leaving the cluster, because they may come back.
// It returns nil if the server is not a node.
func (s *Server) Members() []cluster.Member {
	if s.broker == nil || !s.broker.Clustered() {
		return nil
	}
	members := s.broker.Node().Members()
	list := make([]cluster.Member, len(members))
	for i, m := range members {
		list[i] = cluster.Member(m)
	}
	return list
}

// Call sends a request to a node that serves the route, which may be this one, and waits for the reply. The request has
// no session. in is encoded by the server's serializer, and the reply is decoded into out; a []byte and a *[]byte are
// passed through, and a nil out drops the reply. If the handler returns a nil reply, out stays unchanged. Call reaches
// only handlers without a session, which clients cannot call:
//
//	func (c *Room) Stats(ctx context.Context, req *StatsRequest) (*StatsReply, error)
//
// If ctx has no deadline, Call uses one of 10 s. The handler's context has the deadline
// too, and ends when the caller stops waiting. The errors are those of
// [session.Session.Call]. Call blocks, so a handler must not call it on the logic
// goroutine.
func (s *Server) Call(ctx context.Context, route string, in, out any) error {
	if s.broker == nil {
		return s.fault
	}
	return s.broker.CallNode(ctx, route, in, out)
}

// gate gives other nodes access to the clients of a server.
type gate struct{ s *Server }

func (g gate) ByUID(uid int64) []*session.Session { return g.s.hub.ByUID(uid) }
func (g gate) Begin()                             { g.s.hub.Begin() }
func (g gate) End()                               { g.s.hub.End() }

func (g gate) Carried(conn *carry.Conn, ask *carry.Ask) *carry.Refusal {
	return g.s.hub.Carried(conn, ask)
}

func (g gate) Multicast(to []relay.Client, route string, data []byte) {
	var sender agent.Sender
	for _, c := range to {
		if p, ok := c.(sharedPusher); ok && p.PushShared(&sender, route, data) != nil {
			return // it does not fit a packet
		}
	}
}
