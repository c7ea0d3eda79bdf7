package nano_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// node is a server of a cluster, with players of its own.
type node struct {
	*nano.Server
	t       testing.TB
	wires   *wires
	players string // where clients connect
}

// services are the components of a node by the names of their services.
type services map[string]component.Component

// startNode starts a node that joins the nodes given; the first of a cluster is given none.
func startNode(t testing.TB, comps services, seeds []*node, opts ...nano.Option) *node {
	t.Helper()
	return startNodeAt(t, "127.0.0.1:0", comps, seeds, opts...)
}

func startNodeAt(t testing.TB, addr string, comps services, seeds []*node, opts ...nano.Option) *node {
	t.Helper()
	list := &component.Components{}
	for name, c := range comps {
		list.Register(c, component.WithName(name))
	}
	n := &node{t: t, wires: &wires{conns: map[net.Conn]bool{}}}
	all := []nano.Option{
		nano.WithComponents(list), nano.WithSerializer(json.NewSerializer()), nano.WithMaster(),
		nano.WithGrpcOptions(grpc.WithContextDialer(n.wires.dial)),
	}
	for _, s := range seeds {
		all = append(all, nano.WithAdvertiseAddr(s.ClusterAddr(), 100*time.Millisecond))
	}
	n.Server = nano.New(append(all, opts...)...)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.StartCluster(cutListener{l, n.wires}); err != nil {
		t.Fatalf("StartCluster = %v", err)
	}
	players, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.players = players.Addr().String()
	served := make(chan error, 1)
	go func() { served <- n.Serve(players) }()
	t.Cleanup(func() {
		n.stop()
		if err := receive(t, served, "the end of Serve"); err != nil && !errors.Is(err, nano.ErrServerClosed) {
			t.Errorf("Serve = %v", err)
		}
	})
	meet(t, append(slices.Clone(seeds), n)...)
	return n
}

func (n *node) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		n.t.Errorf("Shutdown = %v", err)
	}
}

// meet waits until every node sees every other one up.
func meet(t testing.TB, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, "the nodes know each other", func() bool {
			up := 0
			for _, m := range n.Members() {
				if m.Up && slices.ContainsFunc(nodes, func(o *node) bool { return o.ClusterAddr() == m.Addr }) {
					up++
				}
			}
			return up == len(nodes)-1
		})
	}
}

// kill breaks off every connection to other nodes, and lets no new one be made: as the end of its process would look to
// them.
func (n *node) kill() { n.wires.cut() }

// wires are the connections between one node and others.
type wires struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
	dead  bool
}

func (w *wires) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
	for c := range w.conns {
		_ = c.Close()
	}
}

var errCut = errors.New("cut off")

// add takes a connection into care, or closes it if the node was killed.
func (w *wires) add(c net.Conn) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		_ = c.Close()
		return nil, errCut
	}
	w.conns[c] = true
	return c, nil
}

func (w *wires) dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return w.add(c)
}

type cutListener struct {
	net.Listener
	wires *wires
}

func (l cutListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, err = l.wires.add(c); err == nil {
			return c, nil
		}
	}
}

// player is a client that notes what it is pushed.
type player struct {
	*client.Client
	t      testing.TB
	pushes chan *client.Message
	kicked chan error
}

func (n *node) connect(opts ...client.Option) *player {
	n.t.Helper()
	p := &player{t: n.t, pushes: make(chan *client.Message, 1000)}
	opts = append([]client.Option{client.WithFallback(func(m *client.Message) { p.pushes <- m })}, opts...)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, n.players, opts...)
	if err != nil {
		n.t.Fatal(err)
	}
	p.Client = c
	n.t.Cleanup(func() { _ = c.Close() })
	return p
}

// ask sends a request with raw payloads.
func (p *player) ask(route, data string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var reply []byte
	err := p.Request(ctx, route, []byte(data), &reply)
	return string(reply), err
}

// must sends a request that has to be answered with want.
func (p *player) must(route, data, want string) {
	p.t.Helper()
	got, err := p.ask(route, data)
	if err != nil || got != want {
		p.t.Fatalf("%s %q = %.100q, %v, want %.100q", route, data, got, err, want)
	}
}

// fails sends a request that has to fail with a code.
func (p *player) fails(route, data, code string) {
	p.t.Helper()
	got, err := p.ask(route, data)
	if !hasCode(err, code) {
		p.t.Fatalf("%s %q = %q, %v, want %s", route, data, got, err, code)
	}
}

func hasCode(err error, code string) bool {
	var e *nano.Error
	return errors.As(err, &e) && e.Code == code
}

func (p *player) tell(route, data string) {
	p.t.Helper()
	if err := p.Notify(route, []byte(data)); err != nil {
		p.t.Fatal(err)
	}
}

// hears takes the next push.
func (p *player) hears(route, want string) {
	p.t.Helper()
	m := receive(p.t, p.pushes, "push "+route)
	if m.Route != route || string(m.Data) != want {
		p.t.Fatalf("push %s %.100q came, want %s %.100q", m.Route, m.Data, route, want)
	}
}

// doing is a component whose Do does f.
func doing(f func(s *session.Session, data []byte) error) *Game { return &Game{do: f} }

// named answers with a name.
func named(name string) *Game {
	return doing(func(s *session.Session, _ []byte) error { return s.Response([]byte(name)) })
}

// pair is a gate and one backend with the services given.
func pair(t testing.TB, comps services, opts ...nano.Option) (gate, backend *node) {
	t.Helper()
	gate = startNode(t, nil, nil, opts...)
	return gate, startNode(t, comps, []*node{gate}, opts...)
}

// Everything that a client can do with a handler of its gate works with one of another node.
func TestClusterThereAndBack(t *testing.T) {
	t.Parallel()
	notified := make(chan string, 1)
	game := doing(func(s *session.Session, data []byte) error {
		notified <- string(data)
		return s.Push("onNews", data)
	})
	gate, _ := pair(t, services{"Room": game})
	p := gate.connect()
	p.must("Room.Echo", "hello", "hello")
	p.must("Room.Echo", "", "")
	long := strings.Repeat("x", 64<<10-20)
	p.must("Room.Echo", long, long)
	var n Number
	if err := p.Request(t.Context(), "Room.Double", &Number{21}, &n); err != nil || n.N != 42 {
		t.Errorf("Room.Double = %v, %v, want 42", n, err)
	}
	p.fails("Room.Fail", "", nano.CodeInternal)
	p.fails("Room.Panic", "", nano.CodeInternal)
	p.fails("Room.Double", "{", nano.CodeBadRequest)
	p.fails("Room.Nothing", "", nano.CodeNotFound)
	p.fails("Nobody.Echo", "", nano.CodeNotFound)
	p.fails("Room.Elsewhere", `{"N":1}`, nano.CodeNotFound) // for nodes only
	_, err := p.ask("Room.Refuse", "")
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Code != "GAME-1" || refused.Message != "not your turn" || refused.Metadata["turn"] != "7" {
		t.Errorf("Room.Refuse = %v, want the handler's error with its metadata", err)
	}
	p.tell("Room.Do", "goal")
	if got := receive(t, notified, "the notify"); got != "goal" {
		t.Errorf("the notify said %q", got)
	}
	p.hears("onNews", "goal")
	p.tell("Room.Elsewhere", `{"N":1}`)
	p.must("Room.Echo", "still there", "still there")
}

func TestClusterIdentity(t *testing.T) {
	t.Parallel()
	sessions := make(chan *session.Session, 1)
	keep := func(s *session.Session, _ []byte) error {
		sessions <- s
		return s.Response([]byte("ok"))
	}
	gate := startNode(t, services{"Door": doing(keep)}, nil)
	backend := startNode(t, services{"Room": doing(keep)}, []*node{gate})
	p := gate.connect()
	p.must("Door.Do", "", "ok")
	at := receive(t, sessions, "the gate's session")
	if err := at.Bind(7); err != nil {
		t.Fatal(err)
	}
	at.Router().Bind("Elsewhere", "10.0.0.1:1")
	p.must("Room.Do", "", "ok")
	far := receive(t, sessions, "the backend's session")
	address, bound := far.Router().Find("Elsewhere")
	if far == at || far.ID() != at.ID() || far.UID() != 7 || far.RemoteAddr().String() != at.RemoteAddr().String() || !bound || address != "10.0.0.1:1" {
		t.Errorf("the backend has session %d of user %d at %v, Elsewhere at %q, want those of the gate: %d, 7, %v, 10.0.0.1:1",
			far.ID(), far.UID(), far.RemoteAddr(), address, at.ID(), at.RemoteAddr())
	}
	if address, _ := far.Router().Find("Room"); address != backend.ClusterAddr() {
		t.Errorf("Room is bound to %q, want the backend", address)
	}
	if s, ok := backend.Session(at.ID()); !ok || s != far {
		t.Errorf("the backend's Session = %v, %v, want its own", s, ok)
	}
	if list := backend.SessionsByUID(7); len(list) != 1 || list[0] != far {
		t.Errorf("the backend's SessionsByUID = %v, want its own", list)
	}
	p.must("Room.Do", "", "ok")
	if again := receive(t, sessions, "the backend's session"); again != far {
		t.Error("the second request came with another session, want the same")
	}
}
