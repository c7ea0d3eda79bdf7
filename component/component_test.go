package component_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

func TestComponents(t *testing.T) {
	var cs component.Components
	if len(cs.List()) != 0 {
		t.Errorf("List() = %v of none, want none", cs.List())
	}
	a, b := &Room{}, &Room{}
	cs.Register(a)
	cs.Register(b, component.WithName("k"), component.WithSchedulerName("s"))
	list := cs.List()
	if len(list) != 2 || list[0].Comp != component.Component(a) || list[1].Comp != component.Component(b) {
		t.Fatalf("List() = %v, want what was registered, in order", list)
	}
	if len(list[0].Opts) != 0 || len(list[1].Opts) != 2 {
		t.Errorf("options = %d and %d, want 0 and 2", len(list[0].Opts), len(list[1].Opts))
	}
	var c component.Component = &component.Base{}
	c.Init()
	c.AfterInit()
	c.BeforeShutdown()
	c.Shutdown()
}

// Room is an example of a component.
type Room struct {
	component.Base
	members int
}

// JoinRequest is the request of Room.Join.
type JoinRequest struct{ Name string }

// JoinReply is the reply of Room.Join.
type JoinReply struct{ Members int }

// Join serves requests of the route "room.join".
func (r *Room) Join(s *session.Session, req *JoinRequest) (*JoinReply, error) {
	s.Set("name", req.Name)
	r.members++
	return &JoinReply{r.members}, nil
}

// Say serves notifies of the route "room.say".
func (r *Room) Say(s *session.Session, text []byte) error {
	return s.Push("onSay", s.String("name")+": "+string(text))
}

func Example() {
	rooms := &component.Components{}
	rooms.Register(&Room{}, component.WithName("room"), component.WithNameFunc(strings.ToLower))

	server := nano.New(nano.WithComponents(rooms), nano.WithSerializer(json.NewSerializer()))
	if err := server.Start(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("serves room.join and room.say")
	if err := server.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// serves room.join and room.say
}

// A unit test may call a handler as a method, with a session over a mock entity.
func ExampleComponent() {
	entity := mock.NewNetworkEntity()
	s := session.New(entity)
	room := &Room{}
	reply, err := room.Join(s, &JoinRequest{Name: "ann"})
	fmt.Println(reply.Members, err)
	err = room.Say(s, []byte("hi"))
	fmt.Println(entity.FindResponseByRoute("onSay"), err)
	// Output:
	// 1 <nil>
	// ann: hi <nil>
}

// TestService checks that the description of a component for older programs is complete.
func TestService(t *testing.T) {
	s := component.NewService(&Room{}, []component.Option{component.WithName("room"), component.WithSchedulerName("table")})
	if s.Name != "room" || s.SchedName != "table" || s.Type.String() != "*component_test.Room" || len(s.Handlers) != 0 {
		t.Errorf("NewService = %+v, want room on table without handlers", s)
	}
	if err := s.ExtractHandler(); err != nil {
		t.Fatal(err)
	}
	join, say := s.Handlers["Join"], s.Handlers["Say"]
	if len(s.Handlers) != 2 || join == nil || say == nil {
		t.Fatalf("handlers = %v, want Join and Say", s.Handlers)
	}
	if join.IsRawArg || !say.IsRawArg || join.Method.Name != "Join" || join.Type.String() != "*component_test.JoinRequest" {
		t.Errorf("handlers = %+v and %+v, want a request and bytes", join, say)
	}
	if err := component.NewService(&component.Base{}, nil).ExtractHandler(); err == nil {
		t.Error("ExtractHandler of a component without handlers = nil, want an error")
	}
}

// plain is a request that the protobuf serializer cannot decode.
type plain struct{ component.Base }

// Move has a plain struct as its request.
func (*plain) Move(*session.Session, *JoinRequest) error { return nil }

// TestStartWithoutACallableHandler checks that Start fails if the serializer supports no
// request type of the handlers.
func TestStartWithoutACallableHandler(t *testing.T) {
	comps := &component.Components{}
	comps.Register(&plain{}, component.WithName("plain"))
	server := nano.New(nano.WithComponents(comps), nano.WithLogger(discard{})) // the default serializer is protobuf
	err := server.Start()
	for _, text := range []string{"no handler can be called", "plain.Move", "*component_test.JoinRequest"} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("Start() = %v, want %q in it", err, text)
		}
	}
}

// TestStartWithNamesThatNoRouteCanHave checks that Start refuses names that no route can
// contain.
func TestStartWithNamesThatNoRouteCanHave(t *testing.T) {
	for _, name := range []string{"a.", ".a", "a..b", " ", "my room", "tab\t", "caf\xe9"} {
		comps := &component.Components{}
		comps.Register(&Room{}, component.WithName(name))
		server := nano.New(nano.WithComponents(comps), nano.WithSerializer(json.NewSerializer()), nano.WithLogger(discard{}))
		if err := server.Start(); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("Start() with the name %q = %v, want an error that says what is expected", name, err)
			_ = server.Shutdown(t.Context())
		}
	}
}

// discard is a logger that writes nothing.
type discard struct{}

func (discard) Println(...any)        {}
func (discard) Fatal(...any)          {}
func (discard) Fatalf(string, ...any) {}
