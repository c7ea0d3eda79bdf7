package chaos_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
	nanojson "github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// nodeEnv is the environment variable that makes the test binary a node of a cluster. Its
// value is a nodeSpec. See nodeProcess.
const nodeEnv = "NANO_TEST_NODE"

// nodeSpec describes a process. It is a gate if it has an address for players. Otherwise
// it is a node that serves Room, and the same component as a service with its own name.
type nodeSpec struct {
	Name    string
	Listen  string
	Seeds   string // separated by commas
	Players string
	Pages   string // where a gate accepts WebSocket clients; it has none if this is empty
	Resume  bool   // a gate has sessions that can be resumed, and serves Game
	Rooms   bool   // it has the rooms of ferries, and serves nothing else
}

// told is one line from the process to the test.
type told struct {
	Event   string // "ready", "hangs", "answer" or "fault"
	Addr    string
	Players string
	Pages   string
	Members []cluster.Member
	Resume  nano.ResumeStats
	Carried int // clients whose connections the process carries
	Reply   string
	Err     string
}

// asked is one line from the test to the process. The process answers it.
type asked struct {
	Call string // a route; "" asks for the list of members
	Stop bool   // shut down, and end the process
}

// nodeProcess runs a node until its standard input is closed.
func nodeProcess() {
	var spec nodeSpec
	err := json.Unmarshal([]byte(os.Getenv(nodeEnv)), &spec)
	if err == nil {
		err = spec.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

func (spec *nodeSpec) run() error {
	var mu sync.Mutex
	say := func(v told) {
		mu.Lock()
		defer mu.Unlock()
		line, _ := json.Marshal(v)
		_, _ = os.Stdout.Write(append(line, '\n'))
	}
	list := &component.Components{}
	var game *resumeGame
	switch {
	case spec.Resume:
		game = &resumeGame{group: nano.NewGroup("all"), fault: func(err error) { say(told{Event: "fault", Err: err.Error()}) }}
		list.Register(game, component.WithName("Game"))
	case spec.Players == "" && !spec.Rooms:
		fellow := &Fellow{name: spec.Name, say: say}
		list.Register(fellow, component.WithName("Room"))
		list.Register(fellow, component.WithName(spec.Name))
	}
	opts := []nano.Option{nano.WithComponents(list), nano.WithSerializer(nanojson.NewSerializer()), nano.WithCluster(), nano.WithLabel(spec.Name)}
	if spec.Resume {
		opts = append(opts, nano.WithResume(nano.Resume{}))
	}
	if spec.Rooms {
		opts = append(opts, ferries.Option())
	}
	if spec.Seeds != "" {
		opts = append(opts, nano.WithSeeds(strings.Split(spec.Seeds, ",")...))
	}
	srv := nano.New(opts...)
	l, err := listenAgain(spec.Listen)
	if err != nil {
		return err
	}
	if err := srv.StartCluster(l); err != nil {
		return err
	}
	ready := told{Event: "ready", Addr: srv.ClusterAddr()}
	if spec.Players != "" {
		players, err := listenAgain(spec.Players)
		if err != nil {
			return err
		}
		ready.Players = players.Addr().String()
		go func() { _ = srv.Serve(players) }()
	}
	if spec.Pages != "" {
		pages, err := listenAgain(spec.Pages)
		if err != nil {
			return err
		}
		ready.Pages = pages.Addr().String()
		go func() { _ = srv.ServeWebSocket(pages) }()
	}
	if game != nil {
		go game.broadcast(srv)
	}
	say(ready)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var q asked
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			return err
		}
		if q.Stop {
			ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
			err := srv.Shutdown(ctx)
			cancel()
			if err == nil {
				say(told{Event: "answer"})
			}
			return err
		}
		st := srv.Stats()
		answer := told{Event: "answer", Members: srv.Members(), Resume: st.Resume, Carried: st.Cluster.Carried}
		if q.Call != "" {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			var reply []byte
			if err := srv.Call(ctx, q.Call, []byte(`{}`), &reply); err != nil {
				answer.Err = err.Error()
			}
			cancel()
			answer.Reply = string(reply)
		}
		say(answer)
	}
	return nil
}

// Fellow is the component of the node.
type Fellow struct {
	component.Base
	name string
	say  func(told)
}

// Who responds with the name of the process.
func (f *Fellow) Who(s *session.Session, _ []byte) error { return s.Response([]byte(f.name)) }

// Never does not answer the request.
func (f *Fellow) Never(*session.Session, []byte) error { return nil }

// Name returns the name of the process.
func (f *Fellow) Name(context.Context, *testkit.Number) (*string, error) { return &f.name, nil }

// Hang returns when the test ends the call.
func (f *Fellow) Hang(ctx context.Context, _ *testkit.Number) (*testkit.Number, error) {
	f.say(told{Event: "hangs"})
	<-ctx.Done()
	return nil, ctx.Err()
}

// nodeCmd is a child process that runs a node.
type nodeCmd struct {
	t      testing.TB
	spec   nodeSpec
	cmd    *exec.Cmd
	in     io.WriteCloser
	events chan told // closed when the process has closed its output
	once   sync.Once
}

// spawn starts a process and returns when its node is up. If words are given, they are
// the command that starts it.
func spawn(t testing.TB, spec nodeSpec, before ...string) *nodeCmd {
	t.Helper()
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(before), self)
	p := &nodeCmd{t: t, cmd: exec.Command(args[0], args[1:]...), events: make(chan told, 16)}
	p.cmd.Env = append(os.Environ(), nodeEnv+"="+string(data))
	p.cmd.Stderr = t.Output()
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.events)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var v told
			if json.Unmarshal(lines.Bytes(), &v) == nil {
				p.events <- v
			}
		}
	}()
	t.Cleanup(p.kill)
	p.spec = spec
	ready := p.await("ready")
	p.spec.Listen, p.spec.Players, p.spec.Pages = ready.Addr, ready.Players, ready.Pages
	return p
}

// kill ends the process as kill -9 does, and waits for its end.
func (p *nodeCmd) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		for v := range p.events { // its output has to be read before Wait
			if v.Event == "fault" {
				p.t.Errorf("the process %s found: %s", p.spec.Name, v.Err)
			}
		}
		_ = p.cmd.Wait()
	})
}

// stop shuts the node down, and waits for the end of its process.
func (p *nodeCmd) stop() {
	p.t.Helper()
	p.ask(asked{Stop: true})
	p.once.Do(func() {
		for range p.events { // its output has to be read before Wait
		}
		if err := p.cmd.Wait(); err != nil {
			p.t.Errorf("the process %s ended with %v", p.spec.Name, err)
		}
	})
}

// await checks that the next event is the given one.
func (p *nodeCmd) await(event string) told {
	p.t.Helper()
	v := testkit.Receive(p.t, p.events, event+" of the process "+p.spec.Name)
	if v.Event != event {
		p.t.Fatalf("the process %s told %+v, want %s", p.spec.Name, v, event)
	}
	return v
}

// ask sends a question to the process and returns the answer.
func (p *nodeCmd) ask(q asked) told {
	p.t.Helper()
	line, err := json.Marshal(q)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		p.t.Fatal(err)
	}
	return p.await("answer")
}

func (p *nodeCmd) addr() string { return p.spec.Listen }

// connect connects a player to the process, which is a gate.
func (p *nodeCmd) connect() *testkit.Player {
	return (&testkit.Node{T: p.t, Players: p.spec.Players}).Connect()
}

// memberChange is a call of the member callback.
type memberChange struct {
	cluster.Member
	at time.Time
}

// processGate is a gate in this process, and the processes of a cluster.
type processGate struct {
	*testkit.Node
	changes chan memberChange
}

func startProcessGate(t testing.TB, seeds ...string) *processGate {
	t.Helper()
	g := &processGate{changes: make(chan memberChange, 100)}
	opts := []nano.Option{nano.WithMemberCallback(func(m cluster.Member) { g.changes <- memberChange{m, time.Now()} })}
	if len(seeds) > 0 {
		opts = append(opts, nano.WithSeeds(seeds...), nano.WithSeedRetry(200*time.Millisecond))
	}
	g.Node = testkit.StartNode(t, nil, nil, opts...)
	return g
}

// sees waits until the callback has reported a node as up or down, and returns the time
// of that report.
func (g *processGate) sees(p *nodeCmd, up bool) time.Time {
	g.T.Helper()
	for {
		c := testkit.Receive(g.T, g.changes, fmt.Sprintf("the callback for %s, up %v", p.spec.Name, up))
		if c.Addr == p.addr() && c.Up == up {
			return c.at
		}
	}
}

// calls calls a process until it answers, and returns the time since the given moment.
func (g *processGate) calls(p *nodeCmd, since time.Time) time.Duration {
	g.T.Helper()
	testkit.Eventually(g.T, p.spec.Name+" serves", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var name string
		return g.Call(ctx, p.spec.Name+".Name", &testkit.Number{}, &name) == nil && name == p.spec.Name
	})
	return time.Since(since)
}

// at connects players until one is bound to the process.
func (g *processGate) at(p *nodeCmd) *testkit.Player {
	g.T.Helper()
	for range 10 {
		c := g.Connect()
		if who, err := c.Ask("Room.Who", ""); err != nil {
			g.T.Fatal(err)
		} else if who == p.spec.Name {
			return c
		}
	}
	g.T.Fatalf("none of 10 players came to %s", p.spec.Name)
	return nil
}

// inTime fails the test if something took too long.
func inTime(t testing.TB, what string, took, limit time.Duration) {
	t.Helper()
	t.Logf("%s: %v", what, took.Round(time.Millisecond))
	if took > limit {
		t.Errorf("%s: took %v, want %v at most", what, took, limit)
	}
}

// failsDown waits for the error of a call or request to a stopped node.
func failsDown(t testing.TB, what string, failed <-chan error, killed time.Time, sentinel bool) {
	t.Helper()
	err := testkit.Receive(t, failed, what)
	inTime(t, what+" fails", time.Since(killed), 2*time.Second)
	if !testkit.HasCode(err, nano.CodeUnavailable) || sentinel && !errors.Is(err, cluster.ErrMemberDown) {
		t.Errorf("%s: %v, want %s", what, err, nano.CodeUnavailable)
	}
}

func TestClusterKill(t *testing.T) {
	testkit.SkipInShort(t, "starts processes")
	t.Parallel()
	g := startProcessGate(t)
	a := spawn(t, nodeSpec{Name: "a", Listen: "127.0.0.1:0", Seeds: g.ClusterAddr()})
	b := spawn(t, nodeSpec{Name: "b", Listen: "127.0.0.1:0", Seeds: g.ClusterAddr()})
	g.calls(a, time.Now())
	g.calls(b, time.Now())
	bound, waiting, free := g.at(a), g.at(a), g.Connect()
	requested, called := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := waiting.Ask("Room.Never", "")
		requested <- err
	}()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		called <- g.Call(ctx, "a.Hang", &testkit.Number{}, nil)
	}()
	a.await("hangs")

	killed := time.Now()
	a.kill()
	inTime(t, "a new player is served", free.AwaitAnswer("b", killed), time.Second)
	inTime(t, "a player of the killed node is served", bound.AwaitAnswer("b", killed), time.Second)
	failsDown(t, "the request", requested, killed, false)
	failsDown(t, "the call", called, killed, true)
	inTime(t, "the callback runs", g.sees(a, false).Sub(killed), 3*time.Second)

	again := spawn(t, a.spec)
	up := time.Now()
	if again.addr() != a.addr() {
		t.Fatalf("it is back at %s, want %s", again.addr(), a.addr())
	}
	inTime(t, "it serves again", g.calls(again, up), time.Second)
	g.sees(again, true)
	g.at(again)
}

// TestClusterKillGate checks that a killed gate closes its clients' connections, and
// their sessions on other nodes. Clients of the other gate are not affected.
func TestClusterKillGate(t *testing.T) {
	testkit.SkipInShort(t, "starts processes")
	t.Parallel()
	var group = nano.NewGroup("all")
	asked, ended := make(chan struct{}, 10), make(chan error, 10)
	backend := testkit.StartNode(t, testkit.Services{"Room": testkit.NewGame(func(s *session.Session, data []byte) error {
		switch uid := int64(data[0] - '0'); uid {
		case 0: // not answered
			asked <- struct{}{}
			return nil
		case s.UID():
			return s.Response(data)
		default:
			s.OnClose(func(_ *session.Session, reason error) { ended <- reason })
			return errors.Join(s.Bind(uid), group.Add(s), s.Response(data))
		}
	})}, nil)
	a := spawn(t, nodeSpec{Name: "a", Listen: "127.0.0.1:0", Players: "127.0.0.1:0", Seeds: backend.ClusterAddr()})
	b := spawn(t, nodeSpec{Name: "b", Listen: "127.0.0.1:0", Players: "127.0.0.1:0", Seeds: backend.ClusterAddr()})
	lost, kept := a.connect(), b.connect()
	lost.Expect("Room.Do", "1", "1")
	kept.Expect("Room.Do", "2", "2")
	requested := make(chan error, 1)
	go func() {
		_, err := lost.Ask("Room.Do", "0")
		requested <- err
	}()
	testkit.Receive(t, asked, "the request without an answer")

	killed := time.Now()
	a.kill()
	if err := testkit.Receive(t, requested, "the end of the request"); err == nil {
		t.Error("a request to a gate that was killed was answered")
	}
	inTime(t, "the request ends", time.Since(killed), 2*time.Second)
	if err := testkit.Receive(t, ended, "OnClose"); !errors.Is(err, session.ErrClientClosed) || !errors.Is(err, cluster.ErrMemberDown) {
		t.Errorf("OnClose got %v, want ErrClientClosed and ErrMemberDown", err)
	}
	inTime(t, "the session ends", time.Since(killed), 2*time.Second)
	testkit.Eventually(t, "the group has lost the member", func() bool { return group.Count() == 1 })
	if err := backend.Push(1, "onNews", []byte("1")); !errors.Is(err, nano.ErrUserNotFound) {
		t.Errorf("Push to a user of the gate that was killed = %v, want ErrUserNotFound", err)
	}
	kept.Expect("Room.Do", "2", "2")
	if err := backend.Push(2, "onNews", []byte("2")); err != nil {
		t.Error(err)
	}
	kept.ExpectPush("onNews", "2")

	again := spawn(t, a.spec)
	if again.spec != a.spec {
		t.Fatalf("it is back as %+v, want %+v", again.spec, a.spec)
	}
	up := time.Now()
	again.connect().Expect("Room.Do", "1", "1")
	inTime(t, "the gate serves again", time.Since(up), time.Second)
	if err := backend.Push(1, "onNews", []byte("1")); err != nil {
		t.Errorf("Push to a user of the gate that is back = %v", err)
	}
}

func TestClusterWithoutFirstNode(t *testing.T) {
	testkit.SkipInShort(t, "starts processes")
	t.Parallel()
	first := spawn(t, nodeSpec{Name: "first", Listen: "127.0.0.1:0"})
	g := startProcessGate(t, first.addr())
	a := spawn(t, nodeSpec{Name: "a", Listen: "127.0.0.1:0", Seeds: first.addr()})
	g.calls(a, time.Now())
	g.calls(first, time.Now())
	p := g.at(a)

	killed := time.Now()
	first.kill()
	p.Expect("Room.Who", "", "a")
	inTime(t, "the callback runs", g.sees(first, false).Sub(killed), 3*time.Second)
	p.Expect("Room.Who", "", "a")
	// New nodes can still join through any node.
	b := spawn(t, nodeSpec{Name: "b", Listen: "127.0.0.1:0", Seeds: first.addr() + "," + a.addr()})
	g.calls(b, time.Now())

	// The node restarts without knowledge of the others.
	again := spawn(t, first.spec)
	up := time.Now()
	inTime(t, "it is found again", g.calls(again, up), 5*time.Second)
	testkit.Eventually(t, "it has all others", func() bool {
		n := 0
		for _, m := range again.ask(asked{}).Members {
			if m.Up && (m.Addr == g.ClusterAddr() || m.Addr == a.addr() || m.Addr == b.addr()) {
				n++
			}
		}
		return n == 3
	})
	inTime(t, "it has found all others", time.Since(up), 5*time.Second)
	p.Expect("Room.Who", "", "a")
}
