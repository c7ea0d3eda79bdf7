package main

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/lonng/nano/examples/internal/site"
	"github.com/lonng/nano/nanotest"
)

// The console lists the arenas with their ticks.
func TestConsole(t *testing.T) {
	l, err := site.ListenConsole("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	console := &site.Console{Name: "tick", Listener: l}
	srv := nanotest.Start(t, append(options(arenas(1, 8)), console.Options()...)...)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	r := join(t, srv.Connect(t))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, site.ConsoleURL(l)+"api/rooms", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var a struct {
		Kinds []struct {
			Name     string
			TickRate float64
		}
		Rooms []struct {
			ID    string
			Taken int
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil || len(a.Kinds) != 1 || a.Kinds[0].TickRate != tickRate ||
		len(a.Rooms) != 1 || a.Rooms[0].ID != r.ID() || a.Rooms[0].Taken != 1 {
		t.Errorf("the console answers %d %+v (%v), want one arena with a player", res.StatusCode, a, err)
	}
}
