package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/examples/internal/site"
)

// wait bounds every single thing that a test waits for.
const wait = 30 * time.Second

// start serves a chat of its own, and returns the host and port.
func start(t *testing.T) string {
	t.Helper()
	srv := nano.New(options("")...)
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	site.Handle(mux, web)
	mux.Handle("/nano", srv.WebSocketHandler())
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		web.Close()
	})
	return web.Listener.Addr().String()
}

// person is somebody at the chat; heard are the pushes, one a line.
type person struct {
	*testing.T
	*client.Client
	heard chan string
}

func arrive(t *testing.T, addr string) *person {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	p := &person{T: t, heard: make(chan string, 100)}
	c, err := client.Dial(ctx, "ws://"+addr+"/nano", client.WithFallback(func(m *client.Message) {
		p.heard <- m.Route + " " + string(m.Data)
	}))
	if err != nil {
		t.Fatal(err)
	}
	p.Client = c
	t.Cleanup(func() { _ = c.Close() })
	return p
}

func (p *person) join(name, room string) joinReply {
	p.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	var reply joinReply
	if err := p.Request(ctx, "room.join", map[string]string{"name": name, "room": room}, &reply); err != nil {
		p.Fatal(err)
	}
	return reply
}

func (p *person) say(name, content string) {
	p.Helper()
	if err := p.Notify("room.message", message{Name: name, Content: content}); err != nil {
		p.Fatal(err)
	}
}

// next returns the next push.
func (p *person) next() string {
	p.Helper()
	select {
	case got := <-p.heard:
		return got
	case <-time.After(wait):
		p.Fatalf("heard nothing in %v", wait)
		return ""
	}
}

// hears fails unless the next pushes are these.
func (p *person) hears(want ...string) {
	p.Helper()
	for _, w := range want {
		if got := p.next(); got != w {
			p.Fatalf("heard %s, want %s", got, w)
		}
	}
}

func TestTwoPeopleTalk(t *testing.T) {
	addr := start(t)
	ann, bob := arrive(t, addr), arrive(t, addr)

	if got, want := ann.join("Ann", ""), (joinReply{Result: "success", Name: "Ann", Room: "lobby"}); got != want {
		t.Fatalf("room.join answers %+v, want %+v", got, want)
	}
	ann.hears(`onMembers {"members":["Ann"]}`, `onNewUser {"content":"Ann joined"}`)
	bob.join("Bob", "lobby")
	for _, p := range []*person{ann, bob} {
		p.hears(`onMembers {"members":["Ann","Bob"]}`, `onNewUser {"content":"Bob joined"}`)
	}

	bob.say("Bob", "hello")
	ann.say("", "  hi\nthere ")
	for _, p := range []*person{ann, bob} {
		// Who of the two was first is not known.
		both := []string{p.next(), p.next()}
		slices.Sort(both)
		want := []string{`onMessage {"name":"Ann","content":"hi there"}`, `onMessage {"name":"Bob","content":"hello"}`}
		if !slices.Equal(both, want) {
			t.Fatalf("heard %q, want %q", both, want)
		}
	}

	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	ann.hears(`onMembers {"members":["Ann"]}`, `onMessage {"name":"","content":"Bob left"}`)
}

func TestRoomsAreApart(t *testing.T) {
	addr := start(t)
	ann, bob := arrive(t, addr), arrive(t, addr)
	ann.join("Ann", "red")
	bob.join("Bob", "blue")
	ann.hears(`onMembers {"members":["Ann"]}`, `onNewUser {"content":"Ann joined"}`)
	bob.hears(`onMembers {"members":["Bob"]}`, `onNewUser {"content":"Bob joined"}`)

	ann.say("", "to red")
	ann.hears(`onMessage {"name":"Ann","content":"to red"}`)
	bob.say("", "to blue")
	bob.hears(`onMessage {"name":"Bob","content":"to blue"}`)

	// Joining again changes the room.
	bob.join("Bob", "red")
	for _, p := range []*person{ann, bob} {
		p.hears(`onMembers {"members":["Ann","Bob"]}`, `onNewUser {"content":"Bob joined"}`)
	}
	ann.join("Ann", "blue")
	ann.hears(`onMembers {"members":["Ann"]}`, `onNewUser {"content":"Ann joined"}`)
	bob.hears(`onMembers {"members":["Bob"]}`, `onMessage {"name":"","content":"Ann left"}`)
}

func TestNames(t *testing.T) {
	addr := start(t)
	long := strings.Repeat("é", maxName+1)
	for _, c := range []struct{ name, want string }{
		{"Ann", "Ann"},
		{"ann", "ann 2"},
		{"Ann", "Ann 3"},
		{"", "Guest"},
		{" \t\u202e\x00 ", "Guest 2"},
		{long, long[:len(long)-len("é")]},
		{"<b>Bob</b>", "<b>Bob</b>"},
		{"a\u202e \n b", "a b"},
		{"👩\u200d🚀", "👩\u200d🚀"},
	} {
		if got := arrive(t, addr).join(c.name, "").Name; got != c.want {
			t.Errorf("room.join as %q is named %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMessageRenames(t *testing.T) {
	addr := start(t)
	ann, guest := arrive(t, addr), arrive(t, addr)
	ann.join("Ann", "")
	guest.join("", "")
	ann.hears(`onMembers {"members":["Ann"]}`, `onNewUser {"content":"Ann joined"}`,
		`onMembers {"members":["Ann","Guest"]}`, `onNewUser {"content":"Guest joined"}`)
	guest.say("Ann", "me too")
	ann.hears(`onMembers {"members":["Ann","Ann 2"]}`, `onMessage {"name":"Ann 2","content":"me too"}`)
	guest.say("Ann", strings.Repeat("x", maxContent+1))
	guest.say("Ann", " ")
	guest.say("Bob", "")
	ann.hears(fmt.Sprintf(`onMessage {"name":"Ann 2","content":"%s"}`, strings.Repeat("x", maxContent)),
		`onMembers {"members":["Ann","Bob"]}`)
}

func TestMessageBeforeJoin(t *testing.T) {
	p := arrive(t, start(t))
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	err := p.Request(ctx, "room.message", message{Content: "anybody?"}, nil)
	if !errors.Is(err, &client.Error{Code: "CHAT-ROOM"}) {
		t.Errorf("room.message before room.join: %v, want CHAT-ROOM", err)
	}
}

func TestSite(t *testing.T) {
	addr := start(t)
	for _, c := range []struct {
		path, contentType, text string
		status                  int
	}{
		{"/", "text/html; charset=utf-8", "chat.js", 200}, // by way of a redirect
		{"/web/", "text/html; charset=utf-8", "chat.js", 200},
		{"/web/style.css", "text/css; charset=utf-8", "color-scheme", 200},
		{"/web/chat.js", "text/javascript; charset=utf-8", "nano.js", 200},
		{"/web/nano.js", "text/javascript; charset=utf-8", "export class Client", 200},
		{"/web/icon.svg", "image/svg+xml", "<svg", 200},
		{"/web/nothing", "text/plain; charset=utf-8", "", 404},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+c.path, nil)
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
		if got := res.Header.Get("Content-Type"); res.StatusCode != c.status || got != c.contentType {
			t.Errorf("GET %s: %d, %s; want %d, %s", c.path, res.StatusCode, got, c.status, c.contentType)
		}
		if !strings.Contains(string(body), c.text) {
			t.Errorf("GET %s does not contain %q", c.path, c.text)
		}
	}
}

// browser returns the path of a Chromium. Where none is installed the test is skipped, unless NANO_REQUIRE_BROWSER is
// set.
func browser(t *testing.T) string {
	if testing.Short() {
		t.Skip("short mode: needs a browser")
	}
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("NANO_REQUIRE_BROWSER") != "" {
		t.Fatal("no Chromium on PATH, and NANO_REQUIRE_BROWSER is set")
	}
	t.Skip("no Chromium on PATH")
	return ""
}

// page is one tab of a browser.
type page struct {
	*testing.T
	ctx context.Context
}

func (p page) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, wait)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.Fatalf("%s: %v", what, err)
	}
}

// shows waits until an element that selector finds has text in it.
func (p page) shows(selector, text string) {
	p.Helper()
	found := fmt.Sprintf("[...document.querySelectorAll(%q)].some((e) => e.textContent.includes(%q))", selector, text)
	poll := chromedp.Poll[chromedp.Void](found, chromedp.WithPollingMutation(), chromedp.WithPollingTimeout(0))
	p.do(fmt.Sprintf("waiting for %q in %s", text, selector), poll)
}

func (p page) join(addr, name string) {
	p.Helper()
	p.do("joining as "+name,
		chromedp.Navigate("http://"+addr+"/web/?room=browsers"),
		chromedp.WaitVisible("#name"),
		chromedp.SetValue("#name", name),
		chromedp.Click("#enter"),
		chromedp.WaitVisible("#content"))
	p.shows("#title", "#browsers")
	p.shows("#state", "Connected")
}

// openBrowser starts a browser, and returns the context of its first tab.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	path := browser(t)
	flags := append(chromedp.DefaultExecAllocatorOptions[:], // headless, with a user-data-dir of its own
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU)
	for _, flag := range []string{"disable-quic", "no-first-run", "disable-background-networking",
		"disable-component-update", "disable-sync"} {
		flags = append(flags, chromedp.Flag(flag, true))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*wait)
	t.Cleanup(cancel)
	allocator, cancel := chromedp.NewExecAllocator(ctx, flags...)
	t.Cleanup(cancel)
	// The context that starts a browser bounds its life, so it is not the context of one wait.
	root, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(root); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	return root
}

// The page comes back by itself when the server was restarted cleanly, and says so.
func TestServerRestarts(t *testing.T) {
	ann := page{t, openBrowser(t)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	stop := serveOn(t, l)
	ann.join(addr, "Ann")
	stop()
	ann.shows("#why", "The server is restarting.")
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	stop = serveOn(t, l)
	defer stop()
	ann.shows(".note", "The server was restarted.")
	ann.shows("#state", "Connected")
	ann.do("writing", chromedp.SendKeys("#content", "still here\r"))
	ann.shows(".message.own .bubble", "still here")
}

// A message that is sent into a stalled connection arrives when the page is back.
func TestMessageInAStalledConnection(t *testing.T) {
	ann := page{t, openBrowser(t)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server := start(t)
	var stalled atomic.Bool // what comes from the page is dropped
	conns := make(chan net.Conn, 100)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				_ = in.Close()
				continue
			}
			conns <- in
			go func() {
				_, _ = io.Copy(in, out)
				_ = in.Close()
			}()
			go func() {
				defer out.Close()
				b := make([]byte, 4096)
				for {
					n, err := in.Read(b)
					if err != nil {
						return
					}
					if stalled.Load() {
						continue
					}
					if _, err := out.Write(b[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	ann.join(l.Addr().String(), "Ann")
	stalled.Store(true)
	ann.do("writing", chromedp.SendKeys("#content", "is anybody there?\r"))
	ann.do("the field is empty", chromedp.Poll[chromedp.Void](`document.querySelector("#content").value === ""`,
		chromedp.WithPollingTimeout(0)))
	for len(conns) > 0 {
		_ = (<-conns).Close()
	}
	stalled.Store(false)
	ann.shows(".message.own .bubble", "is anybody there?")
	ann.shows("#state", "Connected")
}

// serveOn serves a chat on l until stop is called.
func serveOn(t *testing.T, l net.Listener) (stop func()) {
	t.Helper()
	mux := http.NewServeMux()
	site.Handle(mux, web)
	srv := nano.New(append(options(""), nano.WithHTTPHandler(mux))...)
	served := make(chan error, 1)
	go func() { served <- srv.ServeWebSocket(l) }()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("ServeWebSocket: %v", err)
		}
	}
}

func TestTwoBrowsers(t *testing.T) {
	root := openBrowser(t)
	addr := start(t)
	tab, cancel := chromedp.NewContext(root, chromedp.WithNewBrowserContext())
	defer cancel()
	if err := chromedp.Do(tab); err != nil {
		t.Fatalf("opening a second page: %v", err)
	}
	ann, bob := page{t, root}, page{t, tab}

	ann.join(addr, "Ann")
	ann.shows("#members", "Ann")
	bob.join(addr, "Bob")
	bob.shows("#members", "Ann")
	ann.shows("#members", "Bob")
	ann.shows(".note", "Bob joined")

	bob.do("writing", chromedp.SendKeys("#content", "<i>hello</i> from Bob\r"))
	bob.shows(".message.own .bubble", "<i>hello</i> from Bob")
	ann.shows(".message:not(.own) .bubble", "<i>hello</i> from Bob")
	ann.shows(".message .from", "Bob")
	ann.do("answering", chromedp.SendKeys("#content", "hello from Ann"), chromedp.Click("#compose button"))
	bob.shows(".message:not(.own) .bubble", "hello from Ann")

	cancel() // closes Bob's tab
	ann.shows(".note", "Bob left")
	gone, err := chromedp.Run(root, chromedp.TextContent("#members"))
	if err != nil || strings.Contains(gone, "Bob") {
		t.Errorf("after Bob closed the page, the members are %q (%v), want Ann alone", gone, err)
	}
}
