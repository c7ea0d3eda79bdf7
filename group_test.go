package nano_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/pipenet"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// club is a server to which tests connect the members of groups, over pipes.
type club struct {
	t      *testing.T
	srv    *nano.Server
	pipes  *pipenet.Listener
	enter  chan *session.Session
	served chan struct{}
	wg     sync.WaitGroup // goroutines of clients that read
}

// Door is the component that hands sessions of clients to the test.
type Door struct {
	component.Base
	enter chan *session.Session
}

// Enter hands the session to the test.
func (d *Door) Enter(s *session.Session, _ []byte) error {
	d.enter <- s
	return nil
}

func newClub(t *testing.T, opts ...nano.Option) *club {
	c := &club{
		t: t, pipes: pipenet.New(), enter: make(chan *session.Session, 1), served: make(chan struct{}),
	}
	comps := &component.Components{}
	comps.Register(&Door{enter: c.enter})
	c.srv = nano.New(append([]nano.Option{nano.WithComponents(comps), nano.WithSerializer(json.NewSerializer())}, opts...)...)
	go func() {
		defer close(c.served)
		if err := c.srv.Serve(c.pipes); err != nil {
			t.Errorf("Serve = %v", err)
		}
	}()
	return c
}

func (c *club) shutdown() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.srv.Shutdown(ctx); err != nil {
		c.t.Errorf("Shutdown = %v", err)
	}
	<-c.served
	c.wg.Wait()
}

// guest is a client of a club. It records its pushes.
type guest struct {
	session *session.Session
	conn    net.Conn
	raw     atomic.Bool // records whole messages instead of pushes
	pause   atomic.Bool // stops reading until resumed
	resume  chan struct{}

	mu  sync.Mutex
	got []string
}

// join connects a client and returns when its session is open.
func (c *club) join() *guest {
	c.t.Helper()
	near, err := c.pipes.Dial()
	if err != nil {
		panic(err)
	}
	g := &guest{conn: near, resume: make(chan struct{})}
	var hello []byte
	for _, p := range []struct {
		typ  packet.Type
		body string
	}{{packet.Handshake, "{}"}, {packet.Ack, ""}, {packet.Data, "\x02\x0aDoor.Enter"}} {
		hello, _ = codec.Append(hello, p.typ, []byte(p.body))
	}
	c.wg.Go(func() { g.read(c.t) })
	if _, err := near.Write(hello); err != nil {
		c.t.Errorf("a client could not send: %v", err)
	}
	g.session = <-c.enter
	return g
}

func (g *guest) read(t *testing.T) {
	defer g.conn.Close()
	var buf []byte
	chunk := make([]byte, 4096)
	for {
		if g.pause.Load() {
			<-g.resume
		}
		n, err := g.conn.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:n]...)
		for {
			typ, body, n, _, err := codec.Next(buf, 1<<20)
			if err != nil {
				t.Errorf("a client was sent nonsense: %v", err)
				return
			}
			if n == 0 {
				break
			}
			if typ == packet.Data && g.raw.Load() {
				g.mu.Lock()
				g.got = append(g.got, string(body))
				g.mu.Unlock()
			} else if typ == packet.Data {
				m, err := message.Decode(body, nil)
				if err != nil || m.Type != message.Push {
					t.Errorf("a client was sent %v, %v, want pushes only", m, err)
					return
				}
				g.mu.Lock()
				g.got = append(g.got, m.Route+" "+string(m.Data))
				g.mu.Unlock()
			}
			buf = buf[n:]
		}
	}
}

// pushes returns the pushes since the last call.
func (g *guest) pushes() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	got := g.got
	g.got = nil
	return got
}

func mocks(t *testing.T, uids ...int64) (list []*session.Session, entities []*mock.NetworkEntity) {
	t.Helper()
	for _, uid := range uids {
		e := mock.NewNetworkEntity()
		s := session.New(e)
		if err := s.Bind(uid); err != nil {
			t.Fatal(err)
		}
		list, entities = append(list, s), append(entities, e)
	}
	return list, entities
}

func expectMembers(t *testing.T, g *nano.Group, want ...int64) {
	t.Helper()
	got := g.Members()
	if got == nil {
		t.Error("Members() = nil, want a slice, which is [] in JSON")
	}
	slices.Sort(got)
	if !slices.Equal(got, want) || g.Count() != len(want) {
		t.Errorf("Members() = %v, Count() = %d, want %v", got, g.Count(), want)
	}
}

func TestGroupMembers(t *testing.T) {
	g := nano.NewGroup("lobby")
	if g.Name() != "lobby" {
		t.Errorf("Name() = %q, want lobby", g.Name())
	}
	expectMembers(t, g)
	if g.Contains(1) {
		t.Error("Contains(1) of an empty group = true, want false")
	}
	s, _ := mocks(t, 1, 2, 3, 2)
	for _, u := range s {
		if err := g.Add(u); err != nil {
			t.Errorf("Add = %v, want nil", err)
		}
	}
	expectMembers(t, g, 1, 2, 2, 3) // a uid may occur twice, because sessions are the members
	if err := g.Add(s[1]); !errors.Is(err, nano.ErrSessionDuplication) {
		t.Errorf("Add of a member = %v, want ErrSessionDuplication", err)
	}
	for _, uid := range []int64{1, 2, 3} {
		if u, err := g.Member(uid); err != nil || u.UID() != uid || !g.Contains(uid) {
			t.Errorf("Member(%d) = %v, %v, Contains = %v", uid, u, err, g.Contains(uid))
		}
	}
	if u, err := g.Member(4); u != nil || !errors.Is(err, nano.ErrMemberNotFound) || g.Contains(4) {
		t.Errorf("Member(4) = %v, %v, Contains = %v, want nil, ErrMemberNotFound and false", u, err, g.Contains(4))
	}
	if u, err := g.FindMember(func(u *session.Session) bool { return u == s[3] }); u != s[3] || err != nil {
		t.Errorf("FindMember = %v, %v, want the session that the filter picks", u, err)
	}
	if u, err := g.FindMember(func(*session.Session) bool { return false }); u != nil || !errors.Is(err, nano.ErrMemberNotFound) {
		t.Errorf("FindMember = %v, %v, want nil and ErrMemberNotFound", u, err)
	}

	// Members returns the current uids.
	if err := s[0].Bind(9); err != nil || g.Contains(1) || !g.Contains(9) {
		t.Errorf("after Bind(9) = %v: Contains(1) = %v, Contains(9) = %v, want false and true", err, g.Contains(1), g.Contains(9))
	}

	for _, step := range []struct {
		leaves int
		want   []int64
	}{{1, []int64{2, 3, 9}}, {1, []int64{2, 3, 9}}, {3, []int64{3, 9}}, {0, []int64{3}}, {2, nil}, {2, nil}} {
		if err := g.Leave(s[step.leaves]); err != nil {
			t.Errorf("Leave = %v, want nil, also of one that is not a member", err)
		}
		expectMembers(t, g, step.want...)
	}
	for _, u := range s {
		if err := g.Add(u); err != nil {
			t.Errorf("Add after Leave = %v, want nil", err)
		}
	}
	if err := g.LeaveAll(); err != nil {
		t.Errorf("LeaveAll = %v, want nil", err)
	}
	expectMembers(t, g)
	if err := g.Add(s[0]); err != nil {
		t.Errorf("Add after LeaveAll = %v, want nil", err)
	}
	expectMembers(t, g, 9)
}

func TestGroupClosed(t *testing.T) {
	g := nano.NewGroup("lobby")
	s, e := mocks(t, 1, 2)
	if err := g.Add(s[0]); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
	for name, err := range map[string]error{
		"Add": g.Add(s[1]), "Leave": g.Leave(s[0]), "LeaveAll": g.LeaveAll(),
		"Broadcast": g.Broadcast("onNews", 1), "Multicast": g.Multicast("onNews", 1, func(*session.Session) bool { return true }),
	} {
		if !errors.Is(err, nano.ErrClosedGroup) {
			t.Errorf("%s of a closed group = %v, want ErrClosedGroup", name, err)
		}
	}
	if err := g.Close(); !errors.Is(err, nano.ErrCloseClosedGroup) {
		t.Errorf("a second Close = %v, want ErrCloseClosedGroup", err)
	}
	expectMembers(t, g)
	if g.Contains(1) || e[0].FindResponseByRoute("onNews") != nil {
		t.Error("a closed group has a member, or sent to it")
	}
	if _, err := g.Member(1); !errors.Is(err, nano.ErrMemberNotFound) {
		t.Errorf("Member of a closed group = %v, want ErrMemberNotFound", err)
	}
}

func TestGroupOfMocks(t *testing.T) {
	g := nano.NewGroup("lobby")
	s, e := mocks(t, 1, 2, 3)
	for _, u := range s {
		if err := g.Add(u); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Broadcast("onNews", "all"); err != nil {
		t.Errorf("Broadcast = %v, want nil", err)
	}
	if err := g.Multicast("onHint", "odd", func(u *session.Session) bool { return u.UID()%2 == 1 }); err != nil {
		t.Errorf("Multicast = %v, want nil", err)
	}
	for i, e := range e {
		var hint any = "odd"
		if i == 1 {
			hint = nil
		}
		if e.FindResponseByRoute("onNews") != "all" || e.FindResponseByRoute("onHint") != hint {
			t.Errorf("member %d got %v and %v, want all and %v", i+1,
				e.FindResponseByRoute("onNews"), e.FindResponseByRoute("onHint"), hint)
		}
	}
}

// TestGroupFilters checks that filters run outside the lock of the group. A filter may
// use the group, and the group survives its panic.
func TestGroupFilters(t *testing.T) {
	g := nano.NewGroup("lobby")
	s, _ := mocks(t, 1, 2, 3)
	for _, u := range s {
		if err := g.Add(u); err != nil {
			t.Fatal(err)
		}
	}
	err := g.Multicast("onNews", 1, func(u *session.Session) bool {
		if err := g.Leave(u); err != nil {
			t.Errorf("Leave in a filter = %v, want nil", err)
		}
		return true
	})
	if err != nil {
		t.Errorf("Multicast = %v, want nil", err)
	}
	expectMembers(t, g)
	for _, u := range s {
		if err := g.Add(u); err != nil {
			t.Fatal(err)
		}
	}
	for name, call := range map[string]func(func(*session.Session) bool){
		"FindMember": func(f func(*session.Session) bool) { _, _ = g.FindMember(f) },
		"Multicast":  func(f func(*session.Session) bool) { _ = g.Multicast("onNews", 1, f) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("the panic of a filter of %s was swallowed", name)
				}
			}()
			call(func(*session.Session) bool { panic("boom") })
		}()
		if err := g.Leave(s[0]); err != nil {
			t.Errorf("Leave after a filter that panicked = %v, want nil", err)
		}
		if err := g.Add(s[0]); err != nil {
			t.Errorf("Add after a filter that panicked = %v, want nil", err)
		}
	}
	expectMembers(t, g, 1, 2, 3)
}

func TestGroupBroadcast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClub(t)
		defer c.shutdown()
		g := nano.NewGroup("hall")
		guests := []*guest{c.join(), c.join(), c.join()}
		outside := c.join()
		for i, u := range guests {
			if err := u.session.Bind(int64(i + 1)); err != nil {
				t.Fatal(err)
			}
			if err := g.Add(u.session); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(what string, want ...[]string) {
			t.Helper()
			synctest.Wait()
			time.Sleep(time.Second) // until the held output is written
			synctest.Wait()
			for i, u := range guests {
				if got := u.pushes(); !slices.Equal(got, want[i]) {
					t.Errorf("%s: member %d got %q, want %q", what, i+1, got, want[i])
				}
			}
			if got := outside.pushes(); got != nil {
				t.Errorf("%s: one who is not a member got %q", what, got)
			}
		}
		send := func(err error) {
			t.Helper()
			if err != nil {
				t.Errorf("sending = %v, want nil", err)
			}
		}

		send(g.Broadcast("onNews", map[string]int{"n": 1}))
		send(g.Broadcast("onRaw", []byte{0xFF, '"'})) // bytes are sent unchanged
		want := []string{`onNews {"n":1}`, "onRaw \xff\""}
		expect("Broadcast", want, want, want)

		send(g.Multicast("onOdd", 1, func(u *session.Session) bool { return u.UID()%2 == 1 }))
		send(g.Multicast("onNone", make(chan int), func(*session.Session) bool { return false }))
		expect("Multicast", []string{"onOdd 1"}, nil, []string{"onOdd 1"})

		for name, err := range map[string]error{
			"what does not marshal": g.Broadcast("onNews", make(chan int)),
			"a route of 256 bytes":  g.Broadcast(strings.Repeat("x", 256), 1),
			"a packet over 16 MiB":  g.Broadcast("onNews", make([]byte, 1<<24)),
		} {
			if err == nil {
				t.Errorf("Broadcast of %s = nil, want an error", name)
			}
		}
		expect("faults", nil, nil, nil)

		send(g.Leave(guests[1].session))
		var order []string
		for i := range 100 {
			order = append(order, "onCount "+strconv.Itoa(i))
			send(g.Broadcast("onCount", i))
		}
		expect("a hundred", order, nil, order)

		// The logic goroutine broadcasts too, and its output is written at the end of the
		// batch.
		c.srv.Invoke(func() {
			send(g.Broadcast("onTick", 1))
			send(g.Broadcast("onTick", 2))
		})
		want = []string{"onTick 1", "onTick 2"}
		expect("Invoke", want, nil, want)

		send(g.LeaveAll())
		send(g.Broadcast("onNews", make(chan int))) // nothing is encoded for an empty group
		expect("LeaveAll", nil, nil, nil)
	})
}

// counting is a serializer that counts calls of Marshal.
type counting struct {
	*json.Serializer
	n *atomic.Int64
}

func (c counting) Marshal(v any) ([]byte, error) {
	c.n.Add(1)
	return c.Serializer.Marshal(v)
}

func (c counting) MarshalAppend(dst []byte, v any) ([]byte, error) {
	c.n.Add(1)
	return c.Serializer.MarshalAppend(dst, v)
}

// TestGroupEncodesOnce checks that a broadcast is encoded once for each server of the
// members, whatever their order.
func TestGroupEncodesOnce(t *testing.T) {
	for _, hooked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var marshalled, hooks atomic.Int64
			opts := []nano.Option{nano.WithSerializer(counting{json.NewSerializer(), &marshalled})}
			if hooked {
				p := pipeline.New()
				p.Outbound().PushBack(func(s *session.Session, m *pipeline.Message) error {
					hooks.Add(1)
					if s.UID() == 3 {
						return errors.New("not to this one")
					}
					m.Data = fmt.Append(m.Data, s.UID())
					return nil
				})
				opts = append(opts, nano.WithPipeline(p))
			}
			one, two := newClub(t, opts...), newClub(t, opts...)
			defer one.shutdown()
			defer two.shutdown()
			g := nano.NewGroup("hall")
			var guests []*guest
			for i := range int64(10) {
				c := one
				if i >= 4 && i%2 == 1 {
					c = two
				}
				u := c.join()
				guests = append(guests, u)
				if err := u.session.Bind(i); i > 0 && err != nil {
					t.Fatal(err)
				}
			}
			for i, u := range guests {
				if err := g.Add(u.session); err != nil {
					t.Fatal(err)
				}
				marshalled.Store(0)
				if err := g.Broadcast("onNews", "v"); err != nil {
					t.Errorf("Broadcast = %v, want nil", err)
				}
				want := int64(1)
				if i >= 5 {
					want = 2
				}
				if n := marshalled.Load(); n != want {
					t.Errorf("hooks %v, %d members: %d times encoded, want %d", hooked, i+1, n, want)
				}
			}
			synctest.Wait()
			time.Sleep(time.Second)
			synctest.Wait()
			for i, u := range guests {
				want := slices.Repeat([]string{`onNews "v"`}, 10-i)
				switch {
				case hooked && i == 3:
					want = nil
				case hooked:
					want = slices.Repeat([]string{fmt.Sprint(`onNews "v"`, i)}, 10-i)
				}
				if got := u.pushes(); !slices.Equal(got, want) {
					t.Errorf("hooks %v: member %d got %q, want %q", hooked, i, got, want)
				}
			}
			if hooked && hooks.Load() != 55 {
				t.Errorf("hooks saw %d messages, want 55: one for each member", hooks.Load())
			}
		})
	}
}

// TestGroupWithASlowMember checks that a member that reads too slowly does not affect
// other members.
func TestGroupWithASlowMember(t *testing.T) {
	for name, policy := range map[string]nano.SlowClientPolicy{"close": nano.CloseSlowClient, "refuse": nano.RefusePush} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClub(t, nano.WithWriteBuffer(4096, policy))
				defer c.shutdown()
				g := nano.NewGroup("hall")
				quick, slow := c.join(), c.join()
				if err := errors.Join(g.Add(slow.session), g.Add(quick.session)); err != nil {
					t.Fatal(err)
				}
				slow.pause.Store(true)
				for i := range 100 {
					if err := g.Broadcast("onNews", strings.Repeat("x", 100)); err != nil {
						t.Errorf("Broadcast %d = %v, want nil", i, err)
					}
					synctest.Wait()
					time.Sleep(10 * time.Millisecond)
				}
				if n := len(quick.pushes()); n != 100 {
					t.Errorf("the member that reads got %d messages, want 100", n)
				}
				if closed := slow.session.Closed(); closed != (policy == nano.CloseSlowClient) {
					t.Errorf("the slow member was closed: %v, policy %s", closed, name)
				}
				close(slow.resume)
			})
		})
	}
}

// peek returns a copy of the recorded pushes.
func (g *guest) peek() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.got)
}
