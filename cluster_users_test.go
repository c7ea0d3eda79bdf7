package nano_test

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
	"github.com/lonng/nano/session"
)

// login binds the uid that a client sends.
func login() *Game {
	return doing(func(s *session.Session, data []byte) error {
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

// found waits until a node knows where a user is.
func (n *node) found(uid int64) {
	n.t.Helper()
	eventually(n.t, "the user is found", func() bool { return n.Push(uid, "onFound", []byte{}) == nil })
}

// A user is pushed to and kicked from any node, wherever the uid was bound.
func TestClusterPushAndKick(t *testing.T) {
	t.Parallel()
	one := startNode(t, services{"Door": login()}, nil)
	two := startNode(t, services{"Door": login()}, []*node{one})
	back := startNode(t, services{"Hall": login()}, []*node{one, two})
	a, b, c := one.connect(), two.connect(), two.connect()
	a.must("Door.Do", "7", "7")
	b.must("Hall.Do", "7", "7") // bound on the backend
	c.must("Hall.Do", "8", "8")
	for _, n := range []*node{one, two, back} {
		if err := n.Push(9, "onNews", []byte("x")); !errors.Is(err, nano.ErrUserNotFound) {
			t.Errorf("Push to a user that nobody has = %v, want ErrUserNotFound", err)
		}
		if err := n.Kick(9, "x"); !errors.Is(err, nano.ErrUserNotFound) {
			t.Errorf("Kick of a user that nobody has = %v, want ErrUserNotFound", err)
		}
	}
	next := func(p *player) string {
		t.Helper()
		for {
			if m := receive(t, p.pushes, "a push"); m.Route != "onFound" {
				return m.Route + " " + string(m.Data)
			}
		}
	}
	for i, n := range []*node{one, two, back} {
		n.found(7)
		n.found(8)
		eventually(t, "both gates have the user", func() bool {
			if err := n.Push(7, "onCount", []byte{}); err != nil {
				t.Fatal(err)
			}
			return i != 2 || len(one.SessionsByUID(7)) == 1 && len(two.SessionsByUID(7)) == 1
		})
		if err := n.Push(7, "onNumber", &Number{i}); err != nil {
			t.Errorf("Push = %v, want nil", err)
		}
		for _, p := range []*player{a, b} {
			eventually(t, "the push comes", func() bool { return next(p) == fmt.Sprintf(`onNumber {"N":%d}`, i) })
		}
		if err := n.Push(8, strings.Repeat("x", 300), []byte{}); err == nil {
			t.Error("a push with a route that does not fit was sent")
		}
	}
	if err := back.Kick(7, "enough"); err != nil {
		t.Errorf("Kick = %v, want nil", err)
	}
	for _, p := range []*player{a, b} {
		receive(t, p.Done(), "the end of the kicked client")
		var kick *client.KickError
		if !errors.As(p.Err(), &kick) || kick.Reason != "enough" {
			t.Errorf("the client ended with %v, want a kick", p.Err())
		}
	}
	for _, n := range []*node{one, two, back} {
		eventually(t, "the user is gone", func() bool { return errors.Is(n.Push(7, "onNews", []byte{}), nano.ErrUserNotFound) })
	}
	// Who comes later learns of the users that are there.
	late := startNode(t, nil, []*node{one, two, back})
	late.found(8)
	two.kill()
	eventually(t, "the user is gone with the gate", func() bool { return errors.Is(late.Push(8, "onNews", []byte{}), nano.ErrUserNotFound) })
}

// A user who was bound on a backend is found there at once, before the gate has heard of it.
func TestClusterPushRightAfterBind(t *testing.T) {
	t.Parallel()
	var backend atomic.Pointer[nano.Server]
	gate := startNode(t, nil, nil)
	back := startNode(t, services{"Door": doing(func(s *session.Session, data []byte) error {
		srv := backend.Load()
		return errors.Join(s.Bind(7), srv.Push(7, "onNews", data), srv.Kick(7, "enough"))
	})}, []*node{gate})
	backend.Store(back.Server)
	p := gate.connect()
	p.tell("Door.Do", "hello")
	p.hears("onNews", "hello")
	receive(t, p.Done(), "the end of the kicked client")
}

// Of the logins of one user at several gates, the latest stays.
func TestClusterSingleLogin(t *testing.T) {
	t.Parallel()
	gates := []*node{startNode(t, services{"Door": login()}, nil, nano.WithSingleLogin())}
	for range 2 {
		gates = append(gates, startNode(t, services{"Door": login()}, gates, nano.WithSingleLogin()))
	}
	back := startNode(t, services{"Hall": login()}, gates, nano.WithSingleLogin())
	var last *player
	for i := range 12 {
		gate := gates[i%len(gates)]
		p := gate.connect()
		p.must([]string{"Door.Do", "Door.Do", "Hall.Do", "Hall.Do"}[i%4], "7", "7") // bound at the gate, or on the backend
		if last != nil {
			receive(t, last.Done(), "the end of the login before")
			var kick *client.KickError
			if !errors.As(last.Err(), &kick) {
				t.Errorf("login %d ended with %v, want a kick", i-1, last.Err())
			}
		}
		for _, n := range append(gates, back) {
			n.found(7)
		}
		last = p
	}
	last.must("Door.Echo", "still there", "still there")

	// Of many at the same moment, just one stays.
	var players []*player
	for i := range 3 * len(gates) {
		players = append(players, gates[i%len(gates)].connect())
	}
	var wg sync.WaitGroup
	for _, p := range players {
		wg.Go(func() { _, _ = p.ask("Door.Do", "8") })
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
	eventually(t, "one login is left", func() bool { return open() == 1 })
	for _, p := range players {
		select {
		case <-p.Done():
		default:
			p.must("Door.Echo", "me", "me")
		}
	}
}

// A group over several gates sends one message to each.
func TestClusterGroup(t *testing.T) {
	t.Parallel()
	group := nano.NewGroup("room")
	join := doing(func(s *session.Session, data []byte) error {
		if err := group.Add(s); err != nil {
			return err
		}
		s.Set("name", string(data))
		return s.Response(data)
	})
	one := startNode(t, nil, nil)
	two := startNode(t, nil, []*node{one})
	back := startNode(t, services{"Hall": join}, []*node{one, two})
	var players []*player
	for i := range 9 {
		p := []*node{one, two, back}[i%3].connect()
		p.must("Hall.Do", fmt.Sprint(i), fmt.Sprint(i))
		players = append(players, p)
	}
	if group.Count() != len(players) {
		t.Fatalf("%d members, want %d", group.Count(), len(players))
	}
	for i := range 3 {
		if err := group.Broadcast("onNews", &Number{i}); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range players {
		for i := range 3 {
			p.hears("onNews", fmt.Sprintf(`{"N":%d}`, i))
		}
	}
	for name, n := range map[string]*node{"one": one, "two": two} {
		if got := n.Stats().Cluster.Multicasts; got != 3 {
			t.Errorf("gate %s got %d messages for its members, want 3", name, got)
		}
	}
	err := group.Multicast("onNews", []byte("some"), func(s *session.Session) bool { return s.String("name") != "0" })
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range players[1:] {
		p.hears("onNews", "some")
	}
	if err := group.Broadcast("onNews", func() {}); err == nil {
		t.Error("Broadcast of what does not encode = nil")
	}
	// Who is gone is forgotten.
	for _, p := range players[:3] {
		_ = p.Close()
	}
	eventually(t, "those that left are no members", func() bool { return group.Count() == 6 })
	two.kill()
	eventually(t, "those of the gate that is down are no members", func() bool { return group.Count() == 4 })
	if err := group.Broadcast("onNews", []byte("rest")); err != nil {
		t.Fatal(err)
	}
	for i, p := range players[3:] {
		if i%3 != 1 {
			p.hears("onNews", "rest")
		}
	}
	select {
	case m := <-players[0].pushes:
		t.Errorf("push %s %s came to who was left out", m.Route, m.Data)
	default:
	}
}

// changes notes what member callbacks are told.
type changes struct {
	t    testing.TB
	told chan cluster.Member
}

func newChanges(t testing.TB) *changes { return &changes{t, make(chan cluster.Member, 100)} }

func (c *changes) note(m cluster.Member) { c.told <- m }

func (c *changes) next(up bool, n string) cluster.Member {
	c.t.Helper()
	m := receive(c.t, c.told, "a change of the members")
	if m.Up != up || m.Addr != n {
		c.t.Fatalf("told of %v, want %s, up: %v", m, n, up)
	}
	return m
}

// A backend that goes down costs the requests it had, at once, and no others.
func TestClusterLoss(t *testing.T) {
	t.Parallel()
	members, lost := newChanges(t), newChanges(t)
	gate := startNode(t, nil, nil, nano.WithMemberCallback(members.note), nano.WithUnregisterCallback(lost.note))
	never := func(name string) *Game {
		return doing(func(s *session.Session, data []byte) error {
			if string(data) == "never" {
				return nil
			}
			return s.Response([]byte(name))
		})
	}
	a := startNode(t, services{"Room": never("a")}, []*node{gate}, nano.WithLabel("red"))
	address := a.ClusterAddr()
	if m := members.next(true, address); m.Label != "red" || len(m.Services) != 1 || m.Services[0] != "Room" {
		t.Errorf("told of %+v, want label red and service Room", m)
	}
	p := gate.connect()
	p.must("Room.Do", "", "a")
	failed := make(chan error, 10)
	for range 10 {
		err := p.RequestFunc(t.Context(), "Room.Do", []byte("never"), func(m *client.Message, err error) { failed <- err })
		if err != nil {
			t.Fatal(err)
		}
	}
	p.must("Room.Do", "", "a")
	b := startNode(t, services{"Room": never("b")}, []*node{gate, a})
	members.next(true, b.ClusterAddr())
	down := time.Now()
	a.kill()
	for range 10 {
		if err := receive(t, failed, "an error"); !hasCode(err, nano.CodeUnavailable) {
			t.Errorf("a request to the node that went down ended with %v, want NANO-503", err)
		}
	}
	if took := time.Since(down); took > 2*time.Second {
		t.Errorf("the requests failed after %v, want 2 s at most", took)
	}
	p.must("Room.Do", "", "b")
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
	b.stop()
	members.next(false, b.ClusterAddr())
	lost.next(false, b.ClusterAddr())
	p.fails("Room.Do", "", nano.CodeUnavailable)

	a.stop()
	again := startNodeAt(t, address, services{"Room": never("a again")}, []*node{gate})
	members.next(true, address)
	p.must("Room.Do", "", "a again")
	for _, m := range gate.Members() {
		if m.Addr == again.ClusterAddr() {
			eventually(t, "the round trip is measured", func() bool { return gate.Members()[0].RTT > 0 || len(gate.Members()) > 1 })
		}
	}
}

// When a gate goes down, the sessions of its clients close on every backend.
func TestClusterGateLoss(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 10)
	room := doing(func(s *session.Session, data []byte) error {
		s.OnClose(func(_ *session.Session, reason error) { ended <- reason })
		return s.Response(data)
	})
	gate, backend := pair(t, services{"Room": room})
	for range 3 {
		gate.connect().must("Room.Do", "x", "x")
	}
	gate.kill()
	for range 3 {
		if err := receive(t, ended, "OnClose"); !errors.Is(err, session.ErrClientClosed) || !errors.Is(err, cluster.ErrMemberDown) {
			t.Errorf("OnClose got %v, want ErrClientClosed and ErrMemberDown", err)
		}
	}
	eventually(t, "the sessions are gone", func() bool { return backend.Stats().Cluster.Sessions == 0 })
}

// A backend that shuts down takes leave: its sessions close there, its clients stay, and others serve them.
func TestClusterLeave(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	room := func(name string) *Game {
		return doing(func(s *session.Session, data []byte) error {
			if name == "a" {
				s.OnClose(func(_ *session.Session, reason error) { ended <- reason })
			}
			return s.Response([]byte(name))
		})
	}
	gate := startNode(t, nil, nil)
	a := startNode(t, services{"Room": room("a")}, []*node{gate})
	p := gate.connect()
	p.must("Room.Do", "", "a")
	startNode(t, services{"Room": room("b")}, []*node{gate, a})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		a.stop()
	}()
	if err := receive(t, ended, "OnClose"); !errors.Is(err, session.ErrShutdown) {
		t.Errorf("OnClose got %v, want ErrShutdown", err)
	}
	eventually(t, "the other node serves", func() bool {
		got, err := p.ask("Room.Do", "")
		if err != nil && !hasCode(err, nano.CodeUnavailable) {
			t.Fatalf("Room.Do = %v, want an answer or NANO-503", err)
		}
		return got == "b"
	})
	receive(t, stopped, "the end of the shutdown")
	p.must("Room.Do", "", "b")
}

// final is a component whose Shutdown does f.
type final struct {
	Game
	f func()
}

func (c *final) Shutdown() { c.f() }

// A node that was chosen before it took leave, and to which nothing was sent by then, is sent nothing after it.
func TestClusterLeaveOfAChosenNode(t *testing.T) {
	t.Parallel()
	asked, choose := make(chan struct{}), make(chan struct{})
	withdrawn, leave := make(chan struct{}), make(chan struct{})
	var first sync.Once
	gate := startNode(t, nil, nil, nano.WithCustomerRemoteServiceRoute(
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
	startNode(t, services{"Room": named("stays")}, []*node{gate})
	leaver := startNode(t, services{"Room": named("leaves"), "Last": &final{f: func() {
		close(withdrawn)
		<-leave
	}}}, []*node{gate}, nano.WithLabel("leaves"))
	p := gate.connect()
	answered := make(chan error, 1)
	go func() {
		name, err := p.ask("Room.Do", "")
		if err == nil && name != "stays" {
			err = fmt.Errorf("%s answered", name)
		}
		answered <- err
	}()
	receive(t, asked, "the choice")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		leaver.stop()
	}()
	receive(t, withdrawn, "the shutdown of the components")
	close(choose)
	if err := receive(t, answered, "the answer"); err != nil {
		t.Errorf("Room.Do = %v, want an answer of the node that stays", err)
	}
	close(leave)
	receive(t, stopped, "the end of the shutdown")
}

// A backend that shuts down while it is busy serves what is on its way to it: no client notices.
func TestClusterLeaveUnderLoad(t *testing.T) {
	t.Parallel()
	const players, leavings = 30, 3
	gate := startNode(t, nil, nil)
	startNode(t, services{"Room": named("stays")}, []*node{gate})
	crowd := make([]*player, players)
	for i := range crowd {
		crowd[i] = gate.connect()
	}
	for range leavings {
		leaver := startNode(t, services{"Room": named("leaves"), "Door": doing(func(s *session.Session, data []byte) error {
			s.Router().Bind("Room", string(data))
			return s.Response([]byte{})
		})}, []*node{gate})
		stop := make(chan struct{})
		moved := make(chan struct{}, players)
		var wg sync.WaitGroup
		for _, p := range crowd {
			p.must("Door.Do", leaver.ClusterAddr(), "")
			wg.Go(func() {
				for first := true; ; {
					name, err := p.ask("Room.Do", "")
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
			receive(t, moved, "an answer of the node that leaves")
		}
		leaver.stop()
		close(stop)
		wg.Wait()
	}
}

// What backends have done and not told of yet holds up no client, however many backends there are.
func TestClusterManyBackends(t *testing.T) {
	t.Parallel()
	const backends, notifies = 6, 31
	got := make(chan struct{}, backends*notifies)
	nodes := []*node{startNode(t, nil, nil, nano.WithMaxPending(16))}
	for i := range backends {
		room := doing(func(*session.Session, []byte) error {
			got <- struct{}{}
			return nil
		})
		nodes = append(nodes, startNode(t, services{fmt.Sprint("Room", i): room}, nodes, nano.WithMaxPending(16)))
	}
	p := nodes[0].connect()
	for i := range backends {
		for range notifies {
			p.tell(fmt.Sprintf("Room%d.Do", i), "x")
		}
	}
	for range backends * notifies {
		receive(t, got, "a notify")
	}
	for i := range backends {
		p.must(fmt.Sprintf("Room%d.Echo", i), "x", "x")
	}
}

// A client that sends faster than a backend works is slowed down: nothing is refused, and what waits is bounded.
func TestClusterBackPressure(t *testing.T) {
	t.Parallel()
	const messages = 3000
	block := make(chan struct{})
	got := make(chan int, messages)
	n := 0
	room := doing(func(s *session.Session, data []byte) error {
		<-block
		n++
		got <- n
		return nil
	})
	gate, backend := pair(t, services{"Room": room}, nano.WithMaxPending(64))
	p := gate.connect(client.WithSendBuffer(1 << 20))
	for range messages {
		p.tell("Room.Do", "some payload")
	}
	last, steady := int64(0), 0
	eventually(t, "the gate reads no more", func() bool {
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
		receive(t, got, "a message")
	}
	if n := backend.Stats().Cluster.Refused; n != 0 {
		t.Errorf("%d messages were refused, want none", n)
	}
	p.must("Room.Echo", "done", "done")
}
