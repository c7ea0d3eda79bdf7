package console_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/console"
)

// node starts a node of a cluster. up gets each node that it sees come up or go down.
func node(t *testing.T, up chan cluster.Member, opts ...nano.Option) *nano.Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := nano.New(append(opts, nano.WithMemberCallback(func(m cluster.Member) { up <- m }))...)
	if err := srv.StartCluster(l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, srv) })
	return srv
}

func stop(t *testing.T, srv *nano.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}

// change waits for a member that came up, or went down.
func change(t *testing.T, changes chan cluster.Member, up bool) {
	t.Helper()
	for {
		select {
		case m := <-changes:
			if m.Up == up {
				return
			}
		case <-time.After(30 * time.Second):
			t.Fatal("no node came up or went down")
		}
	}
}

// A node shows the pages of another one, whose Authorize decides.
func TestNodes(t *testing.T) {
	changes := make(chan cluster.Member, 100)
	first := node(t, changes, nano.WithCluster())
	second := node(t, make(chan cluster.Member, 100), nano.WithSeeds(first.ClusterAddr()), nano.WithLabel("backend"))
	change(t, changes, true)
	b := &bed{t: t, Handler: console.New(first, console.Options{Authorize: console.Token(viewer, operator), Name: "first"})}
	type members struct {
		ID      string
		Members []struct{ ID string }
	}
	other := get[members](b, "cluster").Members[0].ID
	if other == "" || other == get[members](b, "cluster").ID {
		t.Fatalf("the other node has the id %q", other)
	}
	status := func(path, token string, want int, text string) {
		t.Helper()
		if w := b.ask("GET", "/console/api/"+path, token, ""); w.Code != want || !strings.Contains(w.Body.String(), text) {
			t.Errorf("GET %s as %q = %d %s, want %d with %q", path, token, w.Code, w.Body, want, text)
		}
	}
	status("overview?node="+other, viewer, 404, "the node has no console")

	roles := map[string]console.Role{viewer: console.Operator} // other rights than at the first node
	console.New(second, console.Options{Name: "second", Path: "/elsewhere/", Authorize: func(r *http.Request) (console.Role, error) {
		if r.RemoteAddr != "192.0.2.1:1234" || r.Host != "console.test" {
			t.Errorf("the request comes from %s for %s, want the original ones", r.RemoteAddr, r.Host)
		}
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if roles[token] == console.None {
			return console.None, console.ErrCredentials
		}
		return roles[token], nil
	}})
	type overview struct{ Name, Role, Node string }
	if got := get[overview](b, "overview?node="+other); got != (overview{"second", "operator", other}) {
		t.Errorf("the page of the other node is %+v, want its own with the role operator", got)
	}
	if got := get[overview](b, "overview"); got.Name != "first" || got.Role != "viewer" {
		t.Errorf("the page of this node is %+v, want its own with the role viewer", got)
	}
	if got := get[overview](b, "overview?node="+get[members](b, "cluster").ID); got.Name != "first" {
		t.Errorf("the page of this node by its id is %+v, want its own", got)
	}
	status("overview?node="+other, operator, 401, "not authorized")
	status("overview?node="+other, "", 401, "not authorized")
	status("overview?node=77777", viewer, 404, "no other node with this id")
	status("overview?node=x", viewer, 404, "no other node with this id")
	status("nothing?node="+other, viewer, 404, "")
	status("overview?after=yesterday&node="+other, viewer, 400, "RFC 3339")
	status("cluster?node="+other, viewer, 200, second.ClusterAddr())
	for query, want := range map[string]int{"": 403, "?node=" + other: 404} { // the role of the node that is asked
		if w := b.ask("POST", "/console/api/kick"+query, viewer, `{"uid":"5"}`); w.Code != want {
			t.Errorf("POST kick%s = %d %s, want %d", query, w.Code, w.Body, want)
		}
	}
	if w := b.ask("POST", "/console/api/kick?node="+other, viewer, `{"uid":"5"}`, "Origin", "http://evil.test"); w.Code != 403 {
		t.Errorf("POST kick of another origin = %d %s, want 403", w.Code, w.Body)
	}
	stop(t, second)
	change(t, changes, false)
	if w := b.ask("GET", "/console/api/overview?node="+other, viewer, ""); w.Code != 404 && w.Code != 503 {
		t.Errorf("the page of a node that is down = %d %s, want 404 or 503", w.Code, w.Body)
	}
}
