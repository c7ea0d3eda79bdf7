package cluster_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// login binds the uid that the client sends.
func login() *testkit.Game {
	return testkit.NewGame(func(s *session.Session, data []byte) error {
		var uid int64
		if _, err := fmt.Sscan(string(data), &uid); err != nil {
			return err
		}
		if err := s.Bind(uid); err != nil {
			return err
		}
		return s.Response(data)
	})
}

// TestClusterPushAndKick checks that any node can push to a user and kick it, wherever
// the uid was bound.
func TestClusterPushAndKick(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	one := testkit.StartNode(t, testkit.Services{"Door": login()}, nil)
	two := testkit.StartNode(t, testkit.Services{"Door": login()}, []*testkit.Node{one})
	back := testkit.StartNode(t, testkit.Services{"Hall": login()}, []*testkit.Node{one, two})
	a, b, c := one.Connect(), two.Connect(), two.Connect()
	a.Expect("Door.Do", "7", "7")
	b.Expect("Hall.Do", "7", "7") // bound on the backend
	c.Expect("Hall.Do", "8", "8")
	for _, n := range []*testkit.Node{one, two, back} {
		if err := n.Push(9, "onNews", []byte("x")); !errors.Is(err, nano.ErrUserNotFound) {
			t.Errorf("Push to a user that nobody has = %v, want ErrUserNotFound", err)
		}
		if err := n.Kick(9, "x"); !errors.Is(err, nano.ErrUserNotFound) {
			t.Errorf("Kick of a user that nobody has = %v, want ErrUserNotFound", err)
		}
	}
	next := func(p *testkit.Player) string {
		t.Helper()
		for {
			if m := testkit.Receive(t, p.Pushes, "a push"); m.Route != "onFound" {
				return m.Route + " " + string(m.Data)
			}
		}
	}
	for i, n := range []*testkit.Node{one, two, back} {
		n.AwaitUser(7)
		n.AwaitUser(8)
		testkit.Eventually(t, "both gates have the user", func() bool {
			if err := n.Push(7, "onCount", []byte{}); err != nil {
				t.Fatal(err)
			}
			return i != 2 || len(one.SessionsByUID(7)) == 1 && len(two.SessionsByUID(7)) == 1
		})
		if err := n.Push(7, "onNumber", &testkit.Number{N: i}); err != nil {
			t.Errorf("Push = %v, want nil", err)
		}
		for _, p := range []*testkit.Player{a, b} {
			testkit.Eventually(t, "the push comes", func() bool { return next(p) == fmt.Sprintf(`onNumber {"N":%d}`, i) })
		}
		if err := n.Push(8, strings.Repeat("x", 300), []byte{}); err == nil {
			t.Error("a push with a route that does not fit was sent")
		}
	}
	if err := back.Kick(7, "enough"); err != nil {
		t.Errorf("Kick = %v, want nil", err)
	}
	for _, p := range []*testkit.Player{a, b} {
		testkit.Receive(t, p.Done(), "the end of the kicked client")
		var kick *client.KickError
		if !errors.As(p.Err(), &kick) || kick.Reason != "enough" {
			t.Errorf("the client ended with %v, want a kick", p.Err())
		}
	}
	for _, n := range []*testkit.Node{one, two, back} {
		testkit.Eventually(t, "the user is gone", func() bool { return errors.Is(n.Push(7, "onNews", []byte{}), nano.ErrUserNotFound) })
	}
	// A node that joins later learns of the existing users.
	late := testkit.StartNode(t, nil, []*testkit.Node{one, two, back})
	late.AwaitUser(8)
	two.Kill()
	testkit.Eventually(t, "the user is gone with the gate", func() bool { return errors.Is(late.Push(8, "onNews", []byte{}), nano.ErrUserNotFound) })
}

// TestClusterPushRightAfterBind checks that a user who was bound on a backend is found
// there at once, before the gate knows of it.
func TestClusterPushRightAfterBind(t *testing.T) {
	t.Parallel()
	var backend atomic.Pointer[nano.Server]
	gate := testkit.StartNode(t, nil, nil)
	back := testkit.StartNode(t, testkit.Services{"Door": testkit.NewGame(func(s *session.Session, data []byte) error {
		srv := backend.Load()
		return errors.Join(s.Bind(7), srv.Push(7, "onNews", data), srv.Kick(7, "enough"))
	})}, []*testkit.Node{gate})
	backend.Store(back.Server)
	p := gate.Connect()
	p.Send("Door.Do", "hello")
	p.ExpectPush("onNews", "hello")
	testkit.Receive(t, p.Done(), "the end of the kicked client")
}

// TestClusterSingleLogin checks that the latest of several logins of a user at several
// gates remains.
func TestClusterSingleLogin(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	gates := []*testkit.Node{testkit.StartNode(t, testkit.Services{"Door": login()}, nil, nano.WithSingleLogin())}
	for range 2 {
		gates = append(gates, testkit.StartNode(t, testkit.Services{"Door": login()}, gates, nano.WithSingleLogin()))
	}
	back := testkit.StartNode(t, testkit.Services{"Hall": login()}, gates, nano.WithSingleLogin())
	var last *testkit.Player
	for i := range 12 {
		gate := gates[i%len(gates)]
		p := gate.Connect()
		p.Expect([]string{"Door.Do", "Door.Do", "Hall.Do", "Hall.Do"}[i%4], "7", "7") // bound at the gate or on the backend
		if last != nil {
			testkit.Receive(t, last.Done(), "the end of the login before")
			if _, ok := errors.AsType[*client.KickError](last.Err()); !ok {
				t.Errorf("login %d ended with %v, want a kick", i-1, last.Err())
			}
		}
		for _, n := range append(gates, back) {
			n.AwaitUser(7)
		}
		last = p
	}
	last.Expect("Door.Echo", "still there", "still there")

	// Exactly one of many simultaneous logins remains.
	var players []*testkit.Player
	for i := range 3 * len(gates) {
		players = append(players, gates[i%len(gates)].Connect())
	}
	var wg sync.WaitGroup
	for _, p := range players {
		wg.Go(func() { _, _ = p.Ask("Door.Do", "8") })
	}
	wg.Wait()
	open := func() (n int) {
		for _, p := range players {
			select {
			case <-p.Done():
			default:
				n++
			}
		}
		return n
	}
	testkit.Eventually(t, "one login is left", func() bool { return open() == 1 })
	for _, p := range players {
		select {
		case <-p.Done():
		default:
			p.Expect("Door.Echo", "me", "me")
		}
	}
}

// TestClusterGroup checks that a group with members at several gates sends one message to
// each gate.
func TestClusterGroup(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	group := nano.NewGroup("room")
	join := testkit.NewGame(func(s *session.Session, data []byte) error {
		if err := group.Add(s); err != nil {
			return err
		}
		s.Set("name", string(data))
		return s.Response(data)
	})
	one := testkit.StartNode(t, nil, nil)
	two := testkit.StartNode(t, nil, []*testkit.Node{one})
	back := testkit.StartNode(t, testkit.Services{"Hall": join}, []*testkit.Node{one, two})
	var players []*testkit.Player
	for i := range 9 {
		p := []*testkit.Node{one, two, back}[i%3].Connect()
		p.Expect("Hall.Do", fmt.Sprint(i), fmt.Sprint(i))
		players = append(players, p)
	}
	if group.Count() != len(players) {
		t.Fatalf("%d members, want %d", group.Count(), len(players))
	}
	for i := range 3 {
		if err := group.Broadcast("onNews", &testkit.Number{N: i}); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range players {
		for i := range 3 {
			p.ExpectPush("onNews", fmt.Sprintf(`{"N":%d}`, i))
		}
	}
	for name, n := range map[string]*testkit.Node{"one": one, "two": two} {
		if got := n.Stats().Cluster.Multicasts; got != 3 {
			t.Errorf("gate %s got %d messages for its members, want 3", name, got)
		}
	}
	err := group.Multicast("onNews", []byte("some"), func(s *session.Session) bool { return s.String("name") != "0" })
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range players[1:] {
		p.ExpectPush("onNews", "some")
	}
	if err := group.Broadcast("onNews", func() {}); err == nil {
		t.Error("Broadcast of what does not encode = nil")
	}
	// A user who has left is removed.
	for _, p := range players[:3] {
		_ = p.Close()
	}
	testkit.Eventually(t, "those that left are not members", func() bool { return group.Count() == 6 })
	two.Kill()
	testkit.Eventually(t, "those of the gate that is down are not members", func() bool { return group.Count() == 4 })
	if err := group.Broadcast("onNews", []byte("rest")); err != nil {
		t.Fatal(err)
	}
	for i, p := range players[3:] {
		if i%3 != 1 {
			p.ExpectPush("onNews", "rest")
		}
	}
	select {
	case m := <-players[0].Pushes:
		t.Errorf("push %s %s came to who was left out", m.Route, m.Data)
	default:
	}
}

// changes records the calls of member callbacks.
type changes struct {
	t    testing.TB
	told chan cluster.Member
}

func newChanges(t testing.TB) *changes { return &changes{t, make(chan cluster.Member, 100)} }

func (c *changes) note(m cluster.Member) { c.told <- m }

func (c *changes) next(up bool, n string) cluster.Member {
	c.t.Helper()
	m := testkit.Receive(c.t, c.told, "a change of the members")
	if m.Up != up || m.Addr != n {
		c.t.Fatalf("told of %v, want %s, up: %v", m, n, up)
	}
	return m
}

// TestClusterLoss checks that a backend that goes down fails its open requests at once,
// and no others.
func TestClusterLoss(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	members, lost := newChanges(t), newChanges(t)
	gate := testkit.StartNode(t, nil, nil, nano.WithMemberCallback(members.note), nano.WithUnregisterCallback(lost.note))
	never := func(name string) *testkit.Game {
		return testkit.NewGame(func(s *session.Session, data []byte) error {
			if string(data) == "never" {
				return nil
			}
			return s.Response([]byte(name))
		})
	}
	a := testkit.StartNode(t, testkit.Services{"Room": never("a")}, []*testkit.Node{gate}, nano.WithLabel("red"))
	address := a.ClusterAddr()
	if m := members.next(true, address); m.Label != "red" || len(m.Services) != 1 || m.Services[0] != "Room" {
		t.Errorf("told of %+v, want label red and service Room", m)
	}
	p := gate.Connect()
	p.Expect("Room.Do", "", "a")
	failed := make(chan error, 10)
	for range 10 {
		err := p.RequestFunc(t.Context(), "Room.Do", []byte("never"), func(m *client.Message, err error) { failed <- err })
		if err != nil {
			t.Fatal(err)
		}
	}
	p.Expect("Room.Do", "", "a")
	b := testkit.StartNode(t, testkit.Services{"Room": never("b")}, []*testkit.Node{gate, a})
	members.next(true, b.ClusterAddr())
	down := time.Now()
	a.Kill()
	for range 10 {
		if err := testkit.Receive(t, failed, "an error"); !testkit.HasCode(err, nano.CodeUnavailable) {
			t.Errorf("a request to the node that went down ended with %v, want NANO-503", err)
		}
	}
	if took := time.Since(down); took > 2*time.Second {
		t.Errorf("the requests failed after %v, want 2 s at most", took)
	}
	p.Expect("Room.Do", "", "b")
	members.next(false, address)
	lost.next(false, address)
	if took := time.Since(down); took > 3*time.Second {
		t.Errorf("the callback came after %v, want 3 s at most", took)
	}
	for _, m := range gate.Members() {
		if m.Up != (m.Addr == b.ClusterAddr()) {
			t.Errorf("the gate has %v, want only b up", m)
		}
	}
	b.Stop()
	members.next(false, b.ClusterAddr())
	lost.next(false, b.ClusterAddr())
	p.ExpectError("Room.Do", "", nano.CodeUnavailable)

	a.Stop()
	again := testkit.StartNodeAt(t, address, testkit.Services{"Room": never("a again")}, []*testkit.Node{gate})
	members.next(true, address)
	p.Expect("Room.Do", "", "a again")
	for _, m := range gate.Members() {
		if m.Addr == again.ClusterAddr() {
			testkit.Eventually(t, "the round trip is measured", func() bool { return gate.Members()[0].RTT > 0 || len(gate.Members()) > 1 })
		}
	}
}

// TestClusterGateLoss checks that the sessions of a gate's clients close on every backend
// when the gate goes down.
func TestClusterGateLoss(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 10)
	room := testkit.NewGame(func(s *session.Session, data []byte) error {
		s.OnClose(func(_ *session.Session, reason error) { ended <- reason })
		return s.Response(data)
	})
	gate, backend := testkit.StartPair(t, testkit.Services{"Room": room})
	for range 3 {
		gate.Connect().Expect("Room.Do", "x", "x")
	}
	gate.Kill()
	for range 3 {
		if err := testkit.Receive(t, ended, "OnClose"); !errors.Is(err, session.ErrClientClosed) || !errors.Is(err, cluster.ErrMemberDown) {
			t.Errorf("OnClose got %v, want ErrClientClosed and ErrMemberDown", err)
		}
	}
	testkit.Eventually(t, "the sessions are gone", func() bool { return backend.Stats().Cluster.Sessions == 0 })
}

// TestClusterLeave checks that the sessions on a backend close when it shuts down. Their
// clients stay connected, and other nodes serve them.
func TestClusterLeave(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	room := func(name string) *testkit.Game {
		return testkit.NewGame(func(s *session.Session, data []byte) error {
			if name == "a" {
				s.OnClose(func(_ *session.Session, reason error) { ended <- reason })
			}
			return s.Response([]byte(name))
		})
	}
	gate := testkit.StartNode(t, nil, nil)
	a := testkit.StartNode(t, testkit.Services{"Room": room("a")}, []*testkit.Node{gate})
	p := gate.Connect()
	p.Expect("Room.Do", "", "a")
	testkit.StartNode(t, testkit.Services{"Room": room("b")}, []*testkit.Node{gate, a})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		a.Stop()
	}()
	if err := testkit.Receive(t, ended, "OnClose"); !errors.Is(err, session.ErrShutdown) {
		t.Errorf("OnClose got %v, want ErrShutdown", err)
	}
	testkit.Eventually(t, "the other node serves", func() bool {
		got, err := p.Ask("Room.Do", "")
		if err != nil && !testkit.HasCode(err, nano.CodeUnavailable) {
			t.Fatalf("Room.Do = %v, want an answer or NANO-503", err)
		}
		return got == "b"
	})
	testkit.Receive(t, stopped, "the end of the shutdown")
	p.Expect("Room.Do", "", "b")
}

// final is a component whose Shutdown calls f.
type final struct {
	testkit.Game
	f func()
}

func (c *final) Shutdown() { c.f() }

// TestClusterLeaveOfAChosenNode checks that a node that was chosen before it left gets no
// message after that.
func TestClusterLeaveOfAChosenNode(t *testing.T) {
	t.Parallel()
	asked, choose := make(chan struct{}), make(chan struct{})
	withdrawn, leave := make(chan struct{}), make(chan struct{})
	var first sync.Once
	gate := testkit.StartNode(t, nil, nil, nano.WithNodeSelector(
		func(_ string, _ *session.Session, members []*clusterpb.MemberInfo) *clusterpb.MemberInfo {
			leaver := slices.IndexFunc(members, func(m *clusterpb.MemberInfo) bool { return m.Label == "leaves" })
			if leaver < 0 {
				return members[0]
			}
			first.Do(func() {
				close(asked)
				<-choose
			})
			return members[leaver]
		}))
	testkit.StartNode(t, testkit.Services{"Room": testkit.NewNamedGame("stays")}, []*testkit.Node{gate})
	leaver := testkit.StartNode(t, testkit.Services{"Room": testkit.NewNamedGame("leaves"), "Last": &final{f: func() {
		close(withdrawn)
		<-leave
	}}}, []*testkit.Node{gate}, nano.WithLabel("leaves"))
	p := gate.Connect()
	answered := make(chan error, 1)
	go func() {
		name, err := p.Ask("Room.Do", "")
		if err == nil && name != "stays" {
			err = fmt.Errorf("%s answered", name)
		}
		answered <- err
	}()
	testkit.Receive(t, asked, "the choice")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		leaver.Stop()
	}()
	testkit.Receive(t, withdrawn, "the shutdown of the components")
	close(choose)
	if err := testkit.Receive(t, answered, "the answer"); err != nil {
		t.Errorf("Room.Do = %v, want an answer of the node that stays", err)
	}
	close(leave)
	testkit.Receive(t, stopped, "the end of the shutdown")
}

// TestClusterLeaveUnderLoad checks that a backend that shuts down under load serves the
// messages in transit, so that no client notices.
func TestClusterLeaveUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	const players, leavings = 30, 3
	gate := testkit.StartNode(t, nil, nil)
	testkit.StartNode(t, testkit.Services{"Room": testkit.NewNamedGame("stays")}, []*testkit.Node{gate})
	crowd := make([]*testkit.Player, players)
	for i := range crowd {
		crowd[i] = gate.Connect()
	}
	for range leavings {
		leaver := testkit.StartNode(t, testkit.Services{"Room": testkit.NewNamedGame("leaves"), "Door": testkit.NewGame(func(s *session.Session, data []byte) error {
			s.Router().Bind("Room", string(data))
			return s.Response([]byte{})
		})}, []*testkit.Node{gate})
		stop := make(chan struct{})
		moved := make(chan struct{}, players)
		var wg sync.WaitGroup
		for _, p := range crowd {
			p.Expect("Door.Do", leaver.ClusterAddr(), "")
			wg.Go(func() {
				for first := true; ; {
					name, err := p.Ask("Room.Do", "")
					if err != nil {
						t.Errorf("Room.Do = %v while a node leaves, want an answer", err)
						return
					}
					if name == "leaves" && first {
						first = false
						moved <- struct{}{}
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		for range players {
			testkit.Receive(t, moved, "an answer of the node that leaves")
		}
		leaver.Stop()
		close(stop)
		wg.Wait()
	}
}

// TestClusterManyBackends checks that unacknowledged messages do not block a client,
// however many backends there are.
func TestClusterManyBackends(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	const backends, notifies = 6, 31
	got := make(chan struct{}, backends*notifies)
	nodes := []*testkit.Node{testkit.StartNode(t, nil, nil, nano.WithMaxPending(16))}
	for i := range backends {
		room := testkit.NewGame(func(*session.Session, []byte) error {
			got <- struct{}{}
			return nil
		})
		nodes = append(nodes, testkit.StartNode(t, testkit.Services{fmt.Sprint("Room", i): room}, nodes, nano.WithMaxPending(16)))
	}
	p := nodes[0].Connect()
	for i := range backends {
		for range notifies {
			p.Send(fmt.Sprintf("Room%d.Do", i), "x")
		}
	}
	for range backends * notifies {
		testkit.Receive(t, got, "a notify")
	}
	for i := range backends {
		p.Expect(fmt.Sprintf("Room%d.Echo", i), "x", "x")
	}
}

// TestClusterBackPressure checks that a client that sends faster than a backend works is
// slowed down. No message is refused, and the number of waiting messages is bounded.
func TestClusterBackPressure(t *testing.T) {
	t.Parallel()
	const messages = 3000
	block := make(chan struct{})
	got := make(chan int, messages)
	n := 0
	room := testkit.NewGame(func(s *session.Session, data []byte) error {
		<-block
		n++
		got <- n
		return nil
	})
	gate, backend := testkit.StartPair(t, testkit.Services{"Room": room}, nano.WithMaxPending(64))
	p := gate.Connect(client.WithSendBuffer(1 << 20))
	for range messages {
		p.Send("Room.Do", "some payload")
	}
	last, steady := int64(0), 0
	testkit.Eventually(t, "the gate reads no more", func() bool {
		now := gate.Stats().MessagesIn
		if steady++; now != last || now == 0 {
			last, steady = now, 0
		}
		return steady > 50
	})
	if last > 400 {
		t.Errorf("the gate has read %d messages of a client for which the backend does nothing, want 400 at most", last)
	}
	close(block)
	for range messages {
		testkit.Receive(t, got, "a message")
	}
	if n := backend.Stats().Cluster.Refused; n != 0 {
		t.Errorf("%d messages were refused, want none", n)
	}
	p.Expect("Room.Echo", "done", "done")
}
