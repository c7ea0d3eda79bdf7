package main

import (
	"net"
	"net/http"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/internal/browsertest"
	"github.com/lonng/nano/examples/internal/site"
)

// TestPage checks that the page enters a room, and shows the messages and the node that
// serves the room.
func TestPage(t *testing.T) {
	mux := http.NewServeMux()
	site.Handle(mux, web)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gate := nano.New(append(gateOptions(""), nano.WithWebSocket("/nano"), nano.WithHTTPHandler(mux))...)
	if err := gate.StartCluster(l); err != nil {
		t.Fatal(err)
	}
	players := browsertest.Serve(t, gate)
	room, _ := start(t, false, func(addr string) []nano.Option { return roomOptions(addr, "europe", l.Addr().String()) })
	know(t, gate, room)
	p := browsertest.Open(t, "http://"+players)
	p.Shows("#state", "Connected")
	p.Click("#enter button")
	p.Shows("#where", "europe, blue: served by the node at "+room.ClusterAddr())
	p.Type("#text", "hello")
	p.Click("#say button")
	p.Shows("#lines", "hello (by way of "+room.ClusterAddr()+")")
}
