package cluster_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// gates are two gates of a cluster with resume, and a client of the first one's.
type gates struct {
	t      *testing.T
	home   *testkit.Node // the session's gate
	away   *testkit.Node
	client *testkit.ResumeClient
	wire   *testkit.Wire
	s      *session.Session
	next   uint64
}

func startGates(t *testing.T, opts ...nano.Option) *gates {
	t.Helper()
	g := &gates{t: t, client: &testkit.ResumeClient{}}
	opts = append([]nano.Option{nano.WithResume(nano.Resume{})}, opts...)
	game := func(name string) testkit.Services {
		return testkit.Services{"Game": testkit.NewGame(func(s *session.Session, data []byte) error {
			if g.s == nil {
				g.s = s
			}
			return s.Response(fmt.Append(nil, name, " ", string(data)))
		})}
	}
	g.home = testkit.StartNode(t, game("home"), nil, opts...)
	g.away = testkit.StartNode(t, game("away"), []*testkit.Node{g.home}, opts...)
	return g
}

func (g *gates) connect(n *testkit.Node) testkit.ResumeAnswer {
	g.t.Helper()
	conn, err := net.Dial("tcp", n.Players)
	if err != nil {
		g.t.Fatal(err)
	}
	g.wire = testkit.NewWire(conn)
	g.t.Cleanup(g.wire.Abort)
	a, err := g.client.Connect(g.wire)
	if err != nil {
		g.t.Fatal(err)
	}
	return a
}

func (g *gates) ask(text, want string) {
	g.t.Helper()
	g.next++
	g.client.Send(testkit.Request(g.next, "Game.Do", text))
	m, err := g.client.Next(g.wire)
	if err != nil || string(m.Data) != want || m.ID != g.next {
		g.t.Fatalf("request %q was answered by %v, %v, want %q", text, m, err, want)
	}
}

func TestClusterResume(t *testing.T) {
	t.Parallel()
	g := startGates(t)
	g.connect(g.home)
	g.ask("1", "home 1")
	g.wire.Abort()
	if a := g.connect(g.away); !a.Resumed {
		t.Fatalf("answer %+v", a)
	}
	g.ask("2", "home 2")
}
