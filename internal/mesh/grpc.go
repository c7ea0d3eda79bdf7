package mesh

import (
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/link"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Sizes of the buffers of gRPC, in bytes. A peer that does not read costs at most the window of its stream.
const (
	streamWindow = 1 << 20
	connWindow   = 2 << 20
	maxMessage   = 1 << 20 // received; messages of links and gossip have 64 KiB, but a hello may list many services
)

// maxStreams bounds the streams that a peer opens on one connection. Strangers can open streams too, and each costs memory
// until its handshake is due. A link has a connection of its own. The gossip uses one stream for packets, and sometimes one
// or two more.
const maxStreams = 32

func dialDefaults() []grpc.DialOption {
	b := backoff.DefaultConfig
	b.BaseDelay, b.MaxDelay = 100*time.Millisecond, time.Second
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: b, MinConnectTimeout: 2 * time.Second}),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(link.Codec()),
			grpc.MaxCallRecvMsgSize(maxMessage),
		),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithContextDialer(dialSocket),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(),
	}
}

// silence is how long a peer may leave data or a keepalive without an answer.
const silence = 5 * time.Second

func serverDefaults() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(link.Codec()),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(5 * time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: silence}),
		grpc.WaitForHandlers(true),
	}
}

// service is the gRPC side of a node.
type service struct {
	clusterpb.UnimplementedClusterServer
	node *Node
}

func (s service) Link(st clusterpb.Cluster_LinkServer) error { return s.node.accept(st) }

func (s service) Packets(st clusterpb.Cluster_PacketsServer) error {
	return s.node.gossip.ServePackets(st)
}

func (s service) Stream(st clusterpb.Cluster_StreamServer) error {
	return s.node.gossip.ServeStream(st)
}
