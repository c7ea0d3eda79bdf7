package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/urfave/cli/v3"
	"go.uber.org/goleak"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/examples/internal/browsertest"
)

// wait is the longest time that a test waits for one event.
const wait = time.Minute

// childEnv is the environment variable that makes the test binary run the program.
const childEnv = "NANO_CLUSTER_EXAMPLE"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// process is a node that runs in its own process.
type process struct {
	*exec.Cmd
	addr, players, page, console string
	ended                        chan struct{}
}

var started = regexp.MustCompile(`node at ([^,\n]+)(?:, players at ws://([^,\n]+)/nano)?(?:, page at ([^,\s]+))?(?:, console at (\S+))?`)

// launch starts the program, and returns when the node has printed its addresses.
func launch(t *testing.T, args ...string) *process {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], args...), ended: make(chan struct{})}
	p.Env = append(os.Environ(), childEnv+"=1", "GORACE=atexit_sleep_ms=0")
	p.Stderr = t.Output()
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 10)
	go func() {
		defer close(p.ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
		_ = p.Wait()
	}()
	t.Cleanup(func() {
		if p.Process.Signal(syscall.SIGTERM) != nil {
			_ = p.Process.Kill() // it has ended, or the system has no signals
		}
		select {
		case <-p.ended:
		case <-time.After(wait):
			t.Errorf("%v did not end", args)
			_ = p.Process.Kill()
			<-p.ended
		}
	})
	select {
	case line := <-lines:
		m := started.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("%v says %q", args, line)
		}
		p.addr, p.players, p.page, p.console = m[1], m[2], m[3], m[4]
	case <-p.ended:
		t.Fatalf("%v ended", args)
	case <-time.After(wait):
		t.Fatalf("%v says nothing", args)
	}
	return p
}

// kill ends a process without a shutdown.
func (p *process) kill() {
	_ = p.Process.Kill()
	<-p.ended
}

// town is a whole cluster: a master, two chat nodes and two gates.
type town struct {
	master *process
	chats  [2]*process
	gates  [2]*process
}

func open(t *testing.T) *town {
	t.Helper()
	s := &town{master: launch(t, "master", "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0")}
	for i := range s.chats {
		s.chats[i] = launch(t, "chat", "--listen", "127.0.0.1:0", "--master", s.master.addr)
	}
	for i := range s.gates {
		s.gates[i] = launch(t, "gate", "--listen", "127.0.0.1:0", "--gate-address", "127.0.0.1:0", "--master", s.master.addr)
	}
	return s
}

// person is a chat client. heard holds its pushes, one a line.
type person struct {
	*testing.T
	*client.Client
	heard chan string
}

func arrive(t *testing.T, gate *process) *person {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	p := &person{T: t, heard: make(chan string, 1000)}
	c, err := client.Dial(ctx, "ws://"+gate.players+"/nano", client.WithFallback(func(m *client.Message) {
		p.heard <- m.Route + " " + string(m.Data)
	}))
	if err != nil {
		t.Fatal(err)
	}
	p.Client = c
	t.Cleanup(func() { _ = c.Close() })
	return p
}

func (p *person) login(name string) loginReply {
	p.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	var reply loginReply
	if err := p.Request(ctx, "BindService.Login", loginRequest{name}, &reply); err != nil {
		p.Fatal(err)
	}
	return reply
}

func (p *person) say(content string) {
	p.Helper()
	if err := p.Notify("RoomService.SyncMessage", message{Content: content}); err != nil {
		p.Fatal(err)
	}
}

// hears waits for a push and skips other pushes.
func (p *person) hears(want string) {
	p.Helper()
	deadline := time.After(wait)
	for last := ""; ; {
		select {
		case last = <-p.heard:
			if last == want {
				return
			}
		case <-deadline:
			p.Fatalf("did not hear %s; last was %s", want, last)
		}
	}
}

// talk makes everybody say something and checks that everybody hears it.
func talk(people []*person, what string) {
	for i, p := range people {
		p.Helper()
		p.say(fmt.Sprintf("%s %d", what, i))
		for _, q := range people {
			q.hears(fmt.Sprintf(`onMessage {"name":"Person %d","content":"%s %d"}`, i, what, i))
		}
	}
}

// TestPeopleTalk checks that people at different gates and chat nodes hear each other
// while nodes are killed.
func TestPeopleTalk(t *testing.T) {
	s := open(t)
	var people []*person
	everybody := func(names string) {
		t.Helper()
		for _, p := range people {
			p.hears(`onMembers {"members":[` + names + `]}`)
		}
	}
	names := ""
	for i := range 4 {
		p := arrive(t, s.gates[i%2])
		people = append(people, p)
		if reply := p.login(fmt.Sprintf(" Person  %d ", i)); reply.Code != 0 {
			t.Fatalf("Login = %+v, want code 0", reply)
		}
		names += fmt.Sprintf(`,"Person %d"`, i)
		for _, p := range people {
			p.hears(fmt.Sprintf(`onNewUser {"content":"Person %d joined"}`, i))
		}
	}
	names = names[1:]
	talk(people, "hello")
	people[0].say("first")
	people[0].hears(`onBalance {"currentBalance":998}`)

	s.chats[0].kill()
	everybody(names)
	talk(people, "one chat node is gone")

	launch(t, "chat", "--listen", s.chats[0].addr, "--master", s.master.addr)
	s.chats[1].kill()
	everybody(names)
	talk(people, "the other one took over")

	s.master.kill()
	talk(people, "without a master")
	launch(t, "master", "--listen", s.master.addr, "--web", "127.0.0.1:0")
	launch(t, "chat", "--listen", s.chats[1].addr, "--master", s.master.addr)
	for tries := 0; ; tries++ {
		people[0].say("is anybody counting?")
		balance := false
		for deadline := time.After(100 * time.Millisecond); !balance && deadline != nil; {
			select {
			case got := <-people[0].heard:
				balance = strings.HasPrefix(got, "onBalance ")
			case <-deadline:
				deadline = nil
			}
		}
		if balance {
			break
		}
		if tries > 100 {
			t.Fatal("no balance came when the master was back")
		}
	}
	talk(people, "with a master")

	s.gates[1].kill()
	for _, p := range []*person{people[1], people[3]} {
		select {
		case <-p.Done():
		case <-time.After(wait):
			t.Fatal("a player of the gate that was killed is still connected")
		}
	}
	people = []*person{people[0], people[2]}
	everybody(`"Person 0","Person 2"`)
	again := launch(t, "gate", "--listen", s.gates[1].addr, "--gate-address", s.gates[1].players, "--master", s.chats[1].addr)
	late := arrive(t, again)
	late.login("Person 1")
	people = append(people, late)
	everybody(`"Person 0","Person 1","Person 2"`)
	people[0].say("the end")
	late.hears(`onMessage {"name":"Person 0","content":"the end"}`)
}

func TestNicknames(t *testing.T) {
	s := open(t)
	for name, code := range map[string]int{"": 1, " \n ": 1, "Ann": 0} {
		if got := arrive(t, s.gates[0]).login(name); got.Code != code {
			t.Errorf("Login as %q = %+v, want code %d", name, got, code)
		}
	}
	p := arrive(t, s.gates[0])
	p.login("<b>" + strings.Repeat("x", 100))
	p.say(strings.Repeat("y", 1000))
	want, err := json.Marshal(message{"<b>" + strings.Repeat("x", maxName-3), strings.Repeat("y", maxContent)})
	if err != nil {
		t.Fatal(err)
	}
	p.hears("onMessage " + string(want))
	p.login("Ann") // log in again under another name
	p.say("me")
	p.hears(`onMessage {"name":"Ann","content":"me"}`)

	// A client that has not logged in is not in the room. Clients cannot call routes of
	// nodes.
	stranger := arrive(t, s.gates[0])
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	for _, route := range []string{"RoomService.SyncMessage", "RoomService.JoinRoom"} {
		if err := stranger.Request(ctx, route, message{Name: "Eve", Content: "hi"}, nil); err == nil {
			t.Errorf("%s before the login = nil, want an error", route)
		}
	}
	err = stranger.Request(ctx, earPrefix+s.chats[0].addr+".Hear", news{}, nil)
	if !errors.Is(err, &client.Error{Code: "NANO-404"}) {
		t.Errorf("Hear of a player = %v, want NANO-404", err)
	}
}

func TestArguments(t *testing.T) {
	got := complete([]string{"cluster", "gate", "--master", "--listen", "127.0.0.1:1", "--master"})
	want := "cluster gate --master=" + masterAddr + " --listen 127.0.0.1:1 --master=" + masterAddr
	if strings.Join(got, " ") != want {
		t.Errorf("complete = %q, want %q", got, want)
	}
	if got := complete([]string{"cluster", "gate", "--master", "127.0.0.1:1"}); strings.Join(got, " ") != "cluster gate --master 127.0.0.1:1" {
		t.Errorf("complete = %q, want it as it was", got)
	}
	for _, args := range []string{"chat --listen nowhere", "gate --listen 127.0.0.1:0 --gate-address nowhere", "master --listen 127.0.0.1:0 --web nowhere",
		"master --listen 127.0.0.1:0 --web 127.0.0.1:0 --console :0", "chat --listen 127.0.0.1:0 --console nowhere"} {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		if err := command().Run(ctx, strings.Fields("cluster "+args)); err == nil {
			t.Errorf("cluster %s = nil, want an error", args)
		}
		cancel()
	}
}

// TestFlags checks that flags set the options that the README and the documentation of
// this demo list.
func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"master":                                 "listen=127.0.0.1:34567 web=127.0.0.1:12345",
		"master --listen 127.0.0.1:34567":        "listen=127.0.0.1:34567 web=127.0.0.1:12345",
		"chat":                                   "listen=127.0.0.1:34580 master=127.0.0.1:34567",
		"chat --master --listen 127.0.0.1:34581": "listen=127.0.0.1:34581 master=127.0.0.1:34567",
		"gate":                                   "listen=127.0.0.1:34570 gate-address=127.0.0.1:34590 master=127.0.0.1:34567",
		"gate --master":                          "listen=127.0.0.1:34570 gate-address=127.0.0.1:34590 master=127.0.0.1:34567",
		"gate --master --listen 127.0.0.1:34571 --gate-address 127.0.0.1:34591": "listen=127.0.0.1:34571 gate-address=127.0.0.1:34591 master=127.0.0.1:34567",
		"gate --master 127.0.0.1:1": "listen=127.0.0.1:34570 gate-address=127.0.0.1:34590 master=127.0.0.1:1",
	} {
		var got []string
		c := command()
		for _, sub := range c.Commands {
			sub.Action = func(_ context.Context, c *cli.Command) error {
				for _, f := range sub.Flags {
					if name := f.Names()[0]; name != "help" && c.String(name) != "" {
						got = append(got, name+"="+c.String(name))
					}
				}
				return nil
			}
		}
		if err := c.Run(t.Context(), complete(strings.Fields("cluster "+args))); err != nil {
			t.Errorf("cluster %s: %v", args, err)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("cluster %s: %s, want %s", args, strings.Join(got, " "), want)
		}
	}
}

// TestBareMaster checks that a node with --master starts even if the master is not up.
func TestBareMaster(t *testing.T) {
	launch(t, "chat", "--master", "--listen", "127.0.0.1:0")
	gate := launch(t, "gate", "--master", "--listen", "127.0.0.1:0", "--gate-address", "127.0.0.1:0")
	_ = arrive(t, gate)
}

// TestMemberAfterShutdown checks that a member that comes up during the shutdown of the
// room is ignored.
func TestMemberAfterShutdown(t *testing.T) {
	ear := earPrefix + "127.0.0.1:1"
	r := newRoomService(earPrefix + "127.0.0.1:2")
	r.srv = nano.New()
	r.Shutdown()
	r.changed(cluster.Member{Addr: "127.0.0.1:1", Services: []string{ear}, Up: true})
	if len(r.others) != 0 {
		t.Errorf("the room tells %v, want nobody", r.others)
	}
}

// TestTogether checks that one process can hold all nodes.
func TestTogether(t *testing.T) {
	master, err := start(masterNode("127.0.0.1:0", ""))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, chatNode("127.0.0.1:0", master.ClusterAddr()), gateNode("127.0.0.1:0", "127.0.0.1:0", master.ClusterAddr()))
	}()
	up := func(label string) (n int) {
		for _, m := range master.Members() {
			if m.Up && m.Label == label {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(wait); up("chat")+up("gate") < 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the master has members %v, want a chat node and a gate", master.Members())
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run = %v", err)
	}
	if err := master.stop(); err != nil {
		t.Errorf("stop = %v", err)
	}
}

// TestLogNamesTheNode checks that log records name the node if a process holds several
// nodes.
func TestLogNamesTheNode(t *testing.T) {
	var b strings.Builder
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	n, err := start(masterNode("127.0.0.1:0", ""))
	slog.SetDefault(before)
	log.SetOutput(os.Stderr) // SetDefault changes both loggers
	log.SetFlags(log.LstdFlags)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if !strings.Contains(line, " node=master") {
			t.Errorf("the log has the line %q, want node=master in it", line)
		}
	}
}

func TestSite(t *testing.T) {
	s := launch(t, "master", "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0")
	base := strings.TrimSuffix(s.page, "/web/")
	for _, c := range []struct {
		path, contentType, text string
		status                  int
	}{
		{"/", "text/html; charset=utf-8", "cluster.js", 200}, // after a redirect
		{"/web/", "text/html; charset=utf-8", "cluster.js", 200},
		{"/web/style.css", "text/css; charset=utf-8", "color-scheme", 200},
		{"/web/cluster.js", "text/javascript; charset=utf-8", "nano.js", 200},
		{"/web/nano.js", "text/javascript; charset=utf-8", "export class Client", 200},
		{"/web/nothing", "text/plain; charset=utf-8", "", 404},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		cancel()
		if err := errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if got := res.Header.Get("Content-Type"); res.StatusCode != c.status || got != c.contentType || !strings.Contains(string(body), c.text) {
			t.Errorf("GET %s: %d, %s; want %d, %s and %q in it", c.path, res.StatusCode, got, c.status, c.contentType, c.text)
		}
	}
}

// page is a tab of a browser.
type page struct{ *browsertest.Page }

func (p page) login(s *town, gate int, name string) {
	p.Helper()
	p.Do("logging in as "+name,
		chromedp.Navigate(s.master.page+"?gate="+s.gates[gate].players),
		chromedp.WaitVisible("#nickname"),
		chromedp.SetValue("#nickname", name),
		chromedp.Click("#enter"),
		chromedp.WaitVisible("#content"))
	p.Shows("#state", "Connected")
}

func (p page) say(text string) {
	p.Helper()
	p.Do("writing", chromedp.SendKeys("#content", text+"\r"))
}

func TestTwoBrowsers(t *testing.T) {
	first := browsertest.Start(t)
	s := open(t)
	second, _ := first.Tab()
	ann, bob := page{first}, page{second}

	ann.login(s, 0, "Ann")
	bob.login(s, 1, "Bob")
	for _, p := range []page{ann, bob} {
		p.Shows("#members", "Ann")
		p.Shows("#members", "Bob")
		p.Shows("#balance", "1000")
	}
	ann.Shows(".note", "Bob joined")
	bob.say("<i>hello</i> from Bob")
	ann.Shows(".message", "<i>hello</i> from Bob")
	bob.Shows("#balance", "999")
	ann.say("hello from Ann")
	bob.Shows(".message", "hello from Ann")

	for _, width := range []int64{390, 1280} { // a phone and a desktop
		ann.Do(fmt.Sprintf("the page is at most %d pixels wide", width), chromedp.EmulateViewport(width, 800),
			chromedp.Poll[chromedp.Void](fmt.Sprintf("document.documentElement.scrollWidth <= %d", width), chromedp.WithPollingTimeout(0)))
	}

	for i, c := range s.chats {
		c.kill()
		for _, p := range []page{ann, bob} {
			p.Shows("#members", "Ann")
			p.Shows("#members", "Bob")
		}
		// Messages may be lost while the node shuts down, so the test repeats them.
		heard := fmt.Sprintf("still here %d", i)
		for deadline := time.Now().Add(wait); ; {
			ann.say(heard)
			found := fmt.Sprintf("[...document.querySelectorAll('.message')].some((e) => e.textContent.includes(%q))", heard)
			ctx, cancel := context.WithTimeout(bob.Context(), time.Second)
			err := chromedp.Do(ctx, chromedp.Poll[chromedp.Void](found, chromedp.WithPollingMutation(), chromedp.WithPollingTimeout(0)))
			cancel()
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("Bob does not read Ann after chat node %d was killed: %v", i, err)
			}
		}
		bob.say("so am I")
		ann.Shows(".message", "so am I")
		launch(t, "chat", "--listen", c.addr, "--master", s.master.addr)
	}
}
