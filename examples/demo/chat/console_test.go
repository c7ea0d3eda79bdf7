package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/internal/browsertest"
	"github.com/lonng/nano/examples/internal/site"
)

// startWithConsole serves a chat with a console of its own, and returns the address of players and of the console.
func startWithConsole(t *testing.T) (addr, console string) {
	t.Helper()
	l, err := site.ListenConsole("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return browsertest.Serve(t, nano.New(options("", &site.Console{Name: "chat", Listener: l})...)), site.ConsoleURL(l)
}

func TestConsoleAddress(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "10.1.2.3:0", "localhost.example:0", "nowhere", ""} {
		if l, err := site.ListenConsole(addr); err == nil {
			t.Errorf("ListenConsole(%q) listens at %s, want an error", addr, l.Addr())
			_ = l.Close()
		}
	}
}

// An operator finds a person by name, pushes to the page of that person, and kicks the session, with the keyboard alone
// where a chart is read.
func TestConsole(t *testing.T) {
	p := browsertest.Start(t)
	addr, url := startWithConsole(t)
	ann := arrive(t, addr)
	ann.join("Ann", "")
	ann.hears(`onMembers {"members":["Ann"]}`, `onNewUser {"content":"Ann joined"}`)
	bob := arrive(t, addr)
	bob.join("Bob", "")

	p.Do("opening the console", chromedp.Navigate(url), chromedp.WaitVisible("#figures dd"))
	p.Shows("#name", "chat")
	p.Shows("#role", "operator")
	p.Shows("#figures dt", "Queue delay")
	p.Do("reading a chart", chromedp.Focus(".plot"), chromedp.KeyEvent("\ue012"), // the left arrow
		chromedp.Poll[chromedp.Void](`/^\d\d:\d\d:\d\d: in .*, out /.test(document.activeElement.getAttribute("aria-valuetext"))`,
			chromedp.WithPollingTimeout(0)))

	p.Do("searching", chromedp.Click(`nav a[href="#sessions"]`), chromedp.WaitVisible("#query"),
		chromedp.SendKeys("#query", "ann\r"))
	p.Shows("#found", "1 found, 2 of 2 open sessions searched")
	p.Shows("#sessions td", "lobby, 2 people")

	p.Do("pushing", chromedp.Click(`#sessions button[aria-label^="Push"]`), chromedp.WaitVisible("#route"),
		chromedp.SendKeys("#route", "onMessage"), chromedp.SendKeys("#payload", `{"name":"","content":"Be quiet"}`),
		chromedp.Click("#act-ok"))
	p.Shows("#act-result", "Sent.")
	ann.hears(`onMembers {"members":["Ann","Bob"]}`, `onNewUser {"content":"Bob joined"}`, `onMessage {"name":"","content":"Be quiet"}`)

	p.Do("kicking", chromedp.Click("#act-cancel"), chromedp.Click(`#sessions button[aria-label^="Kick"]`), chromedp.WaitVisible("#reason"),
		chromedp.SendKeys("#reason", "enough\r"))
	p.Shows("#act-result", "Kicked.")
	bob.hears(`onMembers {"members":["Ann","Bob"]}`)
	bob.hears(`onNewUser {"content":"Bob joined"}`)
	bob.hears(`onMembers {"members":["Bob"]}`)
	p.Do("closing", chromedp.Click("#act-cancel"))
	p.Shows("#found", "0 found, 1 of 1 open sessions searched")

	p.Do("opening the handlers", chromedp.Click(`nav a[href="#handlers"]`))
	p.Shows("#handlers th", "room.join") // with the next sample
	p.Do("opening the errors", chromedp.Click(`nav a[href="#errors"]`))
	p.Shows("#errors th", "kicked")
	p.Do("opening the cluster", chromedp.Click(`nav a[href="#cluster"]`))
	p.Shows("#self", "not a node")
	problem, err := chromedp.Run(p.Context(), chromedp.TextContent("#problem"))
	if err != nil || problem != "" {
		t.Errorf("the page shows the problem %q (%v), want none", problem, err)
	}
}

// The console refuses a page that reached it by another host name.
func TestConsoleByAnotherName(t *testing.T) {
	_, url := startWithConsole(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"api/overview", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"": http.StatusOK, "evil.example": http.StatusUnauthorized} {
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != want {
			t.Errorf("GET for the host %q = %d, want %d", host, res.StatusCode, want)
		}
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}
