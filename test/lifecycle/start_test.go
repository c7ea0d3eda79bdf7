package lifecycle_test

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/pipenet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// TestLifecycle checks that components start in the order of registration before the
// first client connects, and shut down in reverse order.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	var steps []string
	s := nano.New(testkit.Quiet, testkit.WithStepRecorders(&steps, "", "A", "B", "C"))
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Errorf("a second Start = %v", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := "A.Init B.Init C.Init A.AfterInit B.AfterInit C.AfterInit " +
		"C.BeforeShutdown B.BeforeShutdown A.BeforeShutdown C.Shutdown B.Shutdown A.Shutdown"
	if got := strings.Join(steps, " "); got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
}

// Slow is a component whose Init takes long.
type Slow struct {
	testkit.Game
	ready  atomic.Bool
	server func() *nano.Server
	on     atomic.Bool // whether Init ran on the logic goroutine
}

func (s *Slow) Init() {
	time.Sleep(time.Minute)
	s.on.Store(testkit.Running(s.server().Scheduler()))
}

func (s *Slow) AfterInit() {
	time.Sleep(time.Minute)
	s.ready.Store(true)
}

func (s *Slow) Ready(u *session.Session, _ []byte) error {
	return u.Response(fmt.Append(nil, s.ready.Load(), s.on.Load()))
}

func TestInitComesBeforeClients(t *testing.T) {
	for _, kind := range []string{"pipe", "wspipe"} {
		synctest.Test(t, func(t *testing.T) {
			slow := &Slow{}
			s := testkit.NewServer(slow)
			slow.server = func() *nano.Server { return s }
			testkit.ShutdownAtEnd(t, s)
			start := time.Now()
			p := testkit.Serve(t, s, kind).DialPatient() // waits in the listener's queue
			p.Join()
			if got := p.Call(1, "Slow.Ready", ""); got != "true true" {
				t.Errorf("ready, and started on the logic goroutine: %s, want both", got)
			}
			if took := time.Since(start); took < 2*time.Minute {
				t.Errorf("a client was served %v after the start", took)
			}
		})
	}
}

// TestStartFaults checks that Start, Serve and Listen return the faults of a program.
func TestStartFaults(t *testing.T) {
	register := func(comps ...component.Component) nano.Option {
		components := &component.Components{}
		for _, c := range comps {
			components.Register(c)
		}
		return nano.WithComponents(components)
	}
	value := &component.Components{}
	value.Register(valueGame{}, component.WithName("Value"))
	var steps []string
	for _, test := range []struct {
		name string
		opt  nano.Option
		want string
	}{
		{"a panic in Init", testkit.WithStepRecorders(&steps, "Init", "A"), "panic in A.Init: no luck"},
		{"a panic in AfterInit", testkit.WithStepRecorders(&steps, "AfterInit", "A"), "panic in A.AfterInit: no luck"},
		{"a service twice", register(&testkit.Game{}, &testkit.Game{}), `"Game" is registered twice`},
		{"no handlers", register(&component.Base{}), "has no handlers"},
		{"a value whose handlers want a pointer", nano.WithComponents(value), "&valueGame{}"},
		{"not exported", register(&hidden{}), "hidden is not exported"},
		{"a heartbeat of nothing", nano.WithHeartbeatInterval(0), "WithHeartbeatInterval: want a time above 0"},
		{"a handshake in no time", nano.WithHandshakeTimeout(-1), "WithHandshakeTimeout"},
		{"a packet of nothing", nano.WithMaxPacketSize(0), "WithMaxPacketSize: want 1"},
		{"a packet too large", nano.WithMaxPacketSize(1 << 24), "16777215"},
		{"nothing may wait", nano.WithMaxPending(0), "WithMaxPending"},
		{"nothing may be queued", nano.WithWriteBuffer(0, nano.RefusePush), "WithWriteBuffer"},
		{"no serializer", nano.WithSerializer(nil), "WithSerializer"},
		{"two routes with one code", nano.WithDictionary(map[string]uint16{"A.B": 1, "C.D": 1}), "WithDictionary"},
		{"a long route", nano.WithDictionary(map[string]uint16{strings.Repeat("r", 256): 1}), "256 bytes"},
		{"a certificate that is not there", nano.WithTLSFiles("no.crt", "no.key"), "no.crt"},
		{"a node id too high", nano.WithNodeID(1 << 16), "WithNodeID"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := nano.New(testkit.Quiet, test.opt)
			err := s.Start()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Start = %v, want %q in it", err, test.want)
			}
			if again := s.Start(); again == nil || again.Error() != fmt.Sprint(err) {
				t.Errorf("a second Start = %v, want %v", again, err)
			}
			l := pipenet.New()
			if got := s.Serve(l); got == nil || got.Error() != fmt.Sprint(err) {
				t.Errorf("Serve = %v, want %v", got, err)
			}
			if _, err := l.Dial(); err == nil {
				t.Error("the listener was left open")
			}
			if err := s.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown = %v", err)
			}
			if got := nano.Listen("127.0.0.1:0", testkit.Quiet, test.opt); got == nil || !strings.Contains(got.Error(), test.want) {
				t.Errorf("Listen = %v, want %q in it", got, test.want)
			}
		})
	}
}

// valueGame is a component with a value receiver. Its handler has a pointer receiver.
type valueGame struct{}

func (valueGame) Init() {}

func (valueGame) AfterInit() {}

func (valueGame) BeforeShutdown() {}

func (valueGame) Shutdown() {}

func (*valueGame) Play(*session.Session, []byte) error { return nil }

type hidden struct{ component.Base }

func (*hidden) Play(*session.Session, []byte) error { return nil }

// TestServersSideBySide checks that servers in one process are independent. Servers start
// and stop while others serve clients.
func TestServersSideBySide(t *testing.T) {
	t.Parallel()
	type other struct {
		at   *testkit.Server
		runs atomic.Int64
	}
	var all []*other
	for range 8 {
		o := &other{}
		o.at = testkit.Start(t, "tcp", &testkit.Game{OnDo: func(s *session.Session, data []byte) error {
			o.runs.Add(1)
			if !testkit.Running(o.at.Scheduler()) {
				t.Error("a handler runs elsewhere than on its server's logic goroutine")
			}
			return s.Response(data)
		}})
		all = append(all, o)
	}
	ids := map[string]bool{}
	var clients []*testkit.Client
	for _, o := range all {
		p := o.at.Join()
		clients = append(clients, p)
		for i := range uint64(10) {
			p.Call(i+1, "Game.Do", "hello")
		}
		id := p.Call(11, "Game.ID", "")
		if ids[id] {
			t.Errorf("two sessions have the id %s", id)
		}
		ids[id] = true
		ran := make(chan bool, 1)
		o.at.Invoke(func() { ran <- testkit.Running(o.at.Scheduler()) })
		if !testkit.Receive(t, ran, "Invoke") {
			t.Error("Invoke ran elsewhere than on the server's logic goroutine")
		}
	}
	for i, o := range all {
		if n := o.runs.Load(); n != 10 {
			t.Errorf("%d calls, want 10", n)
		}
		go func(w *testkit.Wire) {
			w.ReadUntilEnd()
			_ = w.Conn.Close()
		}(clients[i].Wire)
		if err := o.at.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		for k := i + 1; k < len(all); k++ {
			clients[k].Call(12+uint64(i), "Game.Echo", "still here")
		}
	}
	if len(ids) != len(all) {
		t.Errorf("%d sessions, want %d", len(ids), len(all))
	}
}

func TestStartStopStart(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:0"
	for range 10 { // a new server uses the port of the old one
		s := testkit.NewServer(&testkit.Game{})
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		addr = l.Addr().String()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		p := testkit.NewClient(t, conn)
		p.Join()
		p.Echo(1, "hello")
		p.Abort()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := testkit.Receive(t, served, "the end of Serve"); err != nil {
			t.Errorf("Serve = %v", err)
		}
	}
}
