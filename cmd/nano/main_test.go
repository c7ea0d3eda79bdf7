package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/cmd/nano/internal/programtest"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// run runs the command with arguments and returns its output.
func run(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	c := command()
	c.Writer, c.ErrWriter = &out, &out
	err = c.Run(t.Context(), append([]string{"nano"}, args...))
	return out.String(), err
}

const program = `
package main

import (
	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

type In struct{ Name string }

type Out struct{ N int }

type Box struct{ component.Base }

// Open opens the box.
func (*Box) Open(s *session.Session, in *In) (*Out, error) { return &Out{}, nil }

func main() {
	cs := &component.Components{}
	cs.Register(&Box{})
	_ = nano.Listen(":0", nano.WithComponents(cs), nano.WithSerializer(json.NewSerializer()))
}
`

func TestRoutes(t *testing.T) {
	dir := programtest.Write(t, map[string]string{"main.go": program})
	t.Chdir(dir)
	out, err := run(t, "routes", ".")
	if err != nil {
		t.Fatal(err)
	}
	if want := "Box.Open  request  In       Out    Open opens the box.\n"; !strings.Contains(out, want) {
		t.Errorf("routes prints\n%s\nwant %q in it", out, want)
	}
	out, err = run(t, "routes", ".", "--json") // a flag may follow the argument
	if err != nil || !strings.HasPrefix(out, "{\n  \"version\": 1,") {
		t.Fatalf("routes --json = %v, prints\n%s", err, out)
	}
	old := filepath.Join(dir, "old.json")
	if err := os.WriteFile(old, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, "routes", "--diff", old, "."); err != nil || out != "" {
		t.Errorf("routes --diff without a change = %v, prints %q", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(strings.Replace(program, "N int", "N string", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = run(t, "routes", "--diff", old, ".")
	if out != "field N of reply of route Box.Open was int64 and is string\n" {
		t.Errorf("routes --diff prints %q", out)
	}
	if err == nil || !strings.HasPrefix(err.Error(), "1 change breaks clients") {
		t.Errorf("routes --diff = %v, want 1 change", err)
	}
}

func TestNew(t *testing.T) {
	root := programtest.Root(t)
	t.Setenv("GOWORK", "off")
	t.Chdir(t.TempDir())
	out, err := run(t, "new", "demo", "--replace", root)
	if err != nil || !strings.HasSuffix(out, "   cd demo\n   go run .\n\nand open http://localhost:3250.\n") {
		t.Errorf("new = %v, prints %q", err, out)
	}
	if _, err := os.Stat(filepath.Join("demo", "web", "index.html")); err != nil {
		t.Error(err)
	}
	if _, err := run(t, "new", "demo", "--replace", root); err == nil || !strings.Contains(err.Error(), "demo is not empty") {
		t.Errorf("new over a project = %v, want an error", err)
	}
}

// The go command refuses a project below a workspace that does not list it.
func TestNewInWorkspace(t *testing.T) {
	dir, root := t.TempDir(), programtest.Root(t)
	t.Chdir(dir)
	t.Setenv("GOWORK", "")
	work := filepath.Join(dir, "go.work")
	if err := os.WriteFile(work, []byte("go 1.26\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "   export GOWORK=off    # the project is not part of " + work + "\n   go run .\n"
	if out, err := run(t, "new", "games/demo", "--replace", root); err != nil || !strings.Contains(out, want) {
		t.Errorf("new = %v, prints %q, want %q in it", err, out, want)
	}
	t.Setenv("GOWORK", "off")
	if out, err := run(t, "new", "other", "--replace", root); err != nil || strings.Contains(out, "GOWORK") {
		t.Errorf("new = %v, prints %q, want nothing about GOWORK", err, out)
	}
}

// serve starts a server with the route Box.Open, and returns its URL.
func serve(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cs := &component.Components{}
	cs.Register(&box{}, component.WithName("Box"))
	srv := nano.New(nano.WithComponents(cs), nano.WithSerializer(json.NewSerializer()), nano.WithWebSocket("/nano"))
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.ServeWebSocket(l) }) // Shutdown ends it
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return "ws://" + l.Addr().String() + "/nano"
}

// TestConnect checks that a script runs against a server, with the contract read from the
// server's source.
func TestConnect(t *testing.T) {
	url := serve(t)
	dir := programtest.Write(t, map[string]string{
		"main.go": program,
		"good":    "request Box.Open {\"Name\": \"Ann\"}\nexpect reply {\"N\": 3}\n",
		"bad":     "request Box.Open\nexpect reply {\"N\": 3}\n",
	})
	t.Chdir(dir)
	if out, err := run(t, "connect", url, "-f", "good", "--package", "."); err != nil || !strings.HasPrefix(out, `reply {"N":3} (`) {
		t.Errorf("connect -f good = %v, prints %q", err, out)
	}
	if out, err := run(t, "bench", url, `request Box.Open {"Name": "Ann"}`, "--rate", "200", "--for", "200ms", "--clients", "2"); err != nil ||
		!strings.Contains(out, "answers      40\n") || !strings.Contains(out, "latency      p50 ") {
		t.Errorf("bench = %v, prints\n%s", err, out)
	}
	if out, err := run(t, "bench", url, "request Box.None", "--for", "100ms", "--json"); err == nil || !strings.Contains(out, `"NANO-404": 10`) {
		t.Errorf("bench of an unknown route = %v, prints\n%s", err, out)
	}
	if _, err := run(t, "connect", url, "-f", "bad"); err == nil || !strings.Contains(err.Error(), "bad:2: N is 0, want 3") {
		t.Errorf("connect -f bad = %v, want what differs", err)
	}
}

// box implements the handlers of the Box in program.
type box struct{ component.Base }

func (*box) Open(_ *session.Session, in *struct{ Name string }) (*struct{ N int }, error) {
	return &struct{ N int }{len(in.Name)}, nil
}

func TestUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"routes"}, "want a package"},
		{[]string{"routes", "--bogus"}, "-bogus"},
		{[]string{"routes", "./missing"}, "missing"},
		{[]string{"gen", "ts"}, "want a package"},
		{[]string{"gen", "ts", "--contract", "missing.json"}, "missing.json"},
		{[]string{"new"}, "want one name"},
		{[]string{"new", "a", "b"}, "want one name"},
		{[]string{"new", "demo", "--template", "opera"}, "there is no template"},
		{[]string{"connect"}, "want one URL"},
		{[]string{"connect", "127.0.0.1:1", "--serializer", "xml"}, "there is no serializer"},
		{[]string{"connect", "127.0.0.1:1", "--user", "{"}, "--user is not JSON"},
		{[]string{"connect", "127.0.0.1:1", "--header", "x"}, "--header is"},
		{[]string{"connect", "127.0.0.1:1", "--timeout", "-1s"}, "--timeout is -1s, want more than 0"},
		{[]string{"connect", "127.0.0.1:1", "-f", "missing"}, "missing"},
		{[]string{"connect", "127.0.0.1:1", "--contract", "a", "--package", "b"}, "not both"},
		{[]string{"bench"}, "want a URL and a message"},
		{[]string{"bench", "127.0.0.1:1"}, "want a message or -f FILE"},
		{[]string{"bench", "127.0.0.1:1", "shout"}, "want request ROUTE"},
		{[]string{"bench", "127.0.0.1:1", "notify a", "--rate", "0"}, "--rate is 0, want more than 0"},
		{[]string{"bench", "127.0.0.1:1", "notify a", "--clients", "-1"}, "--clients is -1, want more than 0"},
		{[]string{"bench", "127.0.0.1:1", "-f", "missing"}, "missing"},
		{[]string{"nonsense"}, `there is no command "nonsense"; see nano --help`},
		{[]string{"gen", "cobol"}, `there is no command "cobol"; see nano gen --help`},
	} {
		if _, err := run(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("nano %s = %v, want %q in it", strings.Join(c.args, " "), err, c.want)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "nano routes ./examples/demo/chat"},
		{[]string{"gen"}, "generate a TypeScript client"},
		{[]string{"routes", "--help"}, "--diff FILE"},
		{[]string{"completion", "bash"}, "complete"},
		{[]string{"completion", "zsh"}, "compdef"},
	} {
		if out, err := run(t, c.args...); err != nil || !strings.Contains(out, c.want) {
			t.Errorf("nano %s = %v, prints %q, want %q in it", strings.Join(c.args, " "), err, out, c.want)
		}
	}
}
