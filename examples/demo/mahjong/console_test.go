package main

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/scheduler"
)

func TestConsoleAddress(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "10.1.2.3:0", "nowhere", ""} {
		if w, err := newWatch(addr); err == nil {
			t.Errorf("newWatch(%q) listens at %s, want an error", addr, w.url())
			_ = w.listener.Close()
		}
	}
}

func TestConsole(t *testing.T) {
	store, err := OpenStore("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w, err := newWatch("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nanotest.Start(t, append(newApp(store, scheduler.New(), usual(), emptyTime).options(), w.option())...)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url()+"api/rooms", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var a struct{ Kinds []struct{ Name string } }
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil || len(a.Kinds) != 1 || a.Kinds[0].Name != "table" {
		t.Errorf("the console answers %d %+v (%v), want the kind table", res.StatusCode, a, err)
	}
}
