package nano_test

import (
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/session"
)

type scored struct{ Points int }

var onScored = nano.PushRoute[scored]("onScored")

func TestPushRoute(t *testing.T) {
	if got := onScored.Route(); got != "onScored" {
		t.Errorf("Route() = %q, want onScored", got)
	}
	for _, c := range []struct {
		name string
		send func([]*session.Session, *nano.Group, *scored) error
		want [2]bool // the members that receive it
	}{
		{"Send", func(s []*session.Session, _ *nano.Group, v *scored) error { return onScored.Send(s[1], v) }, [2]bool{false, true}},
		{"Broadcast", func(_ []*session.Session, g *nano.Group, v *scored) error { return onScored.Broadcast(g, v) }, [2]bool{true, true}},
		{"Multicast", func(members []*session.Session, g *nano.Group, v *scored) error {
			return onScored.Multicast(g, v, func(s *session.Session) bool { return s == members[0] })
		}, [2]bool{true, false}},
	} {
		entities := []*mock.NetworkEntity{mock.NewNetworkEntity(), mock.NewNetworkEntity()}
		g := nano.NewGroup("game")
		var members []*session.Session
		for _, e := range entities {
			s := session.New(e)
			members = append(members, s)
			if err := g.Add(s); err != nil {
				t.Fatal(err)
			}
		}
		v := &scored{1}
		if err := c.send(members, g, v); err != nil {
			t.Errorf("%s = %v", c.name, err)
		}
		for i, e := range entities {
			got, _ := e.FindResponseByRoute("onScored").(*scored)
			if (got == v) != c.want[i] {
				t.Errorf("%s: member %d got %v, want the push: %v", c.name, i, got, c.want[i])
			}
		}
	}
}

func TestPushRouteToAClosedGroup(t *testing.T) {
	g := nano.NewGroup("game")
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := onScored.Broadcast(g, &scored{}); err == nil {
		t.Error("Broadcast to a closed group = nil, want an error")
	}
	if err := onScored.Multicast(g, &scored{}, func(*session.Session) bool { return true }); err == nil {
		t.Error("Multicast to a closed group = nil, want an error")
	}
}
