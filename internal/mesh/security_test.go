package mesh

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/link/linktest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

func TestSecret(t *testing.T) {
	t.Parallel()
	one := newTestNode(t, Config{ID: 1, Secret: "hush"})
	one.serve(listen(t, "127.0.0.1:0"))
	two := newTestNode(t, Config{ID: 2, Secret: "hush", Seeds: []string{one.addr}})
	two.serve(listen(t, "127.0.0.1:0"))
	complete(t, one, two)
	for secret, want := range map[string]string{"": "has a cluster secret", "hash": "differ"} {
		three := newTestNode(t, Config{ID: 3, Secret: secret, Seeds: []string{one.addr}})
		err := three.Start(context.Background(), listen(t, "127.0.0.1:0"))
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("Start with secret %q = %v, want ErrRefused: %s", secret, err, want)
		}
		three.stop()
	}
	open := start(t, 4)
	five := newTestNode(t, Config{ID: 5, Secret: "hush", Seeds: []string{open.addr}})
	if err := five.Start(context.Background(), listen(t, "127.0.0.1:0")); !errors.Is(err, ErrRefused) {
		t.Errorf("Start with a secret and a seed without one = %v, want ErrRefused", err)
	}
	five.stop()
}

// The node that refuses another one logs it too, because either operator may look.
func TestRefusalIsLogged(t *testing.T) {
	t.Parallel()
	for name, secrets := range map[string][2]string{
		"none": {"hush", ""}, "another": {"hush", "hash"}, "one too many": {"", "hush"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused := make(chan string, 100)
			one := newTestNode(t, Config{ID: 1, Secret: secrets[0]})
			one.log = slog.New(asking{slog.DiscardHandler, func(r slog.Record) {
				if r.Message == "cluster: refused a node" {
					r.Attrs(func(a slog.Attr) bool {
						refused <- a.Value.String()
						return true
					})
				}
			}})
			one.serve(listen(t, "127.0.0.1:0"))
			two := newTestNode(t, Config{ID: 2, Secret: secrets[1], Seeds: []string{one.addr}})
			if err := two.Start(context.Background(), listen(t, "127.0.0.1:0")); !errors.Is(err, ErrRefused) {
				t.Errorf("Start = %v, want ErrRefused", err)
			}
			select {
			case text := <-refused:
				if !strings.Contains(text, "cluster secret") {
					t.Errorf("logged %q, want what is wrong with the secret", text)
				}
			case <-time.After(patience):
				t.Error("nothing was logged")
			}
			two.stop()
		})
	}
}

// TestCallsNeedTheSecret checks that no gRPC method returns or accepts data without the
// secret.
func TestCallsNeedTheSecret(t *testing.T) {
	t.Parallel()
	one := newTestNode(t, Config{ID: 1, Secret: "hush", Services: []string{"Secret"}})
	one.serve(listen(t, "127.0.0.1:0"))
	conn, err := grpc.NewClient("passthrough:///"+one.addr, dialDefaults()...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := clusterpb.NewClusterClient(conn)
	type stream = grpc.BidiStreamingClient[clusterpb.Envelope, clusterpb.Envelope]
	for name, call := range map[string]func(context.Context, ...grpc.CallOption) (stream, error){
		"Link": c.Link, "Packets": c.Packets, "Stream": c.Stream,
	} {
		for what, first := range map[string]*clusterpb.Envelope{
			"greeting": {Greeting: &clusterpb.Greeting{Version: 1, Addr: "127.0.0.1:9", Epoch: 1, Nonce: make([]byte, 32)}},
			"data":     {Data: []byte{2, 16, 0}},
		} {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			st, err := call(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_ = st.Send(first)
			_ = st.Send(&clusterpb.Envelope{Greeting: &clusterpb.Greeting{Hello: &clusterpb.Hello{Id: 9}}})
			var e *clusterpb.Envelope
			for err == nil {
				if e, err = st.Recv(); err == nil && (e.GetGreeting().GetHello() != nil || len(e.GetGreeting().GetProof()) > 0 || len(e.GetData()) > 0) {
					t.Errorf("%s gave %v away", name, e)
				}
			}
			want := codes.Unauthenticated
			if what == "data" {
				want = codes.FailedPrecondition
			}
			if status.Code(err) != want {
				t.Errorf("%s with %s and no secret ended with %v, want %v", name, what, err, want)
			}
		}
	}
	if members := one.Members(); len(members) != 0 {
		t.Errorf("Members = %v, want none", members)
	}
}

// TestSilentDialer checks that a peer that opens streams and sends nothing cannot keep
// them open.
func TestSilentDialer(t *testing.T) {
	t.Parallel()
	one := newTestNode(t, Config{ID: 1})
	one.t.Handshake, one.t.Gossip.Stream = 200*time.Millisecond, 200*time.Millisecond
	one.serve(listen(t, "127.0.0.1:0"))
	conn, err := grpc.NewClient("passthrough:///"+one.addr, dialDefaults()...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := clusterpb.NewClusterClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for name, call := range map[string]func(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[clusterpb.Envelope, clusterpb.Envelope], error){
		"Link": c.Link, "Packets": c.Packets, "Stream": c.Stream,
	} {
		st, err := call(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(); status.Code(err) != codes.DeadlineExceeded || ctx.Err() != nil {
			t.Errorf("%s without a handshake ended with %v, want DeadlineExceeded from the node", name, err)
		}
	}
}

// TestStreamsAreBounded checks that the number of open streams without the secret is
// bounded.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	var open, most atomic.Int64
	count := grpc.ChainStreamInterceptor(func(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		n := open.Add(1)
		defer open.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		return handle(srv, st)
	})
	one := newTestNode(t, Config{ID: 1, ServerOptions: []grpc.ServerOption{count}})
	one.t.Gossip.Stream = 200 * time.Millisecond
	one.serve(listen(t, "127.0.0.1:0"))
	conn, err := grpc.NewClient("passthrough:///"+one.addr, dialDefaults()...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for range 3 * maxStreams {
		wg.Go(func() {
			st, err := clusterpb.NewClusterClient(conn).Packets(ctx)
			if err == nil {
				_, err = st.Recv()
			}
			if status.Code(err) != codes.DeadlineExceeded || ctx.Err() != nil {
				t.Errorf("a silent stream ended with %v, want DeadlineExceeded from the node", err)
			}
		})
	}
	wg.Wait()
	if got := most.Load(); got > maxStreams {
		t.Errorf("%d streams were open at once, want %d at most", got, maxStreams)
	}
}

// authority issues certificates for a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, pool: x509.NewCertPool()}
	a.cert, a.key = a.issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: "nano test"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// pair returns a certificate for the name "localhost".
func (a *authority) pair() tls.Certificate {
	cert, key := a.issue(&x509.Certificate{
		DNSNames:    []string{"localhost"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// secure returns a config whose node requires client certificates, and presents one if it
// has any.
func (a *authority) secure(cfg Config, own ...tls.Certificate) Config {
	cfg.DialOptions = []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		RootCAs: a.pool, Certificates: own, MinVersion: tls.VersionTLS13,
	}))}
	cfg.ServerOptions = []grpc.ServerOption{grpc.Creds(credentials.NewTLS(&tls.Config{
		ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert, Certificates: []tls.Certificate{a.pair()}, MinVersion: tls.VersionTLS13,
	}))}
	return cfg
}

// serveAs starts the node with a host name as its address.
func (n *testNode) serveAs(host string) {
	n.tb.Helper()
	l := listen(n.tb, "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n.Node.cfg.Addr = net.JoinHostPort(host, port)
	n.serve(l)
	n.addr = n.Node.cfg.Addr
}

// TestTLS checks that TLS with client certificates covers gossip and links. The
// certificates contain a host name, so the node must not replace names by addresses.
func TestTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	one := newTestNode(t, a.secure(Config{ID: 1}, a.pair()))
	one.serveAs("localhost")
	two := newTestNode(t, a.secure(Config{ID: 2, Seeds: []string{one.addr}}, a.pair()))
	two.serveAs("localhost")
	three := newTestNode(t, a.secure(Config{ID: 3, Seeds: []string{two.addr}}, a.pair()))
	three.serveAs("localhost")
	complete(t, one, two, three)
	poll(t, "the gossip works too", func() bool {
		one.Node.mu.Lock()
		defer one.Node.mu.Unlock()
		return len(one.peers[two.addr].known) == 1 && len(one.peers[three.addr].known) == 1
	})

	stranger := newAuthority(t)
	for name, cfg := range map[string]Config{
		"no certificate":        a.secure(Config{ID: 8, Seeds: []string{one.addr}}),
		"a stranger's":          a.secure(Config{ID: 9, Seeds: []string{one.addr}}, stranger.pair()),
		"plain":                 {ID: 10, Seeds: []string{one.addr}},
		"another authority all": stranger.secure(Config{ID: 11, Seeds: []string{one.addr}}, stranger.pair()),
	} {
		n := newTestNode(t, cfg)
		n.serveAs("localhost")
		if links := n.Links(); len(links) != 0 {
			t.Errorf("%s: the node is linked to %s", name, links[0].Addr)
		}
		if one.isUp(n.addr) || len(one.Members()) != 2 {
			t.Errorf("%s: the cluster let the node in: %v", name, one.Members())
		}
		n.stop()
	}
}

// TestTLSOneNameForAll checks that a node can be reached by a name that differs from the
// server name in its certificate. No certificate contains the address of a pod.
func TestTLSOneNameForAll(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	config := func(id uint64, seeds ...string) Config {
		cfg := a.secure(Config{ID: id, Seeds: seeds}, a.pair())
		cfg.DialOptions = []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			RootCAs: a.pool, Certificates: []tls.Certificate{a.pair()}, MinVersion: tls.VersionTLS13, ServerName: "localhost",
		}))}
		return cfg
	}
	one := newTestNode(t, config(1))
	one.serve(listen(t, "127.0.0.1:0"))
	_, port, _ := net.SplitHostPort(one.addr)
	two := newTestNode(t, config(2, net.JoinHostPort("LOCALHOST", port)))
	two.serve(listen(t, "127.0.0.1:0"))
	complete(t, one, two)
}

// TestOpenNodeWarns checks that a node logs a warning at the start if any node can join
// it.
func TestOpenNodeWarns(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	mutual := a.secure(Config{}, a.pair())
	oneSided := mutual
	oneSided.ServerOptions = []grpc.ServerOption{grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{a.pair()}, MinVersion: tls.VersionTLS13,
	}))}
	asking := mutual
	asking.ServerOptions = []grpc.ServerOption{grpc.Creds(credentials.NewTLS(&tls.Config{
		ClientCAs: a.pool, ClientAuth: tls.VerifyClientCertIfGiven, Certificates: []tls.Certificate{a.pair()}, MinVersion: tls.VersionTLS13,
	}))}
	for name, c := range map[string]struct {
		listen string
		cfg    Config
		want   bool
	}{
		"nothing":               {"0.0.0.0:0", Config{}, true},
		"every interface":       {":0", Config{}, true},
		"loopback":              {"127.0.0.1:0", Config{}, false},
		"announced as loopback": {"0.0.0.0:0", Config{Addr: "127.0.0.1:1"}, false},
		"a secret":              {"0.0.0.0:0", Config{Secret: "hush"}, false},
		"options of other uses": {"0.0.0.0:0", Config{ServerOptions: []grpc.ServerOption{grpc.MaxConcurrentStreams(99)}}, true},
		"TLS":                   {"0.0.0.0:0", oneSided, true},
		"optional certificates": {"0.0.0.0:0", asking, true},
		"certificates":          {"0.0.0.0:0", mutual, false},
		"a check of its own": {"0.0.0.0:0", Config{ServerOptions: []grpc.ServerOption{grpc.StreamInterceptor(
			func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error {
				return status.Error(codes.PermissionDenied, "no")
			})}}, false},
	} {
		var mu sync.Mutex
		var log strings.Builder
		c.cfg.Handler = linktest.NewRecorder()
		c.cfg.Logger = slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return log.Write(b)
		}), nil))
		n := NewNode(c.cfg)
		if err := n.Start(context.Background(), listen(t, c.listen)); err != nil {
			t.Fatal(err)
		}
		host, _, err := net.SplitHostPort(n.Self().Addr)
		if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
			t.Errorf("a node that listens on %s is to be dialed at %s", c.listen, n.Self().Addr)
		}
		if err := n.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		mu.Lock()
		if got := strings.Contains(log.String(), `level=WARN msg="cluster: any node can join`); got != c.want {
			t.Errorf("%s: warned: %v, want %v; log: %s", name, got, c.want, log.String())
		}
		mu.Unlock()
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
