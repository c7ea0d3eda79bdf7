package handler_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/mock"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// provider returns its own list of handlers. Its method is not a handler.
type provider struct {
	component.Base
	funcs []handler.Func
	err   error
}

func (p *provider) Provide(handler.Env) ([]handler.Func, error) { return p.funcs, p.err }

func (p *provider) Say(*session.Session, *request) error { return nil }

func describe(_ *session.Session, in any) (any, error) {
	switch in := in.(type) {
	case []byte:
		return "bytes " + string(in), nil
	case *request:
		return "request " + in.Name, errRefused
	}
	return nil, fmt.Errorf("a %T", in)
}

func TestFuncs(t *testing.T) {
	s := session.New(mock.NewNetworkEntity())
	svc := service(t, &provider{funcs: []handler.Func{
		{Name: "Raw", Call: describe},
		{Name: "Typed", Request: reflect.TypeFor[request](), Call: describe},
		{Service: "room", Name: "list", Call: describe},
	}}, component.WithName("pond"))
	if len(svc.Handlers) != 2 || len(svc.Shared) != 1 || svc.Shared[0].Name != "room" {
		t.Fatalf("handlers %v, shared %v, want Raw and Typed, and the service room", svc.Handlers, svc.Shared)
	}
	raw, typed, list := svc.Handlers["Raw"], svc.Handlers["Typed"], svc.Shared[0].Handlers["list"]
	if raw.Route != "pond.Raw" || typed.Route != "pond.Typed" || list.Route != "room.list" {
		t.Errorf("routes %s, %s, %s", raw.Route, typed.Route, list.Route)
	}
	if !raw.IsRawArg || typed.IsRawArg || typed.Type != reflect.TypeFor[*request]() || typed.Sessionless() || typed.Reply() != nil {
		t.Errorf("handlers = %+v and %+v, want bytes and a request, without a promised reply", raw, typed)
	}
	if got, err := raw.Call(t.Context(), s, handler.Raw([]byte("x"))); got != "bytes x" || err != nil {
		t.Errorf("Call of bytes = %v, %v", got, err)
	}
	arg, err := typed.Decode(json.NewSerializer(), []byte(`{"name":"ann"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := typed.Call(t.Context(), s, arg); got != "request ann" || !errors.Is(err, errRefused) {
		t.Errorf("Call of a request = %v, %v, want request ann and the error", got, err)
	}
}

func TestFaultsOfFuncs(t *testing.T) {
	for want, p := range map[string]*provider{
		"no water":      {err: errors.New("no water")},
		`are named "a"`: {funcs: []handler.Func{{Name: "a", Call: describe}, {Name: "a", Call: describe}}},
		`the name "a.b" of a handler of pond contains a dot`: {funcs: []handler.Func{{Name: "a.b", Call: describe}}},
		`the name "" of a handler`:                           {funcs: []handler.Func{{Service: "room", Call: describe}}},
	} {
		if _, err := newService(p, []component.Option{component.WithName("pond")}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want %q in it", err, want)
		}
	}
}

// named is a provider with a default name.
type named struct{ provider }

func (*named) DefaultName() string { return "pond" }

func TestDefaultName(t *testing.T) {
	p := &named{provider{funcs: []handler.Func{{Name: "swim", Call: describe}}}}
	for want, opts := range map[string][]component.Option{"pond": nil, "sea": {component.WithName("sea")}} {
		if svc := service(t, p, opts...); svc.Name != want || svc.Handlers["swim"].Route != want+".swim" {
			t.Errorf("service %s with %v, want %s", svc.Name, svc.Handlers, want)
		}
	}
}
