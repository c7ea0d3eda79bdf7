package main

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/lonng/nano/examples/internal/browsertest"
	"github.com/lonng/nano/examples/internal/site"
	"github.com/lonng/nano/nanotest"
)

// startWithConsole serves games with a console, and returns its address.
func startWithConsole(t *testing.T) (srv *nanotest.Server, url string) {
	t.Helper()
	l, err := site.ListenConsole("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	console := &site.Console{Name: "games", Listener: l}
	return nanotest.Start(t, append(options(""), console.Options()...)...), site.ConsoleURL(l)
}

// fits checks the page at the width of a phone and of a desktop, light and dark.
func fits(p *browsertest.Page, name string) {
	for _, scheme := range []string{"light", "dark"} {
		p.Scheme(scheme)
		p.Fits(name+"-"+scheme, 390)
		p.Fits(name+"-"+scheme, 1280)
	}
}

// An operator finds a room, looks at its state, and closes it.
func TestConsoleRooms(t *testing.T) {
	patient(t)
	p := browsertest.Start(t)
	srv, url := startWithConsole(t)
	ann, bob := enter(t, srv, "Ann"), enter(t, srv, "Bob")
	ann.play(t, 4)
	p.Do("opening the console", chromedp.Navigate(url+"#rooms"))
	p.Shows("#kinds th", "tictactoe")
	p.Shows("#rooms th", ann.Room.ID())
	p.Shows("#rooms td", "2 of 2")
	fits(p, "console-rooms")
	p.Focus(`#rooms button[aria-label^="Open room"]`)
	p.Do("opening the room with the keyboard", chromedp.KeyEvent("\r"))
	p.Shows("#room-title", ann.Room.ID())
	p.Until(`document.activeElement.id === "room-title"`)
	p.Shows("#members-of-room td", "player")
	p.Shows("#tree .leaf", "Turn: 2")
	p.Click("#tree details details summary")
	p.Shows("#tree details details .leaf", "4: 1")
	bob.play(t, 0)
	p.Click("#room-renew")
	p.Shows("#tree .leaf", "Turn: 1")
	p.Shows("#tree details details .leaf", "0: 2") // the branch is still open
	fits(p, "console-room")
	p.Click("#room-close")
	p.Type("#reason", "maintenance\r")
	p.Shows("#act-result", "Closed.")
	p.Click("#act-cancel")
	p.Shows("#rooms", "No room is open")
	<-ann.Room.Closed()
	fits(p, "console-rooms-none")
}

// The playground plays a game: a form for each request, and a script of what was sent.
func TestConsolePlayground(t *testing.T) {
	p := browsertest.Start(t)
	_, url := startWithConsole(t)
	p.Do("opening the console", chromedp.Navigate(url+"#playground"), chromedp.WaitVisible("#play-route"))
	choose := func(route string) {
		p.Do("choosing "+route, chromedp.SetValue("#play-route", route), chromedp.Evaluate[chromedp.Void](
			`document.getElementById("play-route").dispatchEvent(new Event("change"))`))
	}
	p.Shows("#play-route option", "login.As")
	choose("login.As")
	p.Shows("#play-fields label", "key")
	p.Type("#play-fields input", "short\r")
	p.Shows("#play-state", "Connected.")
	p.Shows("#play-log .error", "KEY")
	p.Until(`document.getElementById("play-send").disabled === false`)
	p.Do("typing", chromedp.SetValue("#play-fields input", "0123456789abcdef"), chromedp.Click("#play-send"))
	p.Shows("#play-log .reply", `"uid": 1`)
	p.Do("truncating answers", chromedp.Evaluate[chromedp.Void](`{
		const real = window.fetch;
		window.fetch = async (url, init) => {
			const response = await real(url, init);
			if (!String(url).includes("play/send")) return response;
			const answer = await response.json();
			if (answer.reply) Object.assign(answer.reply, { truncated: true, size: 70000 });
			return new Response(JSON.stringify(answer));
		};
	}`))
	choose("room.joinOrCreate")
	p.Do("writing the payload", chromedp.SetValue("#play-payload", `{"kind":"tictactoe","options":{"name":"Ann"}}`))
	p.Click("#play-send")
	p.Shows("#play-log .reply", `"kind": "tictactoe"`)
	p.Shows("#play-log .reply", "truncated: the payload has 68.4 KiB")
	p.Shows("#play-log .push", "room.state")
	p.Until(`document.getElementById("play-state").textContent === "Connected."`)
	choose("tictactoe.Play")
	p.Shows("#play-fields label", "cell")
	p.Type("#play-fields input", "x\r")
	p.Shows("#play-problem", "want a whole number")
	p.Until(`document.activeElement.getAttribute("aria-invalid") === "true"`)
	fits(p, "console-playground")
	script := p.Text(`document.getElementById("play-script").value`)
	want := fmt.Sprintf("request login.As %s\nexpect error KEY\nrequest login.As %s\n# reply {\"uid\":1}\n", `{"key": "short"}`, `{"key": "0123456789abcdef"}`)
	if len(script) < len(want) || script[:len(want)] != want {
		t.Errorf("the script is\n%s\nwant it to begin with\n%s", script, want)
	}
	p.Click("#play-toggle")
	p.Shows("#play-state", "Not connected.")
}
