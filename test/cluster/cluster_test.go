package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/internal/codec"
	"github.com/lonng/nano/internal/snowflake"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// TestClusterStats checks that the statistics of a node count the traffic between it and
// other nodes.
func TestClusterStats(t *testing.T) {
	t.Parallel()
	gate, backend := testkit.StartPair(t, testkit.Services{"Room": testkit.NewNamedGame("room")})
	before := [2]nano.Stats{gate.Stats(), backend.Stats()}
	const requests = 100
	p := gate.Connect()
	for range requests {
		p.Expect("Room.Do", "payload", "room")
	}
	g, b := gate.Stats().Cluster, backend.Stats().Cluster
	for name, c := range map[string]*cluster.Stats{"gate": g, "backend": b} {
		if c.Members != 1 || c.Late+c.Lost+c.Refused != 0 {
			t.Errorf("%s: %+v, want one member and nothing late, lost or refused", name, *c)
		}
	}
	if g.Sessions != 0 || b.Sessions != 1 {
		t.Errorf("%d and %d sessions of the other's clients, want none and one", g.Sessions, b.Sessions)
	}
	if out := g.MessagesOut - before[0].Cluster.MessagesOut; out < requests {
		t.Errorf("the gate counts %d messages out, want %d and a few", out, requests)
	}
	if in := b.MessagesIn - before[1].Cluster.MessagesIn; in < requests || in > 2*requests {
		t.Errorf("the backend counts %d messages in, want %d and a few", in, requests)
	}
	if in := b.BytesIn - before[1].Cluster.BytesIn; in < requests*int64(len("Room.Do")+len("payload")) {
		t.Errorf("the backend counts %d bytes in, want more than those of routes and payloads", in)
	}
	_ = p.Close()
	testkit.Eventually(t, "the session has closed", func() bool { return backend.Stats().Cluster.Sessions == 0 })
	if st := nano.New().Stats(); st.Cluster != nil {
		t.Errorf("a server on its own has figures of a cluster: %+v", *st.Cluster)
	}
}

// TestClusterThereAndBack checks that a client can use every feature with handlers of
// another node as with those of its gate.
func TestClusterThereAndBack(t *testing.T) {
	t.Parallel()
	notified := make(chan string, 1)
	game := testkit.NewGame(func(s *session.Session, data []byte) error {
		notified <- string(data)
		return s.Push("onNews", data)
	})
	gate, _ := testkit.StartPair(t, testkit.Services{"Room": game})
	p := gate.Connect()
	p.Expect("Room.Echo", "hello", "hello")
	p.Expect("Room.Echo", "", "")
	const head = len("fil" + "Room.Echo") // the flag, the id, the length and the route
	long := strings.Repeat("x", 64<<10-head)
	p.Expect("Room.Echo", long, long)
	var n testkit.Number
	if err := p.Request(t.Context(), "Room.Double", &testkit.Number{N: 21}, &n); err != nil || n.N != 42 {
		t.Errorf("Room.Double = %v, %v, want 42", n, err)
	}
	p.ExpectError("Room.Fail", "", nano.CodeInternal)
	p.ExpectError("Room.Panic", "", nano.CodeInternal)
	p.ExpectError("Room.Double", "{", nano.CodeBadRequest)
	p.ExpectError("Room.Nothing", "", nano.CodeNotFound)
	p.ExpectError("Nobody.Echo", "", nano.CodeNotFound)
	p.ExpectError("Room.Elsewhere", `{"N":1}`, nano.CodeNotFound) // only other nodes may call it
	_, err := p.Ask("Room.Refuse", "")
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Code != "GAME-1" || refused.Message != "not your turn" || refused.Metadata["turn"] != "7" {
		t.Errorf("Room.Refuse = %v, want the handler's error with its metadata", err)
	}
	p.Send("Room.Do", "goal")
	if got := testkit.Receive(t, notified, "the notify"); got != "goal" {
		t.Errorf("the notify said %q", got)
	}
	p.ExpectPush("onNews", "goal")
	p.Send("Room.Elsewhere", `{"N":1}`)
	p.Expect("Room.Echo", "still there", "still there")
}

// TestClusterLargestPacket checks that the largest packet through a gate is as large as
// on a single server.
func TestClusterLargestPacket(t *testing.T) {
	t.Parallel()
	const largest = 1<<24 - 1
	game := testkit.NewGame(func(s *session.Session, data []byte) error {
		send := func(n int) error { return s.Response(make([]byte, n-2)) } // follows the flag and the id
		if string(data) == "push" {
			send = func(n int) error { return s.Push("onNews", make([]byte, n-3)) } // follows the flag and the code
		}
		if err := send(largest + 1); !errors.Is(err, codec.ErrPacketTooLarge) {
			t.Errorf("a message of one byte too many was sent: %v", err)
		}
		return send(largest)
	})
	opts := []nano.Option{
		nano.WithMaxPacketSize(largest), nano.WithWriteBuffer(64<<20, nano.RefusePush), nano.WithDictionary(map[string]uint16{"onNews": 1}),
	}
	gate, _ := testkit.StartPair(t, testkit.Services{"Room": game}, opts...)
	p := gate.Connect()
	p.Send("Room.Do", "push")
	if m := testkit.Receive(t, p.Pushes, "the push"); len(m.Data) != largest-3 {
		t.Errorf("a push of %d bytes came, want %d", len(m.Data), largest-3)
	}
	if got, err := p.Ask("Room.Do", "answer"); err != nil || len(got) != largest-2 {
		t.Errorf("an answer of %d bytes came, %v, want %d", len(got), err, largest-2)
	}
}

// TestClusterIDsBeforeMeeting checks that gates assign different ids before they have
// linked.
func TestClusterIDsBeforeMeeting(t *testing.T) {
	t.Parallel()
	numbers := map[string]bool{}
	for range 4 {
		gate := testkit.StartNode(t, testkit.Services{"Door": testkit.NewGame(func(s *session.Session, _ []byte) error {
			return s.Response(fmt.Append(nil, s.ID()>>6&snowflake.MaxNode))
		})}, nil)
		number, err := gate.Connect().Ask("Door.Do", "")
		if err != nil {
			t.Fatal(err)
		}
		numbers[number] = true
	}
	if len(numbers) == 1 { // two ids may be equal by chance
		t.Errorf("four gates that have not met number their sessions alike: %v", numbers)
	}
}

func TestClusterIdentity(t *testing.T) {
	t.Parallel()
	sessions := make(chan *session.Session, 1)
	keep := func(s *session.Session, _ []byte) error {
		sessions <- s
		return s.Response([]byte("ok"))
	}
	gate := testkit.StartNode(t, testkit.Services{"Door": testkit.NewGame(keep)}, nil)
	backend := testkit.StartNode(t, testkit.Services{"Room": testkit.NewGame(keep)}, []*testkit.Node{gate})
	p := gate.Connect()
	p.Expect("Door.Do", "", "ok")
	at := testkit.Receive(t, sessions, "the gate's session")
	if err := at.Bind(7); err != nil {
		t.Fatal(err)
	}
	at.Router().Bind("Elsewhere", "10.0.0.1:1")
	p.Expect("Room.Do", "", "ok")
	far := testkit.Receive(t, sessions, "the backend's session")
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
	p.Expect("Room.Do", "", "ok")
	if again := testkit.Receive(t, sessions, "the backend's session"); again != far {
		t.Error("the second request came with another session, want the same")
	}
}

// TestClusterEntity checks that late answers, kicks and closes by a handler of another
// node reach the client.
func TestClusterEntity(t *testing.T) {
	t.Parallel()
	var saved struct {
		s   *session.Session
		mid uint64
	}
	ended := make(chan error, 3)
	game := testkit.NewGame(func(s *session.Session, data []byte) error {
		s.OnClose(func(_ *session.Session, reason error) { ended <- reason })
		switch string(data) {
		case "later":
			saved.s, saved.mid = s, s.LastMid()
		case "now":
			err := saved.s.ResponseMID(saved.mid, []byte("late"))
			return errors.Join(err, s.Response([]byte("done")))
		case "twice":
			first := s.Response([]byte("first"))
			if second := s.Response([]byte("second")); !errors.Is(second, session.ErrSessionOnNotify) {
				t.Errorf("a second answer returned %v, want ErrSessionOnNotify", second)
			}
			return first
		case "kick":
			err := s.Kick("enough")
			if push := s.Push("onNews", data); !errors.Is(push, session.ErrBrokenPipe) {
				t.Errorf("Push after Kick = %v, want ErrBrokenPipe", push)
			}
			if again := s.Kick("again"); !errors.Is(again, session.ErrCloseClosedSession) {
				t.Errorf("a second Kick = %v, want ErrCloseClosedSession", again)
			}
			return err
		case "close":
			s.Close()
		}
		return nil
	})
	gate, backend := testkit.StartPair(t, testkit.Services{"Room": game})
	p := gate.Connect()
	late := make(chan string, 1)
	go func() {
		reply, err := p.Ask("Room.Do", "later")
		late <- fmt.Sprint(reply, " ", err)
	}()
	onLogic(t, backend, func() bool { return saved.mid != 0 })
	p.Expect("Room.Do", "now", "done")
	if got := testkit.Receive(t, late, "the late answer"); got != "late <nil>" {
		t.Errorf("the late answer = %s", got)
	}
	p.Expect("Room.Do", "twice", "first")
	p.Send("Room.Do", "kick")
	testkit.Receive(t, p.Done(), "the end of the kicked client")
	var kick *client.KickError
	if !errors.As(p.Err(), &kick) || kick.Reason != "enough" {
		t.Errorf("the client ended with %v, want a kick", p.Err())
	}
	for range 4 {
		if err := testkit.Receive(t, ended, "OnClose"); !errors.Is(err, session.ErrKicked) {
			t.Errorf("OnClose got %v, want ErrKicked", err)
		}
	}
	p = gate.Connect()
	p.Send("Room.Do", "close")
	testkit.Receive(t, p.Done(), "the end of the closed client")
	if err := testkit.Receive(t, ended, "OnClose"); !errors.Is(err, session.ErrClosed) {
		t.Errorf("OnClose got %v, want ErrClosed", err)
	}
	p = gate.Connect()
	p.Send("Room.Do", "")
	p.Expect("Room.Echo", "", "")
	_ = p.Close()
	if err := testkit.Receive(t, ended, "OnClose"); !errors.Is(err, session.ErrClientClosed) {
		t.Errorf("OnClose got %v, want ErrClientClosed", err)
	}
}

// onLogic waits until so returns true on the logic goroutine of a node.
func onLogic(t testing.TB, n *testkit.Node, so func() bool) {
	t.Helper()
	testkit.Eventually(t, "what the logic goroutine is asked", func() bool {
		answer := make(chan bool, 1)
		n.Invoke(func() { answer <- so() })
		return testkit.Receive(t, answer, "an answer")
	})
}

// TestClusterOrder checks that numbered requests and notifies of many sessions run in
// order, each with its own answer. Pushes keep their place among the answers, and no
// message is refused.
func TestClusterOrder(t *testing.T) {
	t.Parallel()
	const players, messages = 8, 2000
	var mu sync.Mutex
	last := map[int64]int{}
	game := testkit.NewGame(func(s *session.Session, data []byte) error {
		n, _ := strconv.Atoi(string(data)) // text that is not a number counts as out of order
		mu.Lock()
		defer mu.Unlock()
		if n != last[s.ID()]+1 {
			t.Errorf("message %d of session %d came after %d", n, s.ID(), last[s.ID()])
		}
		last[s.ID()] = n
		if err := s.Push("onNumber", data); err != nil {
			return err
		}
		if s.LastMid() != 0 {
			return s.Response(data)
		}
		return nil
	})
	gate, _ := testkit.StartPair(t, testkit.Services{"Room": game}, nano.WithMaxPending(16))
	var wg sync.WaitGroup
	for range players {
		pushed := 0 // used by one goroutine only
		p := gate.Connect(client.WithHandler("onNumber", func(m *client.Message) {
			if pushed++; string(m.Data) != fmt.Sprint(pushed) {
				t.Errorf("push %s came as number %d", m.Data, pushed)
			}
		}))
		wg.Go(func() {
			answered := 0
			done := make(chan struct{})
			for n := 1; n <= messages; n++ {
				data := []byte(fmt.Sprint(n))
				if n%3 != 0 {
					if err := p.Notify("Room.Do", data); err != nil {
						t.Error(err)
					}
					continue
				}
				err := p.RequestFunc(context.Background(), "Room.Do", data, func(m *client.Message, err error) {
					if err != nil || string(m.Data) != string(data) {
						t.Errorf("request %s was answered with %v, %v", data, m, err)
					}
					if fmt.Sprint(pushed) != string(data) {
						t.Errorf("the answer to request %s came behind push %d, want it right behind its own", data, pushed)
					}
					if answered++; answered == messages/3 {
						close(done)
					}
				})
				if err != nil {
					t.Error(err)
				}
			}
			select {
			case <-done:
			case <-time.After(testkit.Patience):
				t.Error("not every request was answered")
			}
		})
	}
	wg.Wait()
}

// TestClusterMixedOrder checks the order of messages of which the gate serves some and
// another node the others: a message is forwarded after the session's earlier messages at
// the gate have run.
func TestClusterMixedOrder(t *testing.T) {
	t.Parallel()
	const players, messages = 6, 3000
	type counts struct{ here, there int }
	var mu sync.Mutex
	ran := map[int64]counts{}
	// The data of a message says how many messages of the session went before it.
	count := func(s *session.Session, data []byte, f func(now *counts, before counts)) error {
		var before counts
		if _, err := fmt.Sscan(string(data), &before.here, &before.there); err != nil {
			t.Errorf("data %q: %v", data, err)
		}
		mu.Lock()
		now := ran[s.ID()]
		f(&now, before)
		ran[s.ID()] = now
		mu.Unlock()
		if s.LastMid() != 0 {
			return s.Response(data)
		}
		return nil
	}
	door := testkit.NewGame(func(s *session.Session, data []byte) error {
		return count(s, data, func(now *counts, before counts) {
			if now.here != before.here {
				t.Errorf("message %v at the gate came behind %v", before, *now)
			}
			now.here++
		})
	})
	room := testkit.NewGame(func(s *session.Session, data []byte) error {
		return count(s, data, func(now *counts, before counts) {
			if now.there != before.there || now.here < before.here {
				t.Errorf("message %v at the other node came behind %v", before, *now)
			}
			now.there++
		})
	})
	gate := testkit.StartNode(t, testkit.Services{"Door": door}, nil)
	testkit.StartNode(t, testkit.Services{"Room": room}, []*testkit.Node{gate})
	var wg sync.WaitGroup
	for i := range players {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		conn, err := net.Dial("tcp", gate.Players)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		p := testkit.NewClient(t, conn)
		p.Join()
		var wires [][]byte
		var asked []string // by the id of the request, from 1 on
		var sent counts
		for range messages {
			data := fmt.Sprint(sent.here, " ", sent.there)
			route := "Room.Do"
			if random.IntN(10) == 0 {
				route = "Door.Do"
				sent.here++
			} else {
				sent.there++
			}
			if random.IntN(3) == 0 {
				asked = append(asked, data)
				wires = append(wires, testkit.Request(uint64(len(asked)), route, data))
			} else {
				wires = append(wires, testkit.Notify(route, data))
			}
		}
		wg.Go(func() {
			for len(wires) > 0 {
				n := min(1+random.IntN(100), len(wires))
				if err := p.Raw(bytes.Join(wires[:n], nil)); err != nil {
					t.Error(err)
					return
				}
				wires = wires[n:]
			}
		})
		wg.Go(func() {
			answered := make(map[uint64]bool)
			for range asked {
				m, err := p.Message()
				if err != nil {
					t.Errorf("after %d answers: %v", len(answered), err)
					return
				}
				if m.Err || m.ID == 0 || m.ID > uint64(len(asked)) || answered[m.ID] || string(m.Data) != asked[m.ID-1] {
					t.Errorf("%v %q came, answered before: %v", m, m.Data, answered[m.ID])
					return
				}
				answered[m.ID] = true
			}
		})
	}
	wg.Wait()
	testkit.Eventually(t, "all messages have run", func() bool {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, c := range ran {
			n += c.here + c.there
		}
		return n == players*messages
	})
}

// TestClusterBind checks that a uid is known on every node that has the session, wherever
// it was bound.
func TestClusterBind(t *testing.T) {
	t.Parallel()
	bind := func(s *session.Session, data []byte) error {
		uid, err := strconv.ParseInt(string(data), 10, 64)
		if err != nil {
			return err
		}
		if uid == 0 {
			s.Clear()
		} else if err := s.Bind(uid); err != nil {
			return err
		}
		return s.Response(fmt.Append(nil, s.UID()))
	}
	gate := testkit.StartNode(t, testkit.Services{"Door": testkit.NewGame(bind)}, nil)
	a := testkit.StartNode(t, testkit.Services{"A": testkit.NewGame(bind)}, []*testkit.Node{gate})
	b := testkit.StartNode(t, testkit.Services{"B": testkit.NewGame(bind)}, []*testkit.Node{gate, a})
	p := gate.Connect()
	known := func(uid int64, nodes ...*testkit.Node) {
		t.Helper()
		for _, n := range nodes {
			testkit.Eventually(t, "the uid is known", func() bool { return len(n.SessionsByUID(uid)) == 1 })
		}
	}
	p.Expect("A.Echo", "", "")
	p.Expect("A.Do", "7", "7")
	known(7, gate, a)
	p.Expect("B.Do", "8", "8") // this node did not have the session when 7 was bound
	known(8, gate, a, b)
	p.Expect("Door.Do", "9", "9")
	known(9, gate, a, b)
	// All nodes agree on the last uid after fast changes on several nodes.
	for i := range 50 {
		for _, service := range []string{"A", "B", "Door"} {
			p.Send(service+".Do", fmt.Sprint(10+i))
		}
	}
	p.Expect("A.Echo", "", "")
	p.Expect("B.Do", "100", "100")
	known(100, gate, a, b)
	p.Expect("A.Do", "0", "0")
	for _, n := range []*testkit.Node{gate, a, b} {
		testkit.Eventually(t, "the uid is gone", func() bool { return len(n.SessionsByUID(100)) == 0 })
	}
	p.Expect("B.Do", "101", "101")
	known(101, gate, a, b)
	_ = p.Close()
	for _, n := range []*testkit.Node{gate, a, b} {
		testkit.Eventually(t, "the session is gone", func() bool { return len(n.SessionsByUID(101)) == 0 })
	}
}

// TestClusterClose checks that a close reaches only the nodes that have the session.
func TestClusterClose(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	gate := testkit.StartNode(t, nil, nil)
	type end struct {
		at     string
		reason error
	}
	ended := make(chan end, 10)
	nodes := []*testkit.Node{gate}
	for _, name := range []string{"A", "B", "C"} {
		nodes = append(nodes, testkit.StartNode(t, testkit.Services{name: testkit.NewGame(func(s *session.Session, data []byte) error {
			switch string(data) {
			case "kick":
				return s.Kick("enough")
			case "close":
				s.Close()
				return nil
			}
			s.OnClose(func(_ *session.Session, reason error) {
				if cause := context.Cause(s.Context()); cause != reason {
					t.Errorf("OnClose at %s got %v, the context %v", name, reason, cause)
				}
				ended <- end{name, reason}
			})
			return s.Response([]byte{})
		})}, nodes))
	}
	other := gate.Connect()
	other.Expect("B.Do", "", "")
	for how, want := range map[string]error{"": session.ErrClientClosed, "kick": session.ErrKicked, "close": session.ErrClosed} {
		p := gate.Connect()
		p.Expect("A.Do", "", "")
		p.Expect("C.Do", "", "")
		if how == "" {
			_ = p.Close()
		} else {
			p.Send("A.Do", how)
		}
		var at []string
		for range 2 {
			e := testkit.Receive(t, ended, "OnClose")
			at = append(at, e.at)
			if !errors.Is(e.reason, want) {
				t.Errorf("%q: OnClose at %s got %v, want %v", how, e.at, e.reason, want)
			}
		}
		slices.Sort(at)
		if !slices.Equal(at, []string{"A", "C"}) {
			t.Errorf("%q: OnClose ran at %v, want A and C", how, at)
		}
	}
	other.Expect("B.Echo", "", "")
	select {
	case e := <-ended:
		t.Errorf("OnClose ran at %s too", e.at)
	default:
	}
}

// TestClusterAnswerBeforeTheEnd checks that the answer of a handler precedes the close if
// it closes the session of another node's client.
func TestClusterAnswerBeforeTheEnd(t *testing.T) {
	t.Parallel()
	gate := testkit.StartNode(t, nil, nil)
	testkit.StartNode(t, testkit.Services{"A": testkit.NewGame(func(s *session.Session, data []byte) error {
		if string(data) == "close" {
			s.Close()
		} else {
			_ = s.Kick("enough")
		}
		return nano.Errorf("GAME-1", "no")
	})}, []*testkit.Node{gate})
	for _, how := range []string{"close", "kick"} {
		p := gate.Connect()
		if _, err := p.Ask("A.Do", how); err == nil || !strings.Contains(err.Error(), "GAME-1") {
			t.Errorf("%s: the answer is %v, want GAME-1", how, err)
		}
		select {
		case <-p.Done():
		case <-time.After(testkit.Patience):
			t.Errorf("%s: the connection is open", how)
		}
		if kick, ok := errors.AsType[*client.KickError](p.Err()); ok != (how == "kick") {
			t.Errorf("%s: the client ended with %v, %v", how, kick, p.Err())
		}
	}
}
