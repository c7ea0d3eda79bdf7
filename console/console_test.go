package console_test

import (
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/console"
)

func TestNewPanics(t *testing.T) {
	for name, o := range map[string]console.Options{
		"no authorizer":  {},
		"path, no start": {Authorize: console.Loopback(console.Viewer), Path: "console/"},
		"path, no end":   {Authorize: console.Loopback(console.Viewer), Path: "/console"},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: New did not panic", name)
				}
			}()
			console.New(nano.New(), o)
		}()
	}
}

func TestRoles(t *testing.T) {
	b := newBed(t, console.Options{})
	for _, c := range []struct {
		method, path, token string
		want                int
	}{
		{"GET", "/console/", "", 401},
		{"GET", "/console/console.js", "", 401},
		{"GET", "/console/api/overview", "", 401},
		{"GET", "/console/api/overview", "wrong", 401},
		{"GET", "/console/", viewer, 200},
		{"GET", "/console/console.js", viewer, 200},
		{"GET", "/console/chart.js", viewer, 200},
		{"GET", "/console/view.js", viewer, 200},
		{"GET", "/console/console.css", viewer, 200},
		{"GET", "/console/icon.svg", viewer, 200},
		{"GET", "/console/pages.css", viewer, 200},
		{"GET", "/console/api.js", viewer, 200},
		{"GET", "/console/busy.js", viewer, 200},
		{"GET", "/console/dialog.js", viewer, 200},
		{"GET", "/console/form.js", viewer, 200},
		{"GET", "/console/play.js", viewer, 200},
		{"GET", "/console/rooms.js", viewer, 200},
		{"GET", "/console/sessions.js", viewer, 200},
		{"GET", "/console/api/busy", viewer, 200},
		{"GET", "/console/api/groups", viewer, 200},
		{"GET", "/console/api/rooms", viewer, 200},
		{"GET", "/console/api/room?id=x", viewer, 404},
		{"GET", "/console/api/routes", viewer, 200},
		{"GET", "/console/api/play?client=x", viewer, 403},
		{"GET", "/console/api/play?client=x", operator, 404},
		{"GET", "/console/api/overview?node=7", viewer, 404},
		{"GET", "/console/api/overview", viewer, 200},
		{"GET", "/console/api/overview", operator, 200},
		{"GET", "/console/api/overview?after=yesterday", viewer, 400},
		{"GET", "/console/api/sessions?before=x", viewer, 400},
		{"GET", "/console/nothing", viewer, 404},
		{"GET", "/elsewhere/", viewer, 404},
		{"POST", "/console/api/overview", operator, 405},
		{"GET", "/console/api/kick", operator, 405},
		{"POST", "/console/api/kick", "", 401},
		{"POST", "/console/api/kick", viewer, 403},
		{"POST", "/console/api/push", viewer, 403},
		{"POST", "/console/api/close", viewer, 403},
		{"POST", "/console/api/drain", viewer, 403},
		{"POST", "/console/api/play/open", viewer, 403},
		{"POST", "/console/api/play/send", viewer, 403},
		{"POST", "/console/api/play/close", viewer, 403},
	} {
		w := b.ask(c.method, c.path, c.token, `{"uid":"1"}`)
		if w.Code != c.want {
			t.Errorf("%s %s as %q = %d, want %d", c.method, c.path, c.token, w.Code, c.want)
		}
		if challenged := len(w.Header().Values("WWW-Authenticate")) == 2; challenged != (c.want == 401) {
			t.Errorf("%s %s as %q has WWW-Authenticate: %t", c.method, c.path, c.token, challenged)
		}
		csp := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s has the headers %v, want those of a safe page", c.method, c.path, w.Header())
		}
	}
}

func TestAuthorize(t *testing.T) {
	role, err := console.Viewer, error(nil)
	b := newBed(t, console.Options{Authorize: func(*http.Request) (console.Role, error) { return role, err }})
	role, err = console.Operator, errors.New("secret text")
	w := b.ask("GET", "/console/api/overview", "", "")
	if w.Code != 401 || strings.Contains(w.Body.String(), "secret") || w.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("an error of Authorize = %d %s %v, want 401 without the text and without a challenge", w.Code, w.Body, w.Header())
	}
	role, err = console.None, nil
	if w := b.ask("GET", "/console/api/overview", "", ""); w.Code != 403 {
		t.Errorf("without a role = %d, want 403", w.Code)
	}
}

func TestToken(t *testing.T) {
	for _, c := range []struct {
		viewer, operator string
		header           string
		want             console.Role
	}{
		{"v", "o", "Bearer v", console.Viewer},
		{"v", "o", "Bearer o", console.Operator},
		{"v", "o", "bearer o", console.Operator},
		{"v", "o", "Token o", console.None},
		{"v", "o", "Basic YW5uOm8=", console.Operator}, // ann:o
		{"v", "o", "Bearer ", console.None},
		{"v", "o", "Bearer vo", console.None},
		{"v", "o", "", console.None},
		{"", "o", "Bearer ", console.None},
		{"", "", "Bearer ", console.None},
		{"", "", "Basic Og==", console.None}, // ":"
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", c.header)
		got, err := console.Token(c.viewer, c.operator)(r)
		if got != c.want || (err == nil) != (c.want != console.None) {
			t.Errorf("Token(%q, %q) of %q = %v, %v; want %v", c.viewer, c.operator, c.header, got, err, c.want)
		}
	}
}

func TestLoopback(t *testing.T) {
	for _, c := range []struct {
		remote, host, header string
		want                 bool
	}{
		{"127.0.0.1:5", "localhost:80", "", true},
		{"127.0.0.1:5", "LOCALHOST", "", true},
		{"127.0.0.1:5", "127.0.0.1:80", "", true},
		{"[::1]:5", "[::1]:80", "", true},
		{"[::1]:5", "[::1]", "", true},
		{"[::ffff:127.0.0.1]:5", "localhost", "", true},
		{"10.0.0.1:5", "localhost", "", false},
		{"127.0.0.1:5", "evil.example", "", false},
		{"127.0.0.1:5", "localhost.evil.example:80", "", false},
		{"127.0.0.1:5", "127.0.0.1.evil.example", "", false},
		{"127.0.0.1:5", "", "", false},
		{"@", "localhost", "", false},
		{"127.0.0.1:5", "localhost", "X-Forwarded-For", false},
		{"127.0.0.1:5", "localhost", "Forwarded", false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr, r.Host = c.remote, c.host
		if c.header != "" {
			r.Header.Set(c.header, "10.0.0.1")
		}
		role, err := console.Loopback(console.Operator)(r)
		if (err == nil) != c.want || (role == console.Operator) != c.want {
			t.Errorf("Loopback from %s for %s (%s) = %v, %v; want access %t", c.remote, c.host, c.header, role, err, c.want)
		}
	}
}

type samples struct {
	Name, Role string
	Time       time.Time
	Totals     struct{ MessagesIn, Accepted int64 }
	Samples    []struct {
		Time        time.Time
		Sessions    int
		MessagesIn  *float64
		HandlerMean *float64
		Heap        uint64
	}
}

func TestOverview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, console.Options{Name: "test"})
		start := time.Now()
		o := get[samples](b, "overview")
		if len(o.Samples) != 1 || o.Samples[0].MessagesIn != nil || !o.Samples[0].Time.Equal(start) || o.Name != "test" || o.Role != "viewer" {
			t.Errorf("at the start, the overview is %+v, want one sample without rates", o)
		}
		time.Sleep(time.Second)
		p := b.login(1, "Ann")
		for range 9 {
			if err := p.Request(t.Context(), "room.login", login{1, "Ann"}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(4*time.Second + time.Millisecond)
		o = get[samples](b, "overview?after="+o.Time.Format(time.RFC3339Nano))
		if len(o.Samples) != 1 || !o.Time.Equal(start.Add(5*time.Second)) || !o.Samples[0].Time.Equal(o.Time) {
			t.Fatalf("after 5 s, the overview is %+v, want one new sample", o)
		}
		s := o.Samples[0]
		if s.MessagesIn == nil || *s.MessagesIn != 2 || s.Sessions != 1 || s.HandlerMean == nil || s.Heap == 0 || o.Totals.MessagesIn != 10 {
			t.Errorf("the sample is %+v with the totals %+v, want 2 messages per second of 1 session", s, o.Totals)
		}
		time.Sleep(20 * time.Minute)
		o = get[samples](b, "overview")
		if n := len(o.Samples); n != 180 || o.Samples[n-1].Time.Sub(o.Samples[0].Time) != 179*5*time.Second {
			t.Errorf("after 20 min, there are %d samples, want 180", n)
		}
		if o = get[samples](b, "overview?after="+o.Time.Format(time.RFC3339Nano)); len(o.Samples) != 0 {
			t.Errorf("after the last sample are %d samples, want none", len(o.Samples))
		}
	})
}

// The sampler ends with the server: a goroutine that is left fails the bubble.
func TestSamplerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := nano.New()
		h := console.New(srv, console.Options{Authorize: console.Token(viewer, operator)})
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := &bed{t: t, Handler: h}
		if o := get[samples](b, "overview"); len(o.Samples) != 1 {
			t.Errorf("after Shutdown there are %d samples, want 1", len(o.Samples))
		}
		got := get[sessionList](b, "sessions")
		if len(got.Sessions) != 0 || got.Problem != "" {
			t.Errorf("after Shutdown, sessions are %+v, want none", got)
		}
	})
}

func TestHandlersAndErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, console.Options{})
		p := b.login(1, "Ann")
		if err := p.Request(t.Context(), "room.nothing", nil, nil); err == nil {
			t.Fatal("room.nothing is served")
		}
		time.Sleep(10*time.Second + time.Millisecond)
		routes := get[struct {
			Window   float64
			Handlers []struct {
				Route string
				Count int64
				Rate  *float64
				Mean  *float64
				P50   *float64
				P99   *float64
				Max   float64
			}
		}](b, "handlers")
		if len(routes.Handlers) != 1 || routes.Handlers[0].Route != "room.login" || routes.Handlers[0].Count != 1 ||
			routes.Handlers[0].Rate == nil || *routes.Handlers[0].Rate != 0.1 || routes.Window != 10 {
			t.Errorf("handlers are %+v, want room.login with one call in 10 s", routes)
		}
		if h := routes.Handlers[0]; h.P50 == nil || h.P99 == nil || *h.P50 != *h.P99 || *h.P50 < *h.Mean {
			t.Errorf("the percentiles of one call are %v and %v, want one bound above its time", h.P50, h.P99)
		}
		type counter struct {
			Name          string
			Total, Recent int64
		}
		recent := func() (refused counter) {
			for _, c := range get[struct{ Refused []counter }](b, "errors").Refused {
				if c.Name == "request" {
					return c
				}
			}
			return counter{}
		}
		if got := recent(); got.Total != 1 || got.Recent != 1 {
			t.Errorf("refused requests are %+v, want 1 and 1", got)
		}
		time.Sleep(time.Minute)
		if got := recent(); got.Total != 1 || got.Recent != 0 {
			t.Errorf("a minute later, refused requests are %+v, want 1 and 0", got)
		}
	})
}

type clusterPage struct {
	Node    bool
	Address string
	Members []struct {
		Label    string
		Up       bool
		Services []string
	}
	Traffic *struct{ MessagesIn *float64 }
}

func TestCluster(t *testing.T) {
	if got := get[clusterPage](newBed(t, console.Options{}), "cluster"); got.Node || got.Traffic != nil || len(got.Members) != 0 {
		t.Errorf("without a cluster, the page is %+v, want no node", got)
	}
	changes := make(chan cluster.Member, 100)
	first := node(t, changes, nano.WithCluster())
	node(t, make(chan cluster.Member, 100), nano.WithSeeds(first.ClusterAddr()), nano.WithLabel("backend"))
	change(t, changes, true)
	h := console.New(first, console.Options{Authorize: console.Token(viewer, operator)})
	got := get[clusterPage](&bed{t: t, Handler: h}, "cluster")
	if !got.Node || got.Traffic == nil || got.Address != first.ClusterAddr() || len(got.Members) != 1 || got.Members[0].Label != "backend" || !got.Members[0].Up {
		t.Errorf("the page is %+v, want one member that is up", got)
	}
}

// The page is at most 150 kB, compressed, and loads nothing from elsewhere.
func TestSize(t *testing.T) {
	var size counter
	err := fs.WalkDir(os.DirFS("web"), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile("web/" + path)
		if err != nil {
			return err
		}
		for _, scheme := range []string{"http://", "https://"} {
			if text := strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", ""); strings.Contains(text, scheme) {
				t.Errorf("%s contains %s", path, scheme)
			}
		}
		z := gzip.NewWriter(&size)
		if _, err := z.Write(data); err != nil {
			return err
		}
		return z.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", size)
	if size == 0 || size > 150_000 {
		t.Errorf("the page is %d bytes, want at most 150,000", size)
	}
}

type counter int

var _ io.Writer = (*counter)(nil)

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
