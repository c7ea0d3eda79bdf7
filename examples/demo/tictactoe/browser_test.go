package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/internal/browsertest"
)

// patient gives players more time for a turn than a slow device needs for a step of a test.
func patient(t *testing.T) {
	t.Helper()
	usual := turnTime
	turnTime = time.Hour
	t.Cleanup(func() { turnTime = usual })
}

func open(p *browsertest.Page, url, name string) {
	p.Do("entering as "+name, chromedp.Navigate(url), chromedp.WaitVisible("#name"),
		chromedp.SetValue("#name", name), chromedp.Click("#enter button"))
}

func tap(p *browsertest.Page, cell string) {
	p.Do("playing cell "+cell, chromedp.Click("#board button:nth-child("+cell+"):enabled"))
}

// Two pages play, one drops and returns, and a third one watches.
func TestTwoPages(t *testing.T) {
	patient(t)
	ann := browsertest.Start(t)
	bob, _ := ann.Tab()
	eve, _ := ann.Tab()
	mux := http.NewServeMux()
	handle(mux)
	srv := nano.New(append(options(""), nano.WithWebSocket("/nano"), nano.WithHTTPHandler(mux))...)
	url := "http://" + browsertest.Serve(t, srv) + "/web/"
	ann.Do("opening the page", chromedp.Navigate(url))
	ann.Until("document.getElementById('clock').hasAttribute('value')") // the page's timer has run, and not failed
	open(ann, url, "Ann")
	ann.Shows("#status", "Waiting for another player")
	open(bob, url, "Bob")
	ann.Shows("#status", "Your turn.")
	bob.Shows("#status", "Ann is to move.")
	for _, width := range []int64{390, 1280} {
		ann.Fits("tictactoe-begin", width)
	}
	tap(ann, "5")
	bob.Shows("#board button:nth-child(5)", "✕")
	tap(bob, "1")
	ann.Shows("#board button:nth-child(1)", "○")

	eve.Do("watching", chromedp.Navigate(ann.Text("document.getElementById('watch').href")))
	eve.Shows("#status", "Ann is to move.")

	bob.Do("reloading the page", chromedp.Reload())
	ann.Shows("#players", "Bob (away)")
	for _, width := range []int64{390, 1280} {
		ann.Fits("tictactoe-away", width)
	}
	tap(ann, "4")
	open(bob, url, "Bob")
	bob.Shows("#board button:nth-child(4)", "✕")
	bob.Shows("#status", "Your turn.")
	ann.Until("!document.querySelector('#players').textContent.includes('away')")
	tap(bob, "2")
	ann.Shows("#board button:nth-child(2)", "○")
	tap(ann, "6")
	for i, p := range []*browsertest.Page{ann, bob, eve} {
		p.Shows("#status", "Ann wins: three in a row.")
		p.Fits([]string{"tictactoe-ann", "tictactoe-bob", "tictactoe-eve"}[i], 390)
	}
}
