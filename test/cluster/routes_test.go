package cluster_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/session"
)

// TestClusterRouter checks that a session stays with the node that served it, and that
// the program may choose the node on any node.
func TestClusterRouter(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	var target atomic.Pointer[string]
	bind := func(s *session.Session, data []byte) error {
		if string(data) == "free" {
			s.Router().Delete("Room")
		} else {
			s.Router().Bind("Room", *target.Load())
		}
		return s.Response(data)
	}
	gate := testkit.StartNode(t, testkit.Services{"Door": testkit.NewGame(bind)}, nil)
	a := testkit.StartNode(t, testkit.Services{"Room": testkit.NewNamedGame("a")}, []*testkit.Node{gate})
	b := testkit.StartNode(t, testkit.Services{"Room": testkit.NewNamedGame("b")}, []*testkit.Node{gate, a})
	c := testkit.StartNode(t, testkit.Services{"Lobby": testkit.NewGame(bind)}, []*testkit.Node{gate, a, b})
	seen := map[string]int{}
	players := make([]*testkit.Player, 10)
	for i := range players {
		players[i] = gate.Connect()
		first, err := players[i].Ask("Room.Do", "")
		if err != nil {
			t.Fatal(err)
		}
		seen[first]++
		for range 10 {
			players[i].Expect("Room.Do", "", first)
		}
	}
	if seen["a"] != 5 || seen["b"] != 5 {
		t.Errorf("the sessions went to %v, want 5 to each", seen)
	}
	p := players[0]
	for _, by := range []string{"Door", "Lobby"} {
		for name, n := range map[string]*testkit.Node{"a": a, "b": b} {
			target.Store(new(string))
			*target.Load() = n.ClusterAddr()
			p.Expect(by+".Do", "bind", "bind")
			p.Expect("Room.Do", "", name)
			p.Expect("Room.Do", "", name)
		}
	}
	// After an unbind on any node, the next node in turn serves the session.
	for _, by := range []string{"Door", "Lobby"} {
		seen := map[string]bool{}
		for range 4 {
			p.Expect(by+".Do", "free", "free")
			name, err := p.Ask("Room.Do", "")
			if err != nil {
				t.Fatal(err)
			}
			seen[name] = true
		}
		if len(seen) != 2 {
			t.Errorf("unbound by %s, the session went to %v, want to both nodes in turn", by, seen)
		}
	}
	*target.Load() = c.ClusterAddr() // that node does not serve the route
	p.Expect("Lobby.Do", "bind", "bind")
	if got, err := p.Ask("Room.Do", ""); err != nil || got != "a" && got != "b" {
		t.Errorf("Room.Do = %q, %v, want one of the nodes that serve it", got, err)
	}
}

// TestClusterTurns checks that sessions are assigned to the nodes of each service in
// turn, whatever other services they use.
func TestClusterTurns(t *testing.T) {
	t.Parallel()
	nodes := []*testkit.Node{testkit.StartNode(t, nil, nil)}
	for _, name := range []string{"a", "b"} {
		nodes = append(nodes, testkit.StartNode(t, testkit.Services{"Auth": testkit.NewNamedGame(name), "Room": testkit.NewNamedGame(name)}, nodes))
	}
	seen := map[string]int{}
	for range 10 {
		p := nodes[0].Connect()
		for _, service := range []string{"Auth", "Room"} {
			name, err := p.Ask(service+".Do", "")
			if err != nil {
				t.Fatal(err)
			}
			seen[service+" at "+name]++
		}
	}
	for _, what := range []string{"Auth at a", "Auth at b", "Room at a", "Room at b"} {
		if seen[what] != 5 {
			t.Errorf("%d sessions used %s, want 5: %v", seen[what], what, seen)
		}
	}
}

// TestClusterRoute checks that the program's node selector chooses the node.
func TestClusterRoute(t *testing.T) {
	t.Parallel()
	var nobody atomic.Bool
	route := func(service string, s *session.Session, members []*clusterpb.MemberInfo) *clusterpb.MemberInfo {
		if nobody.Load() {
			return nil
		}
		// The selector owns its list.
		members = slices.DeleteFunc(members, func(m *clusterpb.MemberInfo) bool {
			return m.Label != s.String("room") || !slices.Contains(m.Services, service)
		})
		if len(members) == 0 {
			return nil
		}
		return members[0]
	}
	choose := func(s *session.Session, data []byte) error {
		s.Set("room", string(data))
		s.Router().Delete("Room")
		return s.Response(data)
	}
	gate := testkit.StartNode(t, testkit.Services{"Door": testkit.NewGame(choose)}, nil, nano.WithNodeSelector(route))
	a := testkit.StartNode(t, testkit.Services{"Room": testkit.NewNamedGame("a")}, []*testkit.Node{gate}, nano.WithLabel("red"))
	testkit.StartNode(t, testkit.Services{"Room": testkit.NewNamedGame("b")}, []*testkit.Node{gate, a}, nano.WithLabel("blue"))
	p := gate.Connect()
	for range 3 {
		p.Expect("Door.Do", "red", "red")
		p.Expect("Room.Do", "", "a")
		p.Expect("Door.Do", "blue", "blue")
		p.Expect("Room.Do", "", "b")
	}
	nobody.Store(true)
	p.Expect("Room.Do", "", "b") // the session stays with the node
	p.Expect("Door.Do", "red", "red")
	p.ExpectError("Room.Do", "", nano.CodeUnavailable)
}

// TestClusterRouterOfServingGate checks that a gate serves a shared service itself for
// sessions that are not bound to another node.
func TestClusterRouterOfServingGate(t *testing.T) {
	t.Parallel()
	hooks := pipeline.New()
	hooks.Inbound().PushBack(func(*session.Session, *pipeline.Message) error { return nil })
	for name, opts := range map[string][]nano.Option{"": nil, "with hooks": {nano.WithPipeline(hooks)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var target atomic.Pointer[string]
			bind := testkit.NewGame(func(s *session.Session, data []byte) error {
				if string(data) == "free" {
					s.Router().Delete("Room")
				} else {
					s.Router().Bind("Room", *target.Load())
				}
				return s.Response(data)
			})
			gate := testkit.StartNode(t, testkit.Services{"Door": bind, "Room": testkit.NewNamedGame("gate")}, nil, opts...)
			back := testkit.StartNode(t, testkit.Services{"Hall": bind, "Room": testkit.NewNamedGame("back")}, []*testkit.Node{gate}, opts...)
			address := back.ClusterAddr()
			target.Store(&address)
			p := gate.Connect()
			for _, by := range []string{"Door", "Hall"} {
				p.Expect("Room.Do", "", "gate")
				p.Expect(by+".Do", "bind", "bind")
				p.Expect("Room.Do", "", "back")
				gate.Connect().Expect("Room.Do", "", "gate")
				p.Expect(by+".Do", "free", "free")
				p.Expect("Room.Do", "", "gate")
			}
			p.Expect("Hall.Do", "bind", "bind")
			p.Expect("Room.Do", "", "back")
			back.Kill()
			testkit.Eventually(t, "the node is down", func() bool { return gate.Stats().Cluster.Members == 0 })
			p.Expect("Room.Do", "", "gate")
		})
	}
}

// TestClusterDividedService checks that a gate keeps serving its part of a service. Its
// clients ask for other parts, which other nodes or no node serve.
func TestClusterDividedService(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	gate := testkit.StartNode(t, testkit.Services{"Room": testkit.NewNamedGame("gate")}, nil)
	a := testkit.StartNode(t, testkit.Services{"Room": newBank("a")}, []*testkit.Node{gate})
	b := testkit.StartNode(t, testkit.Services{"Room": newBank("b")}, []*testkit.Node{gate, a})
	p := gate.Connect()
	p.Expect("Room.Do", "", "gate")
	first, err := p.Ask("Room.Answer", "")
	if err != nil {
		t.Fatalf("Room.Answer = %v", err)
	}
	for range 3 {
		p.Expect("Room.Do", "", "gate")
		p.Expect("Room.Answer", "", first)
		p.ExpectError("Room.Nothing", "", nano.CodeNotFound)
	}
	gone, other := a, "b "
	if first == "b " {
		gone, other = b, "a "
	}
	gone.Kill()
	testkit.Eventually(t, "the node is down", func() bool { return gate.Stats().Cluster.Members == 1 })
	p.Expect("Room.Answer", "", other)
	p.Expect("Room.Do", "", "gate")
}

// TestClusterDividedServiceBoundToItsGate checks that a session bound to its gate stays
// there after it asked for a route that the gate lacks.
func TestClusterDividedServiceBoundToItsGate(t *testing.T) {
	t.Parallel()
	bind := testkit.NewGame(func(s *session.Session, data []byte) error {
		s.Router().Bind("Room", string(data))
		return s.Response([]byte{})
	})
	gate := testkit.StartNode(t, testkit.Services{"Room": testkit.NewNamedGame("gate"), "Door": bind}, nil)
	testkit.StartNode(t, testkit.Services{"Room": newBank("back")}, []*testkit.Node{gate})
	p := gate.Connect()
	p.Expect("Door.Do", gate.ClusterAddr(), "")
	for range 2 {
		p.Expect("Room.Do", "", "gate")
		p.Expect("Room.Answer", "", "back ")
	}
}

// TestClusterServiceOfGateAndBackend checks that calls by backends for sessions of a
// gate's clients use the gate's own service, and stay with it.
func TestClusterServiceOfGateAndBackend(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 10)
	hear := func(name string) *testkit.Game {
		return testkit.NewGame(func(s *session.Session, data []byte) error {
			if s.LastMid() == 0 {
				heard <- name
				return nil
			}
			return s.Response([]byte(name))
		})
	}
	sessions := make(chan *session.Session, 1)
	hall := testkit.NewGame(func(s *session.Session, data []byte) error {
		sessions <- s
		return s.Response(data)
	})
	gate := testkit.StartNode(t, testkit.Services{"Room": hear("gate")}, nil)
	back := testkit.StartNode(t, testkit.Services{"Room": hear("back"), "Hall": hall}, []*testkit.Node{gate})
	p := gate.Connect()
	p.Expect("Hall.Do", "", "")
	s := testkit.Receive(t, sessions, "the backend's session")
	try := func(want string) {
		t.Helper()
		testkit.Eventually(t, "the gate knows where the service is", func() bool {
			got, err := p.Ask("Room.Do", "")
			return err == nil && got == want
		})
		if err := s.RPC("Room.Do", []byte{}); err != nil {
			t.Fatalf("RPC = %v", err)
		}
		if got := testkit.Receive(t, heard, "the RPC"); got != want {
			t.Errorf("the RPC came to %s, want %s", got, want)
		}
		var name []byte
		if err := s.Call(within(t), "Room.Do", nil, &name); err != nil || string(name) != want {
			t.Errorf("Call = %q, %v, want %s", name, err, want)
		}
		p.Expect("Room.Do", "", want)
	}
	try("gate")
	s.Router().Bind("Room", back.ClusterAddr())
	try("back")
	s.Router().Delete("Room")
	try("gate")
}

// TestClusterRouteOnce checks that the first of two simultaneous choices of a node is
// used for both.
func TestClusterRouteOnce(t *testing.T) {
	t.Parallel()
	var first atomic.Bool
	choosing, chosen := make(chan struct{}), make(chan struct{})
	sessions := make(chan *session.Session, 1)
	door := testkit.NewGame(func(s *session.Session, _ []byte) error {
		sessions <- s
		return s.Response([]byte("ok"))
	})
	gate := testkit.StartNode(t, testkit.Services{"Door": door}, nil, nano.WithNodeSelector(
		func(_ string, _ *session.Session, members []*clusterpb.MemberInfo) *clusterpb.MemberInfo {
			if first.Swap(true) {
				return members[1]
			}
			close(choosing)
			<-chosen
			return members[0]
		}))
	a := testkit.StartNode(t, testkit.Services{"Room": newBank("a")}, []*testkit.Node{gate})
	testkit.StartNode(t, testkit.Services{"Room": newBank("b")}, []*testkit.Node{gate, a})
	p := gate.Connect()
	p.Expect("Door.Do", "", "ok")
	s := testkit.Receive(t, sessions, "the session")
	called := make(chan string, 1)
	go func() {
		var name []byte
		err := s.Call(within(t), "Room.Answer", nil, &name)
		called <- fmt.Sprint(string(name), err)
	}()
	testkit.Receive(t, choosing, "the first choice")
	name, err := p.Ask("Room.Answer", "")
	close(chosen)
	if got := testkit.Receive(t, called, "the reply"); err != nil || got != name+"<nil>" {
		t.Errorf("the call was answered by %s, and the request by %s, %v: want one node", got, name, err)
	}
	p.Expect("Room.Answer", "", name)
}
