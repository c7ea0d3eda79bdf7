package cluster_test

import (
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

func listenAny(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func wasClosed(l net.Listener) bool {
	_, err := l.Accept()
	return errors.Is(err, net.ErrClosed)
}

func TestStartCluster(t *testing.T) {
	t.Parallel()
	quiet := nano.WithSlog(slog.New(slog.DiscardHandler))
	one := testkit.StartNode(t, nil, nil, nano.WithNodeID(5), nano.WithClusterSecret("sesame"))
	if one.ClusterAddr() == "" {
		t.Error("a node has no address")
	}
	for name, test := range map[string]struct {
		opts []nano.Option
		want error
		text string
	}{
		"no option of a cluster":  {nil, nil, "WithCluster or WithSeeds"},
		"a seed without a port":   {[]nano.Option{nano.WithSeeds("10.0.0.1")}, nil, "host:port"},
		"no seed":                 {[]nano.Option{nano.WithSeeds(" , ")}, nil, "host:port"},
		"another secret":          {[]nano.Option{nano.WithSeeds(one.ClusterAddr()), nano.WithClusterSecret("open")}, cluster.ErrRefused, "secret"},
		"no secret":               {[]nano.Option{nano.WithSeeds(one.ClusterAddr())}, cluster.ErrRefused, "secret"},
		"the same number":         {[]nano.Option{nano.WithSeeds(one.ClusterAddr()), nano.WithClusterSecret("sesame"), nano.WithNodeID(5)}, cluster.ErrDuplicateID, "5"},
		"an address without port": {[]nano.Option{nano.WithNodeAddress("host")}, cluster.ErrInvalidRegisterReq, "host:port"},
		"an address of no host":   {[]nano.Option{nano.WithNodeAddress(":34567")}, cluster.ErrInvalidRegisterReq, "host:port"},
		"every interface":         {[]nano.Option{nano.WithNodeAddress("0.0.0.0:34567")}, cluster.ErrInvalidRegisterReq, "host:port"},
		"an address of port 0":    {[]nano.Option{nano.WithNodeAddress("10.0.0.1:0")}, cluster.ErrInvalidRegisterReq, "host:port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := nano.New(append(test.opts, quiet)...)
			l := listenAny(t)
			err := s.StartCluster(l)
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("StartCluster = %v, want %v with %q in it", err, test.want, test.text)
			}
			if !wasClosed(l) {
				t.Error("the listener was left open")
			}
			if err := s.Shutdown(within(t)); err != nil {
				t.Errorf("Shutdown = %v", err)
			}
		})
	}
	t.Run("Start without a listener", func(t *testing.T) {
		s := nano.New(nano.WithCluster(), quiet)
		if err := s.Start(); err == nil || !strings.Contains(err.Error(), "StartCluster") {
			t.Errorf("Start of a node = %v, want an error that names StartCluster", err)
		}
		if s.ClusterAddr() != "" || len(s.Members()) != 0 {
			t.Errorf("a node that has not started has address %q and members %v", s.ClusterAddr(), s.Members())
		}
		_ = s.Shutdown(within(t))
	})
	t.Run("twice", func(t *testing.T) {
		if l := listenAny(t); one.StartCluster(l) == nil || !wasClosed(l) {
			t.Error("StartCluster of a server that runs = nil, or the listener was left open")
		}
	})
	t.Run("a fault of a component", func(t *testing.T) {
		list := &component.Components{}
		list.Register(&failing{})
		s := nano.New(nano.WithCluster(), quiet, nano.WithComponents(list))
		if l := listenAny(t); s.StartCluster(l) == nil || !wasClosed(l) {
			t.Error("StartCluster with a component that panics = nil, or the listener was left open")
		}
		_ = s.Shutdown(within(t))
	})
}

// failing is a component whose start fails.
type failing struct{ testkit.Game }

func (*failing) Init() { panic("no") }

// TestClusterSessionIDs checks that session ids are unique across nodes without a
// configured node id.
func TestClusterSessionIDs(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[int64]bool{}
	note := testkit.NewGame(func(s *session.Session, data []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if seen[s.ID()] {
			t.Errorf("two sessions have the number %d", s.ID())
		}
		seen[s.ID()] = true
		return s.Response(data)
	})
	one := testkit.StartNode(t, testkit.Services{"Door": note}, nil)
	two := testkit.StartNode(t, testkit.Services{"Door": note}, []*testkit.Node{one})
	nodes := map[int64]bool{}
	for range 20 {
		for _, n := range []*testkit.Node{one, two} {
			n.Connect().Expect("Door.Do", "", "")
		}
	}
	for id := range seen {
		nodes[id>>6&0xffff] = true
	}
	if len(seen) != 40 || len(nodes) != 2 {
		t.Errorf("%d numbers of %d nodes, want 40 of 2", len(seen), len(nodes))
	}
}

// TestClusterHooks checks that hooks run on the gate, in both directions, and not on
// backends.
func TestClusterHooks(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	hooks := func(name string) nano.Option {
		p := pipeline.New()
		note := func(way string) pipeline.Func {
			return func(s *session.Session, m *pipeline.Message) error {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, name+" "+way+" "+m.Route+" "+string(m.Data))
				if !m.Err {
					m.Data = append(m.Data, '!')
				}
				if way == "in" && m.Route == "Room.Fail" {
					return nano.Errorf("HOOK-1", "no")
				}
				return nil
			}
		}
		p.Inbound().PushBack(note("in"))
		p.Outbound().PushBack(note("out"))
		return nano.WithPipeline(p)
	}
	gate := testkit.StartNode(t, nil, nil, hooks("gate"))
	testkit.StartNode(t, testkit.Services{"Room": testkit.NewGame(func(s *session.Session, data []byte) error {
		if err := s.Push("onNews", data); err != nil {
			return err
		}
		return s.Response(data)
	})}, []*testkit.Node{gate}, hooks("backend"))
	p := gate.Connect()
	p.Expect("Room.Do", "a", "a!!")
	p.ExpectPush("onNews", "a!!")
	p.ExpectError("Room.Fail", "", "HOOK-1")
	mu.Lock()
	defer mu.Unlock()
	want := []string{"gate in Room.Do a", "gate out onNews a!", "gate out Room.Do a!", "gate in Room.Fail ", `gate out  {"code":"HOOK-1","msg":"no"}`}
	if got := strings.Join(seen, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the hooks saw\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// TestClusterUnmet checks that a gate that has not linked the other nodes yet does not
// answer that a route does not exist.
//
// It is not parallel, so that no other test gets the port of the node that comes later.
func TestClusterUnmet(t *testing.T) {
	l := listenAny(t)
	_ = l.Close()
	gate := testkit.StartNode(t, testkit.Services{"Door": testkit.NewNamedGame("door")}, nil, nano.WithSeeds(l.Addr().String()), nano.WithSeedRetry(50*time.Millisecond))
	p := gate.Connect()
	p.Expect("Door.Do", "", "door")
	p.ExpectError("Door.Nothing", "", nano.CodeUnavailable)
	p.ExpectError("Room.Do", "", nano.CodeUnavailable)
	p.ExpectError("nonsense", "", nano.CodeNotFound)
	if err := gate.Call(within(t), "Room.Do", nil, nil); !testkit.HasCode(err, nano.CodeUnavailable) {
		t.Errorf("Call before the node has met others = %v, want NANO-503", err)
	}
	seed := testkit.StartNodeAt(t, l.Addr().String(), testkit.Services{"Room": testkit.NewNamedGame("room")}, nil)
	testkit.AwaitMembers(t, gate, seed)
	p.Expect("Room.Do", "", "room")
	testkit.Eventually(t, "the gate knows what nobody serves", func() bool {
		_, err := p.Ask("Nobody.Do", "")
		return testkit.HasCode(err, nano.CodeNotFound)
	})
	p.ExpectError("Room.Nothing", "", nano.CodeNotFound)
	p.ExpectError("Door.Nothing", "", nano.CodeNotFound)
}

// TestListenCluster checks that Listen starts a node if an option asks for it. Its
// address is then for nodes, and that of WithClientAddr for players. No other test of
// this package runs the default server next to others.
func TestListenCluster(t *testing.T) {
	seed := testkit.StartNode(t, testkit.Services{"Door": testkit.NewGame(func(s *session.Session, data []byte) error { return s.Response(data) })}, nil)
	list := &component.Components{}
	list.Register(&testkit.Game{}, component.WithName("Room"))
	log := testkit.NewLogCapture()
	ended := make(chan error, 1)
	go func() {
		ended <- nano.Listen("127.0.0.1:0", nano.WithSeeds(seed.ClusterAddr()), nano.WithClientAddr("127.0.0.1:0"),
			nano.WithLabel("room"), nano.WithComponents(list), nano.WithSerializer(json.NewSerializer()), log.Option())
	}()
	players := log.Wait(t, "nano: listening", "address")
	testkit.Eventually(t, "the seed knows the node", func() bool { m := seed.Members(); return len(m) == 1 && m[0].Up })
	seed.Connect().Expect("Room.Echo", "to the node", "to the node")
	far := &testkit.Node{Server: seed.Server, T: t, Players: players}
	far.Connect().Expect("Door.Do", "from the node", "from the node")
	if m := seed.Members(); len(m) != 1 || m[0].Label != "room" {
		t.Errorf("the seed has members %v, want the one with label room", m)
	}
	nano.Shutdown()
	if err := testkit.Receive(t, ended, "the end of Listen"); err != nil {
		t.Errorf("Listen = %v", err)
	}
	testkit.Eventually(t, "the node has left", func() bool { return len(seed.Members()) == 0 })
}

// TestListenClusterAlone checks that a node without an address for players runs until it
// is shut down.
func TestListenClusterAlone(t *testing.T) {
	log := testkit.NewLogCapture()
	ended := make(chan error, 1)
	go func() {
		ended <- nano.Listen("127.0.0.1:0", nano.WithCluster(), log.Option())
	}()
	log.Wait(t, "cluster: started", "address")
	nano.Shutdown()
	if err := testkit.Receive(t, ended, "the end of Listen"); err != nil {
		t.Errorf("Listen = %v", err)
	}
	for _, opts := range [][]nano.Option{{nano.WithCluster()}, {nano.WithCluster(), nano.WithClientAddr("nowhere:x")}} {
		addr := "nowhere:x"
		if len(opts) > 1 {
			addr = "127.0.0.1:0"
		}
		go func() {
			ended <- nano.Listen(addr, append(opts, log.Option())...)
		}()
		if err := testkit.Receive(t, ended, "the end of Listen"); err == nil {
			t.Errorf("Listen at %s with players at nowhere = nil", addr)
		}
	}
}
