package cluster_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/cluster/clusterpb"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/session"
)

// Bank serves calls of every kind.
type Bank struct {
	component.Base
	name  string
	began chan struct{}     // receives a value when Wait begins
	block chan struct{}     // Wait returns when it is closed
	ended chan error        // receives the cause of the end of Wait's context
	saved chan func() error // receives the function that answers Later
}

func newBank(name string) *Bank {
	return &Bank{name: name, began: make(chan struct{}, 10), block: make(chan struct{}), ended: make(chan error, 10), saved: make(chan func() error, 10)}
}

func (b *Bank) Name(context.Context, []byte) (*string, error) { return &b.name, nil }

func (b *Bank) Half(_ context.Context, n *testkit.Number) (*testkit.Number, error) {
	if n.N%2 != 0 {
		return nil, nano.Errorf("BANK-1", "%d is odd", n.N)
	}
	return &testkit.Number{N: n.N / 2}, nil
}

// Silent returns neither a reply nor an error.
func (b *Bank) Silent(context.Context, []byte) (*testkit.Number, error) { return nil, nil }

// Quiet is Silent with a session parameter.
func (b *Bank) Quiet(*session.Session, []byte) (*testkit.Number, error) { return nil, nil }

func (b *Bank) Break(context.Context, []byte) (*testkit.Number, error) { return nil, testkit.ErrSecret }

func (b *Bank) Panic(context.Context, []byte) (*testkit.Number, error) { panic(testkit.ErrSecret) }

func (b *Bank) Wait(ctx context.Context, _ []byte) (*testkit.Number, error) {
	if _, ok := ctx.Deadline(); !ok {
		return nil, errors.New("no deadline")
	}
	b.began <- struct{}{}
	go func() {
		<-ctx.Done()
		b.ended <- ctx.Err()
	}()
	<-b.block
	return nil, nil
}

// Mine responds with the node's data on the session.
func (b *Bank) Mine(s *session.Session, n *testkit.Number) (*testkit.Number, error) {
	return &testkit.Number{N: int(s.UID()) + n.N}, nil
}

func (b *Bank) Answer(s *session.Session, data []byte) error {
	return s.Response([]byte(b.name + " " + string(data)))
}

func (b *Bank) Deadline(ctx context.Context, s *session.Session, data []byte) error {
	if _, ok := ctx.Deadline(); !ok {
		return s.Response([]byte("none"))
	}
	return s.Response([]byte("some"))
}

func (b *Bank) Later(s *session.Session, data []byte) error {
	mid := s.LastMid()
	b.saved <- func() error { return s.ResponseMID(mid, []byte("later")) }
	return nil
}

func (b *Bank) Bind(s *session.Session, _ []byte) error {
	return errors.Join(s.Bind(7), s.Response([]byte{}))
}

func (b *Bank) Odd(*session.Session, []byte) error { return nano.Errorf("BANK-2", "no") }

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	t.Cleanup(cancel)
	return ctx
}

// TestClusterCall checks that calls without a session work in both directions, and to the
// node itself.
func TestClusterCall(t *testing.T) {
	t.Parallel()
	gate := testkit.StartNode(t, testkit.Services{"Front": newBank("front")}, nil)
	back := testkit.StartNode(t, testkit.Services{"Back": newBank("back")}, []*testkit.Node{gate})
	for from, n := range map[string]*testkit.Node{"gate": gate, "backend": back} {
		for service, name := range map[string]string{"Front": "front", "Back": "back"} {
			var got string
			if err := n.Call(within(t), service+".Name", nil, &got); err != nil || got != name {
				t.Errorf("%s: %s.Name = %q, %v, want %q", from, service, got, err, name)
			}
			var half testkit.Number
			if err := n.Call(within(t), service+".Half", &testkit.Number{N: 42}, &half); err != nil || half.N != 21 {
				t.Errorf("%s: %s.Half = %v, %v, want 21", from, service, half, err)
			}
			var raw []byte
			if err := n.Call(within(t), service+".Half", []byte(`{"N":8}`), &raw); err != nil || string(raw) != `{"N":4}` {
				t.Errorf("%s: %s.Half = %q, %v, want the reply as it is", from, service, raw, err)
			}
			if err := n.Call(within(t), service+".Half", &testkit.Number{N: 2}, nil); err != nil {
				t.Errorf("%s: %s.Half with no place for the reply = %v", from, service, err)
			}
			var e *nano.Error
			if err := n.Call(within(t), service+".Half", &testkit.Number{N: 1}, &half); !errors.As(err, &e) || e.Code != "BANK-1" || e.Message != "1 is odd" {
				t.Errorf("%s: %s.Half of 1 = %v, want the handler's error", from, service, err)
			}
			kept := map[string]int{"N": 7}
			if err := n.Call(within(t), service+".Silent", nil, &kept); err != nil || kept["N"] != 7 {
				t.Errorf("%s: %s.Silent = %v, %v, want no error and the place for the reply untouched", from, service, kept, err)
			}
			for route, code := range map[string]string{
				".Break": nano.CodeInternal, ".Panic": nano.CodeInternal, ".Nothing": nano.CodeNotFound, ".Answer": nano.CodeNotFound,
			} {
				if err := n.Call(within(t), service+route, nil, nil); !testkit.HasCode(err, code) || strings.Contains(err.Error(), testkit.ErrSecret.Error()) {
					t.Errorf("%s: %s%s = %v, want %s", from, service, route, err, code)
				}
			}
			if err := n.Call(within(t), service+".Half", []byte("{"), nil); !testkit.HasCode(err, nano.CodeBadRequest) {
				t.Errorf("%s: %s.Half of no JSON = %v, want NANO-400", from, service, err)
			}
		}
		if err := n.Call(within(t), "Nobody.Name", nil, nil); !testkit.HasCode(err, nano.CodeNotFound) {
			t.Errorf("%s: Nobody.Name = %v, want NANO-404", from, err)
		}
		if err := n.Call(within(t), "nonsense", nil, nil); !testkit.HasCode(err, nano.CodeNotFound) {
			t.Errorf("%s: nonsense = %v, want NANO-404", from, err)
		}
		if err := n.Call(within(t), "Back.Half", func() {}, nil); err == nil {
			t.Errorf("%s: a payload that does not encode was sent", from)
		}
	}
}

// TestCallWithoutCluster checks that a server without a cluster serves its own calls.
func TestCallWithoutCluster(t *testing.T) {
	t.Parallel()
	called := make(chan error, 1)
	var srv *nano.Server
	bank := newBank("bank")
	at := testkit.Start(t, "tcp", bank)
	srv = at.Server
	var half testkit.Number
	if err := srv.Call(within(t), "Bank.Half", &testkit.Number{N: 6}, &half); err != nil || half.N != 3 {
		t.Errorf("Call = %v, %v, want 3", half, err)
	}
	srv.Invoke(func() { // the logic goroutine would wait for itself
		called <- srv.Call(within(t), "Bank.Half", &testkit.Number{N: 6}, &half)
	})
	if err := testkit.Receive(t, called, "the call of the logic goroutine"); err != nil {
		t.Errorf("Call on the logic goroutine = %v, want nil", err)
	}
	if err := srv.Call(within(t), "Elsewhere.Half", &testkit.Number{N: 6}, nil); !testkit.HasCode(err, nano.CodeNotFound) {
		t.Errorf("Call of a service of nobody = %v, want NANO-404", err)
	}
	if srv.ClusterAddr() != "" || srv.Members() != nil {
		t.Errorf("a server on its own has address %q and members %v", srv.ClusterAddr(), srv.Members())
	}
	if err := session.New(mock.NewNetworkEntity()).Call(within(t), "Bank.Half", nil, nil); !errors.Is(err, session.ErrNotSupported) {
		t.Errorf("Call of a session without a server = %v, want ErrNotSupported", err)
	}
}

// TestLateAnswerOfCall checks that a late answer to a call is dropped. It does not go to
// the client whose request was running.
func TestLateAnswerOfCall(t *testing.T) {
	t.Parallel()
	bank := newBank("bank")
	at := testkit.Start(t, "tcp", bank)
	p := at.Join()
	p.Send(testkit.Request(1, "Bank.Later", ""))
	if err := testkit.Receive(t, bank.saved, "the request")(); err != nil {
		t.Fatal(err)
	}
	if m := p.Next(); m.ID != 1 || string(m.Data) != "later" {
		t.Fatalf("%v came, want the answer to request 1", m)
	}
	p.Send(testkit.Request(2, "Bank.Bind", ""))
	if m := p.Next(); m.ID != 2 {
		t.Fatalf("%v came, want the answer to request 2", m)
	}
	s := at.SessionsByUID(7)[0]
	for _, late := range []any{[]byte("secret"), nano.Errorf("BANK-3", "secret")} {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Call(ctx, "Bank.Later", nil, nil) }()
		testkit.Receive(t, bank.saved, "the request of the call")
		mid := s.LastMid()
		cancel()
		if err := testkit.Receive(t, ended, "the end of the call"); !errors.Is(err, context.Canceled) {
			t.Errorf("Call = %v, want Canceled", err)
		}
		_ = s.ResponseMID(mid, late)
	}
	p.Send(testkit.Request(1<<63|1, "Bank.Answer", "x"))
	if m := p.Next(); m.ID != 1<<63|1 || string(m.Data) != "bank x" {
		t.Errorf("%v came, want the answer to request %d", m, uint64(1<<63|1))
	}
}

// TestClusterCallEnds checks that a call ends at its deadline, when it is canceled and
// when the node shuts down, together with the handler's context.
func TestClusterCallEnds(t *testing.T) {
	t.Parallel()
	bank := newBank("back")
	gate, back := testkit.StartPair(t, testkit.Services{"Back": bank})
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	err := gate.Call(ctx, "Back.Wait", nil, nil)
	if !testkit.HasCode(err, nano.CodeDeadline) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Call past its deadline = %v, want NANO-504 and DeadlineExceeded", err)
	}
	if err := testkit.Receive(t, bank.ended, "the end of the handler's context"); err == nil {
		t.Error("the handler's context has not ended")
	}
	testkit.Receive(t, bank.began, "the handler")
	if err := gate.Call(ctx, "Back.Name", nil, nil); !testkit.HasCode(err, nano.CodeDeadline) {
		t.Errorf("Call with a deadline that has passed = %v, want NANO-504", err)
	}
	bank.block <- struct{}{}

	ctx, cancel = context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- gate.Call(ctx, "Back.Wait", nil, nil) }()
	testkit.Receive(t, bank.began, "the handler")
	cancel()
	if err := testkit.Receive(t, ended, "the end of the call"); !errors.Is(err, context.Canceled) {
		t.Errorf("Call that was cancelled = %v, want Canceled", err)
	}
	if err := testkit.Receive(t, bank.ended, "the end of the handler's context"); !errors.Is(err, context.Canceled) {
		t.Errorf("the handler's context ended with %v, want Canceled", err)
	}
	bank.block <- struct{}{}

	go func() { ended <- gate.Call(within(t), "Back.Wait", nil, nil) }()
	testkit.Receive(t, bank.began, "the handler")
	down := time.Now()
	back.Kill()
	err = testkit.Receive(t, ended, "the end of the call")
	if !testkit.HasCode(err, nano.CodeUnavailable) || !errors.Is(err, cluster.ErrMemberDown) {
		t.Errorf("Call of a node that went down = %v, want NANO-503 and ErrMemberDown", err)
	}
	if took := time.Since(down); took > 2*time.Second {
		t.Errorf("the call failed after %v, want 2 s at most", took)
	}
	if err := testkit.Receive(t, bank.ended, "the end of the handler's context"); !errors.Is(err, context.Canceled) {
		t.Errorf("the handler's context ended with %v when the caller was cut off, want Canceled", err)
	}
	if err := gate.Call(within(t), "Back.Name", nil, nil); !testkit.HasCode(err, nano.CodeUnavailable) {
		t.Errorf("Call of a service whose node is down = %v, want NANO-503", err)
	}
	bank.block <- struct{}{}
}

// TestClusterSessionCall checks that calls of a session on any node reach the node that
// the session is bound to, through the gate.
func TestClusterSessionCall(t *testing.T) {
	t.Parallel()
	sessions := make(chan *session.Session, 1)
	door := testkit.NewGame(func(s *session.Session, _ []byte) error {
		sessions <- s
		return s.Response([]byte("ok"))
	})
	front, one, two := newBank("front"), newBank("one"), newBank("two")
	gate := testkit.StartNode(t, testkit.Services{"Door": door, "Front": front}, nil)
	a := testkit.StartNode(t, testkit.Services{"Room": door, "Bank": one}, []*testkit.Node{gate})
	b := testkit.StartNode(t, testkit.Services{"Bank": two}, []*testkit.Node{gate, a})
	p := gate.Connect()
	p.Expect("Door.Do", "", "ok")
	at := testkit.Receive(t, sessions, "the gate's session")
	if err := at.Bind(7); err != nil {
		t.Fatal(err)
	}
	p.Expect("Room.Do", "", "ok")
	far := testkit.Receive(t, sessions, "the backend's session")
	at.Router().Bind("Bank", b.ClusterAddr())
	testkit.Eventually(t, "the backend knows where Bank is", func() bool {
		address, _ := far.Router().Find("Bank")
		return address == b.ClusterAddr()
	})

	for from, s := range map[string]*session.Session{"gate": at, "backend": far} {
		for service, name := range map[string]string{"Bank": "two", "Front": "front"} {
			var mine testkit.Number
			if err := s.Call(within(t), service+".Mine", &testkit.Number{N: 1}, &mine); err != nil || mine.N != 8 {
				t.Errorf("%s: %s.Mine = %v, %v, want 8", from, service, mine, err)
			}
			var raw []byte
			if err := s.Call(within(t), service+".Answer", []byte("x"), &raw); err != nil || string(raw) != name+" x" {
				t.Errorf("%s: %s.Answer = %q, %v, want %q", from, service, raw, err, name+" x")
			}
			if err := s.Call(within(t), service+".Deadline", nil, &raw); err != nil || string(raw) != "some" {
				t.Errorf("%s: %s.Deadline = %q, %v, want some", from, service, raw, err)
			}
			var half testkit.Number
			if err := s.Call(within(t), service+".Half", &testkit.Number{N: 4}, &half); err != nil || half.N != 2 {
				t.Errorf("%s: %s.Half, which has no session = %v, %v, want 2", from, service, half, err)
			}
			for _, method := range []string{".Quiet", ".Silent"} {
				kept := map[string]int{"N": 7}
				if err := s.Call(within(t), service+method, nil, &kept); err != nil || kept["N"] != 7 {
					t.Errorf("%s: %s%s = %v, %v, want no error and the place for the reply untouched", from, service, method, kept, err)
				}
			}
			if err := s.Call(within(t), service+".Odd", nil, nil); !testkit.HasCode(err, "BANK-2") {
				t.Errorf("%s: %s.Odd = %v, want BANK-2", from, service, err)
			}
			if err := s.Call(within(t), service+".Nothing", nil, nil); !testkit.HasCode(err, nano.CodeNotFound) {
				t.Errorf("%s: %s.Nothing = %v, want NANO-404", from, service, err)
			}
			bank := map[string]*Bank{"two": two, "front": front}[name]
			ended := make(chan error, 1)
			go func() { ended <- s.Call(within(t), service+".Later", nil, &raw) }()
			if err := testkit.Receive(t, bank.saved, "the request of Later")(); err != nil {
				t.Errorf("%s: the late answer of %s: %v", from, service, err)
			}
			if err := testkit.Receive(t, ended, "the late answer"); err != nil || string(raw) != "later" {
				t.Errorf("%s: %s.Later = %q, %v, want later", from, service, raw, err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			go func() { ended <- s.Call(ctx, service+".Later", nil, nil) }()
			answer := testkit.Receive(t, bank.saved, "the request of Later")
			cancel()
			if err := testkit.Receive(t, ended, "the end of the call"); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %s.Later that was cancelled = %v, want Canceled", from, service, err)
			}
			_ = answer() // is dropped
		}
		if err := s.Call(within(t), "Nobody.Mine", nil, nil); !testkit.HasCode(err, nano.CodeNotFound) {
			t.Errorf("%s: Nobody.Mine = %v, want NANO-404", from, err)
		}
	}
	if address, _ := at.Router().Find("Bank"); address != b.ClusterAddr() {
		t.Errorf("Bank is bound to %q, want the node that it was bound to", address)
	}
	// If a session is not bound to a node, the backend with its proxy session serves its calls.
	// It serves later calls too.
	at.Router().Delete("Bank")
	testkit.Eventually(t, "the backend knows that Bank is unbound", func() bool {
		_, ok := far.Router().Find("Bank")
		return !ok
	})
	var raw []byte
	if err := far.Call(within(t), "Bank.Answer", nil, &raw); err != nil || string(raw) != "one " {
		t.Errorf("Bank.Answer at the backend = %q, %v, want its own", raw, err)
	}
	testkit.Eventually(t, "the gate knows that Bank is bound", func() bool {
		address, _ := at.Router().Find("Bank")
		return address == a.ClusterAddr()
	})
	refused := make(chan error, 1)
	a.Invoke(func() { refused <- far.Call(within(t), "Bank.Mine", &testkit.Number{}, nil) })
	if err := testkit.Receive(t, refused, "the call of the logic goroutine"); !errors.Is(err, cluster.ErrLogicGoroutine) {
		t.Errorf("a call that waits for its own goroutine = %v, want ErrLogicGoroutine", err)
	}
	p.Expect("Door.Do", "", "ok") // the client has received nothing else
	select {
	case m := <-p.Pushes:
		t.Errorf("push %s came to the client", m.Route)
	default:
	}
	_ = p.Close()
	testkit.Eventually(t, "the session is closed", func() bool { return far.Closed() })
	for from, s := range map[string]*session.Session{"gate": at, "backend": far} {
		if err := s.Call(within(t), "Front.Mine", &testkit.Number{}, nil); !testkit.HasCode(err, nano.CodeUnavailable) {
			t.Errorf("%s: Call of a closed session = %v, want NANO-503", from, err)
		}
	}
}

// TestClusterSessionCallEnds checks that calls of a session end at their deadline and
// when the serving node shuts down. That holds on the gate, and on a backend whose calls
// the gate relays.
func TestClusterSessionCallEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	sessions := make(chan *session.Session, 1)
	door := testkit.NewGame(func(s *session.Session, _ []byte) error {
		sessions <- s
		return s.Response([]byte("ok"))
	})
	bank := newBank("bank")
	gate := testkit.StartNode(t, testkit.Services{"Door": door}, nil)
	a := testkit.StartNode(t, testkit.Services{"Room": door}, []*testkit.Node{gate})
	b := testkit.StartNode(t, testkit.Services{"Bank": bank}, []*testkit.Node{gate, a})
	p := gate.Connect()
	p.Expect("Door.Do", "", "ok")
	all := map[string]*session.Session{"gate": testkit.Receive(t, sessions, "the gate's session")}
	p.Expect("Room.Do", "", "ok")
	all["backend"] = testkit.Receive(t, sessions, "the backend's session")
	for from, s := range all {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		err := s.Call(ctx, "Bank.Later", nil, nil)
		if !testkit.HasCode(err, nano.CodeDeadline) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: Call past its deadline = %v, want NANO-504 and DeadlineExceeded", from, err)
		}
		testkit.Receive(t, bank.saved, "the request of Later")
	}
	ended := map[string]chan error{}
	for from, s := range all {
		end := make(chan error, 1)
		ended[from] = end
		go func() { end <- s.Call(within(t), "Bank.Later", nil, nil) }()
		testkit.Receive(t, bank.saved, "the request of Later")
	}
	b.Kill()
	for from, end := range ended {
		err := testkit.Receive(t, end, "the end of the call")
		if !testkit.HasCode(err, nano.CodeUnavailable) || !errors.Is(err, cluster.ErrMemberDown) {
			t.Errorf("%s: Call of a node that went down = %v, want NANO-503 and ErrMemberDown", from, err)
		}
	}
}

// TestClusterRoutePanics checks that a call fails at once if the program's node selector
// panics.
func TestClusterRoutePanics(t *testing.T) {
	t.Parallel()
	sessions := make(chan *session.Session, 1)
	room := testkit.NewGame(func(s *session.Session, _ []byte) error {
		sessions <- s
		return s.Response([]byte("ok"))
	})
	gate := testkit.StartNode(t, nil, nil, nano.WithNodeSelector(
		func(service string, _ *session.Session, members []*clusterpb.MemberInfo) *clusterpb.MemberInfo {
			if service == "Bank" {
				panic("no idea")
			}
			return members[0]
		}))
	a := testkit.StartNode(t, testkit.Services{"Room": room}, []*testkit.Node{gate})
	testkit.StartNode(t, testkit.Services{"Bank": newBank("bank")}, []*testkit.Node{gate, a})
	p := gate.Connect()
	p.Expect("Room.Do", "", "ok")
	s := testkit.Receive(t, sessions, "the backend's session")
	if err := s.Call(within(t), "Bank.Answer", nil, nil); !testkit.HasCode(err, nano.CodeInternal) {
		t.Errorf("Call = %v, want NANO-500", err)
	}
	p.ExpectError("Bank.Answer", "", nano.CodeInternal)
}

// TestClusterRPC checks that RPC reaches a node that serves the route. That may be the
// own node, and the handler may have no session.
func TestClusterRPC(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 10)
	hear := func(name string) *testkit.Game {
		return testkit.NewGame(func(s *session.Session, data []byte) error {
			if s.LastMid() != 0 {
				return errors.New("an RPC came as a request")
			}
			heard <- name + " " + string(data)
			return nil
		})
	}
	var counted atomic.Int64
	tally := &Tally{add: func(n int) { counted.Add(int64(n)) }}
	door := testkit.NewGame(func(s *session.Session, data []byte) error {
		err := s.RPC(string(data), &testkit.Number{N: 1})
		if err != nil {
			return err
		}
		return s.Response([]byte("sent"))
	})
	gate := testkit.StartNode(t, testkit.Services{"Door": door, "Gate": hear("gate")}, nil)
	a := testkit.StartNode(t, testkit.Services{"Room": door, "A": hear("a")}, []*testkit.Node{gate})
	testkit.StartNode(t, testkit.Services{"B": hear("b"), "Tally": tally}, []*testkit.Node{gate, a})
	p := gate.Connect()
	for _, from := range []string{"Door", "Room"} {
		for service, name := range map[string]string{"Gate": "gate", "A": "a", "B": "b"} {
			p.Expect(from+".Do", service+".Do", "sent")
			if got := testkit.Receive(t, heard, "the RPC"); got != name+` {"N":1}` {
				t.Errorf("%s: the RPC to %s arrived as %q", from, service, got)
			}
		}
		p.Expect(from+".Do", "Tally.Add", "sent")
		p.ExpectError(from+".Do", "Nobody.Do", nano.CodeNotFound)
	}
	testkit.Eventually(t, "the tally got both", func() bool { return counted.Load() == 2 })
}

// TestClusterRPCToNobody checks that an RPC to a service that no node serves any more
// returns an error, on gates and backends.
func TestClusterRPCToNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: takes seconds")
	}
	t.Parallel()
	door := testkit.NewGame(func(s *session.Session, data []byte) error {
		if err := s.RPC("Gone.Do", data); err != nil {
			return err
		}
		return s.Response([]byte("sent"))
	})
	gate := testkit.StartNode(t, testkit.Services{"Door": door}, nil)
	a := testkit.StartNode(t, testkit.Services{"Room": door}, []*testkit.Node{gate})
	gone := testkit.StartNode(t, testkit.Services{"Gone": testkit.NewGame(func(*session.Session, []byte) error { return nil })}, []*testkit.Node{gate, a})
	p := gate.Connect()
	p.Expect("Door.Do", "", "sent")
	p.Expect("Room.Do", "", "sent")
	gone.Kill()
	for _, n := range []*testkit.Node{gate, a} {
		testkit.Eventually(t, "the node is down", func() bool { return n.Stats().Cluster.Members == 1 })
	}
	p.ExpectError("Door.Do", "", nano.CodeUnavailable)
	p.ExpectError("Room.Do", "", nano.CodeUnavailable)
}

// Tally has a handler without a session.
type Tally struct {
	component.Base
	add func(n int)
}

func (c *Tally) Add(_ context.Context, n *testkit.Number) (*testkit.Number, error) {
	c.add(n.N)
	return nil, nil
}
