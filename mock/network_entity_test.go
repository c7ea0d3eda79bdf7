package mock_test

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/session"
)

var (
	_ session.NetworkEntity = (*mock.NetworkEntity)(nil)
	_ net.Addr              = mock.NetAddr{}
)

func TestNothingSent(t *testing.T) {
	for name, n := range map[string]*mock.NetworkEntity{"new": mock.NewNetworkEntity(), "zero": {}} {
		got := []any{n.LastResponse(), n.FindResponseByMID(1), n.FindResponseByRoute("a.b"), n.FindRPCByRoute("a.b")}
		for i, v := range got {
			if v != nil {
				t.Errorf("%s: answer %d = %v before anything was sent, want nil", name, i, v)
			}
		}
		if n.LastMid() != 1 {
			t.Errorf("%s: LastMid() = %d, want 1", name, n.LastMid())
		}
		if err := n.ResponseMid(1, "first"); err != nil {
			t.Errorf("%s: ResponseMid(1) = %v, want nil", name, err)
		}
	}
}

func TestResponse(t *testing.T) {
	n := mock.NewNetworkEntity()
	for _, v := range []any{"first", "second", nil, []byte("raw")} {
		if err := n.Response(v); err != nil {
			t.Fatal(err)
		}
		if got := n.LastResponse(); fmt.Sprint(got) != fmt.Sprint(v) {
			t.Errorf("LastResponse() = %v, want %v", got, v)
		}
	}
	if got := n.FindResponseByMID(n.LastMid()); got != nil {
		t.Errorf("FindResponseByMID(1) = %v after Response, want nil", got)
	}
}

func TestResponseMid(t *testing.T) {
	n := mock.NewNetworkEntity()
	for mid, v := range map[uint64]any{1: "one", 0: "zero", 1 << 63: "large", 7: nil} {
		if err := n.ResponseMid(mid, v); err != nil {
			t.Fatal(err)
		}
		if err := n.ResponseMid(mid, "again"); err == nil {
			t.Errorf("a second ResponseMid(%d) = nil, want an error", mid)
		}
		if got := n.FindResponseByMID(mid); got != v {
			t.Errorf("FindResponseByMID(%d) = %v, want %v", mid, got, v)
		}
	}
	if got := n.LastResponse(); got != nil {
		t.Errorf("LastResponse() = %v after ResponseMid, want nil", got)
	}
}

func TestPushAndRPC(t *testing.T) {
	n := mock.NewNetworkEntity()
	for _, err := range []error{
		n.Push("onMove", 1), n.Push("onChat", 2), n.Push("onMove", 3), n.RPC("Bank.Pay", 4), n.RPC("Bank.Pay", 5),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for route, want := range map[string]any{"onMove": 1, "onChat": 2, "Bank.Pay": nil, "": nil} {
		if got := n.FindResponseByRoute(route); got != want {
			t.Errorf("FindResponseByRoute(%q) = %v, want %v", route, got, want)
		}
	}
	for route, want := range map[string]any{"Bank.Pay": 4, "onMove": nil} {
		if got := n.FindRPCByRoute(route); got != want {
			t.Errorf("FindRPCByRoute(%q) = %v, want %v", route, got, want)
		}
	}
	if err := n.Close(); err != nil {
		t.Errorf("Close() = %v, want nil", err)
	}
	if n.FindResponseByRoute("onChat") != 2 {
		t.Error("Close forgot what was pushed")
	}
}

func TestAddr(t *testing.T) {
	addr := mock.NewNetworkEntity().RemoteAddr()
	if addr != (mock.NetAddr{}) || addr.Network() != "mock" || addr.String() != "mock-addr" {
		t.Errorf("RemoteAddr() = %#v, network %q, string %q, want mock.NetAddr{}, mock, mock-addr", addr, addr.Network(), addr)
	}
}

func TestConcurrentUse(t *testing.T) {
	n := mock.NewNetworkEntity()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				mid, route := uint64(i*100+j), fmt.Sprint("route", i)
				errs := []error{n.Push(route, i), n.RPC(route, i), n.Response(i), n.ResponseMid(mid, j), n.Close()}
				for _, err := range errs {
					if err != nil {
						t.Error(err)
					}
				}
				if got := n.FindResponseByMID(mid); got != j {
					t.Errorf("FindResponseByMID(%d) = %v, want %d", mid, got, j)
				}
				if n.FindResponseByRoute(route) != i || n.FindRPCByRoute(route) != i || n.LastResponse() == nil {
					t.Errorf("what was sent to %s was not found", route)
				}
			}
		})
	}
	wg.Wait()
}

// lobby is a component of the example.
type lobby struct{}

func (lobby) Join(s *session.Session, name []byte) error {
	if err := s.Push("onJoin", string(name)); err != nil {
		return err
	}
	return s.Response("welcome")
}

func Example() {
	entity := mock.NewNetworkEntity()
	if err := (lobby{}).Join(session.New(entity), []byte("ann")); err != nil {
		fmt.Println(err)
	}
	fmt.Println(entity.FindResponseByRoute("onJoin"), entity.LastResponse())
	// Output: ann welcome
}
