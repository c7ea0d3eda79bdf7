package main

import (
	"net/http"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/internal/browsertest"
	"github.com/lonng/nano/examples/internal/site"
)

// The page joins a room and shows its ticks.
func TestPage(t *testing.T) {
	mux := http.NewServeMux()
	site.Handle(mux, web)
	addr := browsertest.Serve(t, nano.New(append(options(newLobby(1)), nano.WithWebSocket("/nano"), nano.WithHTTPHandler(mux))...))
	p := browsertest.Open(t, "http://"+addr)
	p.Shows("#state", "Connected")
	p.Shows("#room", "room 0")
	p.Shows("#players", "1 player")
}
