package lua

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/nanotest"
	jsonserializer "github.com/lonng/nano/serialize/json"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// records is a log that a test can read.
type records struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// bed is a server with one script.
type bed struct {
	*nanotest.Server
	script *Script
	path   string
	log    *records
}

// write writes a file of a script.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// module returns a script whose module has functions.
func module(functions string) string { return "local M = {}\n" + functions + "\nreturn M\n" }

// patient are the options of most tests: a busy machine must not end a call, and nothing looks
// for changes.
func patient() []Option { return []Option{WithPoll(0), WithTimeout(time.Minute)} }

// start starts a server with a script.
func start(t *testing.T, text string, opts ...Option) *bed { return startWith(t, text, nil, opts...) }

func startWith(t *testing.T, text string, server []nano.Option, opts ...Option) *bed {
	t.Helper()
	path := filepath.Join(t.TempDir(), "game.lua")
	write(t, path, text)
	b := &bed{path: path, log: &records{}}
	b.script = New(path, append(patient(), opts...)...)
	comps := &component.Components{}
	comps.Register(b.script)
	b.Server = nanotest.Start(t, append([]nano.Option{
		nano.WithComponents(comps),
		nano.WithSerializer(jsonserializer.NewSerializer()),
		nano.WithSlog(slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
	}, server...)...)
	return b
}

// ask sends a request with JSON as its payload, and returns the JSON of the reply.
func ask(t testing.TB, p *nanotest.Player, route, request string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var reply []byte
	err := p.Request(ctx, route, []byte(request), &reply)
	return string(reply), err
}

// want fails the test if a request does not get a reply.
func want(t testing.TB, p *nanotest.Player, route, request, reply string) {
	t.Helper()
	if got, err := ask(t, p, route, request); err != nil || got != reply {
		t.Errorf("%s(%s) = %s, %v, want %s", route, request, got, err, reply)
	}
}

// wantError fails the test if a request does not get an error with a code.
func wantError(t testing.TB, p *nanotest.Player, route, request, code string) {
	t.Helper()
	got, err := ask(t, p, route, request)
	var e *nano.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("%s(%s) = %s, %v, want the error %s", route, request, got, err, code)
	}
}

// logged waits until the log has a record with all texts in one line.
func (b *bed) logged(t testing.TB, texts ...string) map[string]any {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		for line := range strings.Lines(b.log.String()) {
			found := true
			for _, text := range texts {
				found = found && strings.Contains(line, text)
			}
			if found {
				var fields map[string]any
				if err := json.Unmarshal([]byte(line), &fields); err != nil {
					t.Fatal(err)
				}
				return fields
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no record with %q in the log:\n%s", texts, b.log.String())
		}
		done := make(chan struct{})
		b.Invoke(func() { close(done) })
		<-done
	}
}

var discard = slog.New(slog.DiscardHandler)

// newServer makes a server with a script that was written before.
func newServer(t *testing.T, path string, log *records, opts ...Option) (*nano.Server, *Script) {
	t.Helper()
	script := New(path, append(patient(), opts...)...)
	comps := &component.Components{}
	comps.Register(script)
	return nano.New(nano.WithComponents(comps), nano.WithSerializer(jsonserializer.NewSerializer()),
		nano.WithSlog(slog.New(slog.NewJSONHandler(log, nil)))), script
}
