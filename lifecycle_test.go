package nano_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
)

// owner is a component that records its steps and gets its server.
type owner struct {
	testkit.Game
	name  string
	steps *[]string
	srv   *nano.Server
}

var _ nano.ServerComponent = (*owner)(nil)

func (o *owner) note(step string) { *o.steps = append(*o.steps, o.name+" "+step) }

func (o *owner) InitServer(s *nano.Server) { o.srv = s; o.note("InitServer") }
func (o *owner) Init()                     { o.note("Init") }
func (o *owner) AfterInit()                { o.note("AfterInit") }
func (o *owner) BeforeShutdown()           { o.note("BeforeShutdown") }
func (o *owner) Shutdown()                 { o.note("Shutdown") }

// plain is a component without InitServer.
type plain struct {
	testkit.Game
	init func()
}

func (p *plain) Init() { p.init() }

func TestInitServer(t *testing.T) {
	var steps []string
	a, c := &owner{name: "a", steps: &steps}, &owner{name: "c", steps: &steps}
	components := &component.Components{}
	components.Register(a, component.WithName("A"))
	components.Register(&plain{init: func() { steps = append(steps, "b Init") }}, component.WithName("B"))
	components.Register(c, component.WithName("C"))
	srv := nano.New(testkit.Quiet, nano.WithComponents(components))
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	if a.srv != srv || c.srv != srv {
		t.Errorf("InitServer got %p and %p, want the server %p", a.srv, c.srv, srv)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"a InitServer", "c InitServer", "a Init", "b Init", "c Init", "a AfterInit", "c AfterInit",
		"c BeforeShutdown", "a BeforeShutdown", "c Shutdown", "a Shutdown"}
	if !slices.Equal(steps, want) {
		t.Errorf("steps = %q, want %q", steps, want)
	}
}

// TestPanicInInitIsLogged checks that the log record of a panic in a step names the place
// of the panic.
func TestPanicInInitIsLogged(t *testing.T) {
	log := testkit.NewLogCapture()
	components := &component.Components{}
	components.Register(&plain{init: func() { panic("no map") }}, component.WithName("B"))
	err := nano.New(log.Option(), nano.WithComponents(components)).Start()
	if err == nil || err.Error() != "nano: panic in B.Init: no map" {
		t.Errorf("Start = %v, want the panic", err)
	}
	if all := log.All(); !strings.Contains(all, `msg="nano: panic in B.Init" panic="no map" stack.1=`) || !strings.Contains(all, "lifecycle_test.go") {
		t.Errorf("the log is %s, want the place of the panic", all)
	}
}
