package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

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
	p.Click(`#handlers summary[aria-label="Slowest calls of room.join"]`)
	p.Shows("#handlers details[open] li", ", session ")
	fits(p, "console-handlers")
	p.Do("opening the groups", chromedp.Click(`nav a[href="#groups"]`))
	p.Shows("#groups th", "lobby")
	p.Shows("#groups-found", "1 of 1 groups")
	fits(p, "console-groups")
	const button = `#groups button[aria-label="Sessions of the group lobby"]`
	p.Do("focusing a button", chromedp.Evaluate[chromedp.Void]("(window.before = document.querySelector('"+button+"')).focus()"))
	p.Until(`!window.before.isConnected`) // the table was renewed with the next sample
	p.Until(`document.activeElement.getAttribute("aria-label") === "Sessions of the group lobby"`)
	p.Mouse("mousePressed", button)
	p.Do("renewing the table meanwhile", chromedp.Evaluate[chromedp.Void](
		`import("./view.js").then(({ renew }) => renew(document.getElementById("groups")))`, chromedp.EvalAwaitPromise))
	p.Mouse("mouseReleased", button)
	p.Shows("#found", "1 found")
	p.Until(`document.activeElement.closest("section")?.id === "page-sessions"`)
	fits(p, "console-sessions")
	p.Do("opening the busy page", chromedp.Click(`nav a[href="#busy"]`))
	p.Shows("#busy-sum", "It had work for")
	p.Shows("#busy th", "Writing to clients")
	fits(p, "console-busy")
	p.Do("opening the overview", chromedp.Click(`nav a[href="#overview"]`), chromedp.WaitVisible("#drain"))
	fits(p, "console-overview")
	p.Do("opening the errors", chromedp.Click(`nav a[href="#errors"]`))
	p.Shows("#errors th", "kicked")
	fits(p, "console-errors")
	p.Do("opening the cluster", chromedp.Click(`nav a[href="#cluster"]`))
	p.Shows("#self", "not a node")
	problem, err := chromedp.Run(p.Context(), chromedp.TextContent("#problem"))
	if err != nil || problem != "" {
		t.Errorf("the page shows the problem %q (%v), want none", problem, err)
	}
}

// fits checks the page at the width of a phone and of a desktop, light and dark.
func fits(p *browsertest.Page, name string) {
	p.Helper()
	for _, scheme := range []string{"light", "dark"} {
		p.Scheme(scheme)
		p.Fits(name+"-"+scheme, 390)
		p.Fits(name+"-"+scheme, 1280)
	}
}

// An operator drains the server: the chat ends, and the page says so.
func TestConsoleDrain(t *testing.T) {
	p := browsertest.Start(t)
	addr, url := startWithConsole(t)
	ann := arrive(t, addr)
	p.Do("opening the console", chromedp.Navigate(url), chromedp.WaitVisible("#drain"), chromedp.Click("#drain"), chromedp.WaitVisible("#drain-seconds"))
	p.Do("draining", chromedp.SetValue("#drain-seconds", "5"), chromedp.Click("#act-ok"))
	p.Shows("#act-result", "The server shuts down.")
	select {
	case <-ann.Done():
	case <-time.After(wait):
		t.Error("the client is still connected")
	}
}

// Every control of every page has a name, every page has one heading of the first rank, and the keyboard reaches the content.
func TestConsoleNames(t *testing.T) {
	p := browsertest.Start(t)
	addr, url := startWithConsole(t)
	ann := arrive(t, addr)
	ann.join("Ann", "")
	p.Do("opening the console", chromedp.Navigate(url), chromedp.WaitVisible("#figures dd"))
	for _, page := range []string{"overview", "busy", "handlers", "sessions", "groups", "rooms", "errors", "cluster", "playground"} {
		p.Do("opening "+page, chromedp.Click(`nav a[href="#`+page+`"]`), chromedp.WaitVisible("#page-"+page))
		p.Until(`document.querySelector('nav a[aria-current="page"]').hash === "#` + page + `"`)
		p.Until(`document.querySelectorAll("h1").length === 1 && document.querySelectorAll("main > section:not([hidden])").length === 1`)
		nameless := p.Text(`[...document.querySelectorAll("button, input, select, textarea, summary, [role=slider], [role=log], table")]
			.filter((e) => e.checkVisibility())
			.filter((e) => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.labels?.length || e.textContent.trim() || e.caption))
			.map((e) => e.outerHTML.slice(0, 100)).join("\n")`)
		if nameless != "" {
			t.Errorf("the page %s has controls without a name:\n%s", page, nameless)
		}
	}
	p.Do("skipping to the content", chromedp.Focus("#skip"), chromedp.KeyEvent("\r"))
	p.Until(`document.activeElement.id === "main"`)
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
