package main

import (
	"net/http"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/internal/browsertest"
	"github.com/lonng/nano/examples/internal/site"
)

// TestPage checks that the page sends messages, and shows the answers and the counters of
// the hooks.
func TestPage(t *testing.T) {
	counts := &traffic{flows: map[[2]string]*flow{}}
	mux := http.NewServeMux()
	site.Handle(mux, web)
	mux.Handle("/traffic", counts)
	addr := browsertest.Serve(t, nano.New(append(options(counts, ""), nano.WithWebSocket("/nano"), nano.WithHTTPHandler(mux))...))
	p := browsertest.Open(t, "http://"+addr)
	p.Shows("#state", "Connected")
	p.Click("[value=say]")
	p.Shows("#lines", "answered: hello")
	p.Click("[value=shout]")
	p.Shows("#lines", "pushed: HELLO")
	p.Click("[value=wrong]")
	p.Shows("#lines", "not served here")
	p.Shows("#flows", "Echo.Shout")
}
