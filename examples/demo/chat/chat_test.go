package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lonng/nano"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/examples/internal/browsertest"
	"github.com/lonng/nano/examples/internal/site"
)

// wait is the longest time that a test waits for one event.
const wait = time.Minute

// start starts a chat server and returns its host and port.
func start(t *testing.T) string {
	t.Helper()
	srv := nano.New(options("", nil)...)
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

// person is a chat client. heard holds its pushes, one a line.
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

// hears checks that the next pushes are these.
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
		// The order of the two is not known.
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

	// A second join changes the room.
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
		{"/", "text/html; charset=utf-8", "chat.js", 200}, // after a redirect
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

// page is a tab of a browser.
type page struct{ *browsertest.Page }

func (p page) join(addr, name string) {
	p.Helper()
	p.Do("joining as "+name,
		chromedp.Navigate("http://"+addr+"/web/?room=browsers"),
		chromedp.WaitVisible("#name"),
		chromedp.SetValue("#name", name),
		chromedp.Click("#enter"),
		chromedp.WaitVisible("#content"))
	p.Shows("#title", "#browsers")
	p.Shows("#state", "Connected")
}

// TestServerRestarts checks that the page reconnects by itself after a clean restart of
// the server, and says so.
func TestServerRestarts(t *testing.T) {
	ann := page{browsertest.Start(t)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	stop := serveOn(t, l)
	ann.join(addr, "Ann")
	stop()
	ann.Shows("#why", "The server is restarting.")
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the page notices that an attempt failed before it begins the next one
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	if why := ann.Text("document.getElementById('why').textContent"); why != "The server is restarting." {
		t.Errorf("while the server restarts, the page says %q", why)
	}
	if err := l.(*net.TCPListener).SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	stop = serveOn(t, l)
	defer stop()
	ann.Shows(".note", "The server was restarted.")
	ann.Shows("#state", "Connected")
	ann.Do("writing", chromedp.SendKeys("#content", "still here\r"))
	ann.Shows(".message.own .bubble", "still here")
}

// TestMessageInAStalledConnection checks that a message that was sent into a stalled
// connection arrives after the page reconnects.
func TestMessageInAStalledConnection(t *testing.T) {
	ann := page{browsertest.Start(t)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server := start(t)
	var stalled atomic.Bool // while it is set, bytes of the page are dropped
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
	ann.Do("writing", chromedp.SendKeys("#content", "is anybody there?\r"))
	ann.Do("the field is empty", chromedp.Poll[chromedp.Void](`document.querySelector("#content").value === ""`,
		chromedp.WithPollingTimeout(0)))
	for len(conns) > 0 {
		_ = (<-conns).Close()
	}
	stalled.Store(false)
	ann.Shows(".message.own .bubble", "is anybody there?")
	ann.Shows("#state", "Connected")
}

// serveOn serves a chat on l until stop is called.
func serveOn(t *testing.T, l net.Listener) (stop func()) {
	t.Helper()
	mux := http.NewServeMux()
	site.Handle(mux, web)
	srv := nano.New(append(options("", nil), nano.WithHTTPHandler(mux))...)
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
	first := browsertest.Start(t)
	addr := start(t)
	second, closeTab := first.Tab()
	ann, bob := page{first}, page{second}

	ann.join(addr, "Ann")
	ann.Shows("#members", "Ann")
	bob.join(addr, "Bob")
	bob.Shows("#members", "Ann")
	ann.Shows("#members", "Bob")
	ann.Shows(".note", "Bob joined")

	bob.Do("writing", chromedp.SendKeys("#content", "<i>hello</i> from Bob\r"))
	bob.Shows(".message.own .bubble", "<i>hello</i> from Bob")
	ann.Shows(".message:not(.own) .bubble", "<i>hello</i> from Bob")
	ann.Shows(".message .from", "Bob")
	ann.Do("answering", chromedp.SendKeys("#content", "hello from Ann"), chromedp.Click("#compose button"))
	bob.Shows(".message:not(.own) .bubble", "hello from Ann")

	closeTab()
	ann.Shows(".note", "Bob left")
	gone, err := chromedp.Run(ann.Context(), chromedp.TextContent("#members"))
	if err != nil || strings.Contains(gone, "Bob") {
		t.Errorf("after Bob closed the page, the members are %q (%v), want Ann alone", gone, err)
	}
}
