package nano_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// Game is what the clients of these tests talk to. What Do and OnInit do is the test's.
type Game struct {
	component.Base
	do func(s *session.Session, data []byte) error
}

// Number is a payload.
type Number struct{ N int }

var errSecret = errors.New("the database is at 10.0.0.7")

func (g *Game) Echo(s *session.Session, data []byte) error { return s.Response(data) }

func (g *Game) Do(s *session.Session, data []byte) error { return g.do(s, data) }

func (g *Game) ID(s *session.Session, _ []byte) error { return s.Response(fmt.Append(nil, s.ID())) }

func (g *Game) Double(_ *session.Session, n *Number) (*Number, error) { return &Number{2 * n.N}, nil }

func (g *Game) Fail(*session.Session, []byte) error { return errSecret }

func (g *Game) Panic(*session.Session, []byte) error { panic(errSecret) }

func (g *Game) Refuse(*session.Session, []byte) error {
	return &nano.Error{Code: "GAME-1", Message: "not your turn", Metadata: map[string]string{"turn": "7"}}
}

// Context answers when its context ends, or at once if that is not the session's own.
func (g *Game) Context(ctx context.Context, s *session.Session, data []byte) error {
	if ctx != s.Context() || ctx.Err() != nil {
		return s.Response([]byte("want the context of a session that is open"))
	}
	if _, ok := ctx.Deadline(); ok {
		return s.Response([]byte("want no deadline"))
	}
	if string(data) == "close" {
		s.Close()
		if !errors.Is(context.Cause(ctx), session.ErrClosed) {
			panic("the context goes on after the session")
		}
	}
	return s.Response([]byte("ok"))
}

// Elsewhere is for other nodes: it has no session.
func (g *Game) Elsewhere(_ context.Context, n *Number) (*Number, error) { return n, nil }

// kinds are the ways a client may come: raw sockets, WebSocket on one, and what the server reads and writes through
// net.Conn.
var kinds = []string{"tcp", "ws", "pipe", "wspipe", "tls", "wss", "unix"}

// sockets are the two that matter where the way makes no difference.
var sockets = []string{"tcp", "ws"}

// site is a server that clients of one kind come to.
type site struct {
	t testing.TB
	*nano.Server
	kind string
	path string
	conn func() (net.Conn, error)
}

var quiet = nano.WithSlog(slog.New(slog.DiscardHandler))

// newServer makes a server that logs nothing and speaks JSON.
func newServer(c component.Component, opts ...nano.Option) *nano.Server {
	components := &component.Components{}
	components.Register(c)
	return nano.New(append([]nano.Option{
		quiet,
		nano.WithComponents(components),
		nano.WithSerializer(json.NewSerializer()),
	}, opts...)...)
}

// open starts a server of one kind, which the end of the test shuts down.
func open(t testing.TB, kind string, c component.Component, opts ...nano.Option) *site {
	t.Helper()
	if strings.HasPrefix(kind, "tls") || strings.HasPrefix(kind, "wss") {
		opts = append(opts, nano.WithTLSConfig(&tls.Config{Certificates: []tls.Certificate{certificate()}}))
	}
	s := newServer(c, opts...)
	shutdownAtEnd(t, s)
	return serve(t, s, kind)
}

func shutdownAtEnd(t testing.TB, s *nano.Server) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		if st := s.Stats(); st.Connections != 0 || st.Sessions != 0 {
			t.Errorf("%d connections and %d sessions are left after Shutdown", st.Connections, st.Sessions)
		}
	})
}

// serve serves clients of one kind. Serve has to return nil when the test ends, after the shutdown.
func serve(t testing.TB, s *nano.Server, kind string) *site {
	t.Helper()
	at := &site{t: t, Server: s, kind: kind, path: "/"}
	var l net.Listener
	var err error
	switch kind {
	case "pipe", "wspipe":
		m := newMemory()
		l, at.conn = m, m.dial
	case "unix":
		l, err = net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	default:
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr()
	if at.conn == nil {
		at.conn = func() (net.Conn, error) { return net.Dial(addr.Network(), addr.String()) }
	}
	if plain := at.conn; kind == "tls" || kind == "wss" {
		at.conn = func() (net.Conn, error) {
			c, err := plain()
			if err != nil {
				return nil, err
			}
			return tls.Client(c, &tls.Config{RootCAs: roots(), ServerName: "localhost"}), nil
		}
	}
	accept := s.Serve
	if at.webSocket() {
		accept = s.ServeWebSocket
	}
	served := make(chan error, 1)
	go func() { served <- accept(l) }()
	t.Cleanup(func() {
		_ = s.Shutdown(context.Background())
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return at
}

func (s *site) webSocket() bool { return strings.HasPrefix(s.kind, "ws") }

// wire connects a client that has yet to shake hands.
func (s *site) wire() (*wire, error) {
	conn, err := s.conn()
	if err != nil {
		return nil, err
	}
	w := newWire(conn)
	if s.webSocket() {
		if err := w.upgrade(s.path); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return w, nil
}

// dial is wire for the test's own goroutine.
func (s *site) dial() *peer {
	s.t.Helper()
	w, err := s.wire()
	if err != nil {
		s.t.Fatalf("dial: %v", err)
	}
	s.t.Cleanup(w.abort)
	return &peer{w, s.t}
}

// client connects a client that has shaken hands.
func (s *site) client() *peer {
	s.t.Helper()
	p := s.dial()
	p.join()
	return p
}

// memory is a listener whose connections are pipes.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemory() *memory {
	return &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "pipe"} }

// certificate is for localhost, signed by itself.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(100, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

func roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(certificate().Leaf)
	return pool
}

// receive takes what has to come on a channel.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

// eventually waits until something is so that nothing tells of.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}
