package nano_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// Atlas has two routes for clients and one for nodes.
type Atlas struct {
	component.Base
	started bool
}

// Init records that the server started.
func (a *Atlas) Init() { a.started = true }

// Show is a handler for clients.
func (a *Atlas) Show(*session.Session, []byte) error { return nil }

// Find is a handler for clients.
func (a *Atlas) Find(*session.Session, []byte) error { return nil }

// Sync is a handler for other nodes.
func (a *Atlas) Sync(context.Context, *struct{}) (*struct{}, error) { return nil, nil }

func TestRoutesFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "routes")
	t.Setenv("NANO_ROUTES_FILE", file)
	atlas := &Atlas{}
	options := func(name string) []nano.Option {
		c := &component.Components{}
		c.Register(atlas, component.WithName(name), component.WithNameFunc(strings.ToLower))
		return []nano.Option{nano.WithComponents(c), nano.WithSerializer(json.NewSerializer()), nano.WithSlog(slog.New(slog.DiscardHandler))}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()

	// The address is in use, so the error would differ if Listen opened it first.
	for _, start := range []func() error{
		func() error { return nano.New(options("a")...).Start() },
		func() error { return nano.Listen(taken.Addr().String(), options("b")...) },
	} {
		if err := start(); err == nil || !strings.Contains(err.Error(), "wrote 3 routes to "+file+" instead of starting") {
			t.Errorf("start = %v, want that the routes were written", err)
		}
	}
	if atlas.started {
		t.Error("Init ran, want no start")
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	for _, name := range []string{"a", "b"} {
		var list []string
		for _, method := range []string{"Find", "Show", "Sync"} {
			list = append(list, `{"route":"`+name+"."+strings.ToLower(method)+
				`","component":"github.com/lonng/nano_test.Atlas","method":"`+method+`"}`)
		}
		want += "[" + strings.Join(list, ",") + "]\n"
	}
	if string(got) != want {
		t.Errorf("routes = %s, want %s", got, want)
	}
}

func TestRoutesFileThatCannotBeWritten(t *testing.T) {
	t.Setenv("NANO_ROUTES_FILE", t.TempDir()) // the path of a directory
	if err := nano.New().Start(); err == nil || !strings.Contains(err.Error(), "NANO_ROUTES_FILE") {
		t.Errorf("Start() = %v, want an error that names NANO_ROUTES_FILE", err)
	}
}
