package main

import (
	"expvar"
	"net/http/httptest"
	"testing"

	"github.com/lonng/nano/examples/internal/browsertest"
)

// TestPage checks that the page sends requests as a player and shows the figures.
func TestPage(t *testing.T) {
	srv := newServer()
	expvar.Publish("nano", vars(srv))
	players := browsertest.Serve(t, srv)
	web := httptest.NewServer(pages(srv))
	t.Cleanup(web.Close)
	p := browsertest.Open(t, web.URL+"/web/?players="+players)
	p.Shows("#state", "Connected")
	p.Click("#one")
	p.Shows("#routes", "Echo.Say")
	p.Click("#wrong")
	p.Shows("#problem", "not served")
	p.Shows("#figures", "Connections")
}
