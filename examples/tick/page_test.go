package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/internal/browsertest"
	"github.com/lonng/nano/examples/internal/site"
)

// The page joins a room and takes a step.
func TestPage(t *testing.T) {
	mux := http.NewServeMux()
	site.Handle(mux, web)
	addr := browsertest.Serve(t, nano.New(append(options(arenas(1, 8)), nano.WithWebSocket("/nano"), nano.WithHTTPHandler(mux))...))
	p := browsertest.Open(t, "http://"+addr)
	p.Shows("#state", "Connected")
	p.Shows("#players", "1 player")
	// The server sends a state when something has changed, here after a step.
	before := p.Text("document.querySelector('#tick').textContent")
	p.Do("taking a step", chromedp.Evaluate[chromedp.Void]("dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }))"))
	p.Until(fmt.Sprintf("document.querySelector('#tick').textContent !== %q", before))
}
