package dispatch_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/handler"
	"github.com/lonng/nano/session"
)

// growing is a component that adds handlers while the server runs.
type growing struct {
	component.Base
	env handler.Env
}

func (g *growing) Provide(env handler.Env) ([]handler.Func, error) {
	g.env = env
	return []handler.Func{g.named("first")}, nil
}

// named returns a handler that answers with its name.
func (g *growing) named(name string) handler.Func {
	return handler.Func{Name: name, Call: func(*session.Session, any) (any, error) { return name, nil }}
}

// TestHandlersThatAreAddedLater checks that a handler is served from the moment when its
// component adds it.
func TestHandlersThatAreAddedLater(t *testing.T) {
	g := &growing{}
	inBed(t, nil, with("grow", g), func(b *bed) {
		if g.env.Service != "grow" || g.env.SchedName != "" {
			t.Errorf("Env = %+v, want the service grow", g.env)
		}
		b.do(request(1, "grow.first", ""), request(2, "grow.second", ""))
		b.responded(1, "first")
		b.failed(2, "NANO-404")

		if err := g.env.Add(g.named("second")); err != nil {
			t.Fatal(err)
		}
		b.do(request(3, "grow.second", ""))
		b.responded(3, "second")
		for fault, name := range map[string]string{
			`are named "first"`: "first", `are named "second"`: "second", "contains blanks": "a b", "255 at most": strings.Repeat("x", 255),
		} {
			if err := g.env.Add(g.named(name)); err == nil || !strings.Contains(err.Error(), fault) {
				t.Errorf("Add of %.10q = %v, want %q", name, err, fault)
			}
		}
		var routes []string
		for h := range b.Services()[0].All() {
			routes = append(routes, h.Route)
		}
		slices.Sort(routes)
		if !slices.Equal(routes, []string{"grow.first", "grow.second"}) {
			t.Errorf("All() has %q, want both", routes)
		}
	})
}
