package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"time"

	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/server"
	"github.com/lonng/nano/benchmark/internal/trial"
)

// patience is the time limit for starting, connecting and ending.
const patience = time.Minute

// measure runs a case once on one server.
func (b *bench) measure(ctx context.Context, c benchCase, s peer, programs string) (f figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience+b.warm+b.duration)
	defer cancel()
	srv, addr, err := b.start(ctx, c, s, programs)
	if err != nil {
		return f, err
	}
	defer srv.End()
	l := c.load
	l.Addr, l.Size, l.Warm, l.Duration = addr, 64, b.warm, b.duration
	if b.clients > 0 {
		l.Clients = max(b.clients, 2*l.Rooms)
	}
	gen, err := proc.Start(trial.RoleLoad, l, b.loadCPUs)
	if err != nil {
		return f, err
	}
	defer gen.End()
	if err := gen.Await(ctx, "begin", nil); err != nil {
		return f, err
	}
	before, err := srv.CPU()
	if err != nil {
		return f, err
	}
	if err := gen.Await(ctx, "end", nil); err != nil {
		return f, err
	}
	after, err := srv.CPU()
	if err != nil {
		return f, err
	}
	var r load.Result
	if err := gen.Await(ctx, "result", &r); err != nil {
		return f, err
	}
	if r.Done == 0 {
		return f, fmt.Errorf("no message was answered, faults: %v", r.Faults)
	}
	return figures{
		CPU: micro(after-before) / float64(r.Done), Rate: float64(r.Done) / r.Took.Seconds(),
		P50: micro(r.P50), P99: micro(r.P99), Faults: r.Faults,
	}, nil
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// start starts a server and returns its address.
func (b *bench) start(ctx context.Context, c benchCase, s peer, programs string) (*proc.Process, string, error) {
	if s.program == "" {
		srv, err := proc.Start(trial.RoleServer, server.Spec{Kind: s.kind}, b.serverCPUs)
		if err != nil {
			return nil, "", err
		}
		var ready server.Ready
		if err := srv.Await(ctx, "ready", &ready); err != nil {
			srv.End()
			return nil, "", err
		}
		return srv, ready.Addr, nil
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, "", err
	}
	mode := "echo"
	if c.load.Kind == load.Broadcast {
		mode = "rooms"
	}
	srv, err := proc.StartCommand(s.name, exec.Command(path(programs, s.program), addr, mode), b.serverCPUs)
	if err != nil {
		return nil, "", err
	}
	if err := accepts(ctx, srv, addr); err != nil {
		srv.End()
		return nil, "", err
	}
	return srv, addr, nil
}

// freeAddr returns an address on which nothing listens.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// accepts waits until a server accepts connections.
func accepts(ctx context.Context, srv *proc.Process, addr string) error {
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		if gone := srv.Failed(); gone != nil {
			return gone
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
