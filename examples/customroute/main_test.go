package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wait is the longest time that a test waits for one event.
const wait = time.Minute

// start starts a node. players is the address for clients, if the node is a gate.
func start(t *testing.T, players bool, options func(addr string) []nano.Option) (srv *nano.Server, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv = nano.New(options(l.Addr().String())...)
	if err := srv.StartCluster(l); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	if players {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		addr = l.Addr().String()
		go func() { served <- srv.Serve(l) }()
	} else {
		served <- nil
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := errors.Join(srv.Shutdown(ctx), <-served); err != nil && !errors.Is(err, nano.ErrServerClosed) {
			t.Errorf("stopping: %v", err)
		}
	})
	return srv, addr
}

// know waits until every server sees all others.
func know(t *testing.T, servers ...*nano.Server) {
	t.Helper()
	deadline := time.Now().Add(wait)
	for _, s := range servers {
		for {
			up := 0
			for _, m := range s.Members() {
				if m.Up {
					up++
				}
			}
			if up == len(servers)-1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has members %v, want %d up", s.ClusterAddr(), s.Members(), len(servers)-1)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

type player struct {
	*testing.T
	*client.Client
	heard chan said
}

func connect(t *testing.T, addr string) *player {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	p := &player{T: t, heard: make(chan said, 100)}
	c, err := client.Dial(ctx, addr, client.WithHandler("onSay", func(m *client.Message) {
		var s said
		if err := m.Decode(&s); err != nil {
			t.Error(err)
		}
		p.heard <- s
	}))
	if err != nil {
		t.Fatal(err)
	}
	p.Client = c
	t.Cleanup(func() { _ = c.Close() })
	return p
}

func (p *player) request(route string, in any) error {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return p.Request(ctx, route, in, nil)
}

func (p *player) enter(region, room string) {
	p.Helper()
	if err := p.request("Gate.Enter", &enterRequest{region, room}); err != nil {
		p.Fatal(err)
	}
}

// says makes p say something in its room, and checks that everybody in the room hears it.
// It returns the node that served the room.
func says(p *player, text string, others ...*player) string {
	p.Helper()
	if err := p.request("Room.Say", &said{Text: text}); err != nil {
		p.Fatal(err)
	}
	node := ""
	for _, q := range append(others, p) {
		select {
		case s := <-q.heard:
			if s.Text != text || node != "" && s.Node != node {
				p.Fatalf("heard %+v, want %q of node %q", s, text, node)
			}
			node = s.Node
		case <-time.After(wait):
			p.Fatal("heard nothing")
		}
	}
	return node
}

func TestRooms(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	one, first := start(t, true, func(string) []nano.Option { return gateOptions("") })
	seed := one.ClusterAddr()
	two, second := start(t, true, func(string) []nano.Option { return append(gateOptions(""), nano.WithSeeds(seed)) })
	labels := map[string]string{}
	servers := []*nano.Server{one, two}
	for _, label := range []string{"europe", "europe", "asia"} {
		s, _ := start(t, false, func(addr string) []nano.Option {
			labels[addr] = label
			return roomOptions(addr, label, seed)
		})
		servers = append(servers, s)
	}
	know(t, servers...)
	ann, bob := connect(t, first), connect(t, second)
	nodes := map[string]bool{}
	for i := range 20 {
		room := fmt.Sprint("room ", i)
		ann.enter("europe", room)
		bob.enter("europe", room)
		says(ann, "once", bob)
		node := says(ann, "twice", bob)
		nodes[node] = true
		if labels[node] != "europe" {
			t.Errorf("%s of europe is served by a node of %q", room, labels[node])
		}
		bob.enter("asia", room)
		if node := says(bob, "here"); labels[node] != "asia" {
			t.Errorf("%s of asia is served by a node of %q", room, labels[node])
		}
		says(ann, "alone")
	}
	if len(nodes) != 2 {
		t.Errorf("%d nodes of europe serve 20 rooms, want 2", len(nodes))
	}
	if err := ann.request("Gate.Enter", &enterRequest{"africa", "x"}); !errors.Is(err, &client.Error{Code: nano.CodeUnavailable}) {
		t.Errorf("entering a region without nodes = %v, want NANO-503", err)
	}
}

func TestRoute(t *testing.T) {
	s := session.New(mock.NewNetworkEntity())
	s.Set("region", "europe")
	members := func(n int) (list []*clusterpb.MemberInfo) {
		for i := range n {
			list = append(list, &clusterpb.MemberInfo{Label: "europe", ServiceAddr: fmt.Sprintf("10.0.0.%d:1", i)})
		}
		return append(list, &clusterpb.MemberInfo{Label: "asia", ServiceAddr: "10.0.1.1:1"})
	}
	count := map[string]int{}
	for i := range 1000 {
		s.Set("room", fmt.Sprint(i))
		m := route("Room", s, members(4))
		count[m.GetServiceAddr()]++
		// Only the rooms of a node are lost when the node is lost.
		if less := route("Room", s, members(3)); m.GetServiceAddr() != "10.0.0.3:1" && less.GetServiceAddr() != m.GetServiceAddr() {
			t.Errorf("room %d went from %s to %s when another node left", i, m.GetServiceAddr(), less.GetServiceAddr())
		}
	}
	for addr, n := range count {
		if n < 150 || n > 350 {
			t.Errorf("%s serves %d of 1000 rooms, want about 250", addr, n)
		}
	}
	if m := route("Other", s, members(1)); m.GetServiceAddr() != "10.0.0.0:1" {
		t.Errorf("another service is served by %v, want the first", m)
	}
}

func TestCommand(t *testing.T) {
	for _, args := range []string{"gate --listen nowhere", "room --listen nowhere", "room --gate nowhere --listen 127.0.0.1:0", "room --what"} {
		if err := command().Run(t.Context(), strings.Fields("customroute "+args)); err == nil {
			t.Errorf("customroute %s = nil, want an error", args)
		}
	}
}
