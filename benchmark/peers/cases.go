package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lonng/nano/benchmark/internal/gobuild"
	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/server"
)

// program is a server of another project. "" is a server of this program.
type program string

const (
	gws       program = "gws"
	nbio      program = "nbio"
	published program = "published"
	pitaya    program = "pitaya"
)

// peer is one server of a case.
type peer struct {
	name    string
	kind    server.Kind // kind of the server, if it has no program
	program program
}

// benchCase is one load and the servers that it is put on.
type benchCase struct {
	name    string
	load    load.Spec
	servers []peer
}

func echo(ws bool, window int) load.Spec {
	return load.Spec{Kind: load.Echo, Route: "Bench.Echo", WebSocket: ws, Clients: 100, Window: window}
}

func rooms(window int) load.Spec {
	return load.Spec{Kind: load.Broadcast, Route: "Bench.Say", Join: "Bench.Join", WebSocket: true, Clients: 1000, Rooms: 10, Window: window}
}

var (
	webSockets = []peer{
		{name: "ws-batch", kind: server.WSBatch}, {name: "gorilla", kind: server.WebSocket},
		{name: "gws", program: gws}, {name: "nbio", program: nbio}, {name: "nano", kind: server.NanoWebSocket},
	}
	fanouts = []peer{
		{name: "fanout-batch", kind: server.FanoutBatchWS},
		{name: "gws", program: gws}, {name: "nbio", program: nbio}, {name: "nano", kind: server.NanoWebSocket},
	}
	frameworks = []peer{
		{name: "tcp", kind: server.TCP}, {name: "nano", kind: server.Nano},
		{name: "nano, published", program: published}, {name: "pitaya", program: pitaya},
	}
)

var cases = []benchCase{
	{"ws-w1", echo(true, 1), webSockets},
	{"ws-w32", echo(true, 32), webSockets},
	{"ws-broadcast-w1", rooms(1), fanouts},
	{"ws-broadcast-w8", rooms(8), fanouts},
	{"tcp-w1", echo(false, 1), frameworks},
	{"tcp-w32", echo(false, 32), frameworks},
}

var errNoCheckout = errors.New("no flag names a checkout")

// build builds the programs of other projects and returns why some cannot be built.
func (b *bench) build(ctx context.Context, to string) map[program]error {
	missing := map[program]error{}
	for _, p := range []program{gws, nbio} {
		missing[p] = gobuild.Program(ctx, filepath.Join(b.dir, string(p)), ".", path(to, p), nil)
	}
	missing[pitaya] = b.checkout(ctx, to, pitaya, "github.com/topfreegames/pitaya/v3", b.pitaya, ".")
	// Later versions have no Register, and earlier ones no WithComponents.
	missing[published] = b.checkout(ctx, to, published, "github.com/lonng/nano", b.nano, "./listen")
	if missing[published] != nil && b.nano != "" {
		if b.checkout(ctx, to, published, "github.com/lonng/nano", b.nano, "./register") == nil {
			missing[published] = nil
		}
	}
	for p, err := range missing {
		if err != nil {
			fmt.Fprintf(b.progress, "%s cannot be had: %v\n", p, err)
		}
	}
	return missing
}

// checkout builds a program with the module in a folder. If the folder has no go.mod,
// because it is older than modules, a copy of it gets one.
func (b *bench) checkout(ctx context.Context, to string, p program, module, folder, pkg string) error {
	if folder == "" {
		return errNoCheckout
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(folder, "go.mod")); err != nil {
		copied, err := os.MkdirTemp(to, string(p)+"-")
		if err != nil {
			return err
		}
		if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(copied, "go.mod"), []byte("module "+module+"\n\ngo 1.16\n"), 0o666); err != nil {
			return err
		}
		if _, err := gobuild.Output(ctx, copied, "go", "mod", "tidy"); err != nil {
			return err
		}
		folder = copied
	}
	return gobuild.Program(ctx, filepath.Join(b.dir, string(p)), pkg, path(to, p), map[string]string{module: folder})
}
