package cluster_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"path"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpcpeer "google.golang.org/grpc/peer"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// nodeTLS returns options for TLS with certificates of both sides, as docs/cluster.md
// describes them.
func nodeTLS(own tls.Certificate, authority *x509.CertPool) []nano.Option {
	dial := &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: authority, ServerName: "game-nodes", MinVersion: tls.VersionTLS13}
	serve := &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: authority, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS13}
	return []nano.Option{
		nano.WithGrpcOptions(grpc.WithTransportCredentials(credentials.NewTLS(dial))),
		nano.WithGrpcServerOptions(grpc.Creds(credentials.NewTLS(serve))),
	}
}

// calls records the gRPC methods that nodes call, and whether the caller presented a
// certificate.
type calls struct {
	mu     sync.Mutex
	proved map[string]bool // by method
}

func (c *calls) intercept(srv any, st grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	from, _ := grpcpeer.FromContext(st.Context())
	shown, ok := from.AuthInfo.(credentials.TLSInfo)
	proved := ok && len(shown.State.VerifiedChains) > 0
	c.mu.Lock()
	method := path.Base(info.FullMethod)
	before, seen := c.proved[method]
	c.proved[method] = proved && (before || !seen)
	c.mu.Unlock()
	return handle(srv, st)
}

func (c *calls) snapshot() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.proved)
}

// TestClusterTLS checks that TLS with certificates of both sides, set by options, covers
// gossip and messages.
func TestClusterTLS(t *testing.T) {
	t.Parallel()
	a := testkit.NewCA(t, "ours")
	seen := &calls{proved: map[string]bool{}}
	opts := func(own tls.Certificate, authority *x509.CertPool) []nano.Option {
		return append(nodeTLS(own, authority), nano.WithGrpcServerOptions(grpc.ChainStreamInterceptor(seen.intercept)))
	}
	gate := testkit.StartNode(t, nil, nil, opts(a.Member(), a.Pool())...)
	hall := testkit.StartNode(t, testkit.Services{"Hall": testkit.NewNamedGame("hall")}, []*testkit.Node{gate}, opts(a.Member(), a.Pool())...)
	room := testkit.StartNode(t, testkit.Services{"Room": testkit.NewNamedGame("room")}, []*testkit.Node{hall}, opts(a.Member(), a.Pool())...)
	testkit.AwaitMembers(t, gate, hall, room)
	p := gate.Connect()
	p.Expect("Hall.Do", "", "hall")
	p.Expect("Room.Do", "", "room")
	testkit.Eventually(t, "links and both kinds of gossip were called", func() bool { return len(seen.snapshot()) == 3 })
	for method, proved := range seen.snapshot() {
		if !proved {
			t.Errorf("%s was called without a certificate", method)
		}
	}

	b := testkit.NewCA(t, "others")
	for name, opts := range map[string][]nano.Option{
		"no TLS":            nil,
		"another authority": nodeTLS(b.Member(), a.Pool()),
		"no certificate": {nano.WithGrpcOptions(grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: a.Pool(),
			ServerName: "game-nodes", MinVersion: tls.VersionTLS13})))},
		"trusts somebody else": nodeTLS(a.Member(), b.Pool()),
	} {
		l := listenAny(t)
		s := nano.New(append(opts, nano.WithSeeds(gate.ClusterAddr()), nano.WithSlog(slog.New(slog.DiscardHandler)))...)
		if err := s.StartCluster(l); err != nil {
			t.Errorf("%s: StartCluster = %v, want nil: the seed is tried on", name, err)
		}
		for _, m := range append(s.Members(), gate.Members()...) {
			if m.Addr == l.Addr().String() || m.Addr == gate.ClusterAddr() {
				t.Errorf("%s: %s is a member", name, m.Addr)
			}
		}
		if err := s.Shutdown(within(t)); err != nil {
			t.Errorf("%s: Shutdown = %v", name, err)
		}
	}
	p.Expect("Room.Do", "", "room")
}

// forward relays connections to addr, as a NAT does, and counts them.
func forward(t testing.TB, addr func() string) (front string, conns func() int) {
	t.Helper()
	l := listenAny(t)
	var mu sync.Mutex
	count := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr())
			if err != nil {
				_ = in.Close()
				continue
			}
			mu.Lock()
			count++
			mu.Unlock()
			for _, p := range [][2]net.Conn{{in, out}, {out, in}} {
				wg.Go(func() {
					_, _ = io.Copy(p[0], p[1])
					_ = p[0].Close()
					_ = p[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String(), func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}

// TestClusterServiceAddr checks that nodes with a different address for dialing are known
// by that address only.
func TestClusterServiceAddr(t *testing.T) {
	t.Parallel()
	var backs []net.Listener
	var fronts []string
	var counts []func() int
	for range 3 {
		l := listenAny(t)
		backs = append(backs, l)
		front, count := forward(t, func() string { return l.Addr().String() })
		fronts, counts = append(fronts, front), append(counts, count)
	}
	where := func(s *session.Session, _ []byte) error {
		addr, _ := s.Router().Find("Room")
		return s.Response([]byte(addr))
	}
	start := func(i int, comps testkit.Services, seeds ...*testkit.Node) *testkit.Node {
		_ = backs[i].Close() // not before, or another listener may get its port
		return testkit.StartNodeAt(t, backs[i].Addr().String(), comps, seeds, nano.WithNodeAddress(fronts[i]))
	}
	gate := start(0, nil)
	hall := start(1, testkit.Services{"Hall": testkit.NewNamedGame("hall")}, gate)
	room := start(2, testkit.Services{"Room": testkit.NewGame(where)}, hall)
	nodes := []*testkit.Node{gate, hall, room}
	testkit.AwaitMembers(t, nodes...)
	for i, n := range nodes {
		if got := n.ClusterAddr(); got != fronts[i] {
			t.Errorf("ClusterAddr = %s, want %s", got, fronts[i])
		}
		var members []string
		for _, m := range n.Members() {
			members = append(members, m.Addr)
		}
		want := slices.Delete(slices.Clone(fronts), i, i+1)
		slices.Sort(want)
		if !slices.Equal(members, want) {
			t.Errorf("Members = %v, want %v", members, want)
		}
	}
	p := gate.Connect()
	p.Expect("Hall.Do", "", "hall")
	p.Expect("Room.Do", "", fronts[2])
	for i, count := range counts[:2] {
		if count() == 0 {
			t.Errorf("nobody dialed node %d where it said", i)
		}
	}
}

// TestClusterSecret checks that nodes with a common secret serve each other.
func TestClusterSecret(t *testing.T) {
	t.Parallel()
	gate, backend := testkit.StartPair(t, testkit.Services{"Room": testkit.NewNamedGame("room")}, nano.WithClusterSecret("sesame"))
	third := testkit.StartNode(t, testkit.Services{"Hall": testkit.NewNamedGame("hall")}, []*testkit.Node{backend}, nano.WithClusterSecret("sesame"))
	testkit.AwaitMembers(t, gate, backend, third)
	p := gate.Connect()
	p.Expect("Room.Do", "", "room")
	p.Expect("Hall.Do", "", "hall")
	var reply testkit.Number
	if err := third.Call(within(t), "Room.Elsewhere", &testkit.Number{N: 20}, &reply); err != nil {
		t.Errorf("Call = %v", err)
	}
	if got := fmt.Sprint(len(gate.Members()), len(third.Members())); got != "2 2" {
		t.Errorf("the nodes have %s members, want 2 2", got)
	}
}
