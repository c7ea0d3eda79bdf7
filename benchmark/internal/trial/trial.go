// Package trial owns one measurement: a server and a load generator, each a process of its own, and what the one cost
// while the other was at it.
package trial

import (
	"context"
	"fmt"
	"time"

	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/server"
)

// Roles are the processes that trials start; proc.Main needs them.
var Roles = map[string]proc.Role{roleServer: server.Role, roleLoad: load.Role}

const (
	roleServer = "server"
	roleLoad   = "load"
)

// Trial is what is measured.
type Trial struct {
	Server     server.Spec
	Load       load.Spec // its Addr is set by Run
	ServerCPUs []int     // where the server runs; nil for anywhere
	LoadCPUs   []int
	Probe      *load.Spec // a second load at the same time, from a process of its own; nil for none
	Delays     bool       // probe the logic goroutine from within; see server.Delays
}

// Outcome is what a trial found. Of the server, the figures are of the measured time.
type Outcome struct {
	load.Result
	ServerCPU time.Duration // of all its threads
	Mallocs   int64         // objects

	Empty, Loaded proc.Usage // before the first client, and at the end of the measured time; with load.Idle, collected
	Left          int64      // with load.Connect: bytes of heap more than Empty's, when all clients were gone

	Probe  load.Result
	Delays server.Delays
}

// PerMessage is the server's time for each message.
func (o *Outcome) PerMessage() time.Duration { return o.ServerCPU / time.Duration(max(o.Done, 1)) }

// Rate is messages per second.
func (o *Outcome) Rate() float64 { return float64(o.Done) / o.Took.Seconds() }

// MallocsPerMessage is the objects that the server allocated for each message.
func (o *Outcome) MallocsPerMessage() float64 { return float64(o.Mallocs) / float64(max(o.Done, 1)) }

// MemoryPerClient is how much larger the server became, for each client.
func (o *Outcome) MemoryPerClient() float64 {
	return float64(o.Loaded.Memory-o.Empty.Memory) / float64(max(o.Clients, 1))
}

// Busy is how much of one processor something took in the measured time.
func (o *Outcome) Busy(cpu time.Duration) float64 { return cpu.Seconds() / o.Took.Seconds() }

// patience is what starting, connecting and ending may take.
const patience = 2 * time.Minute

// Run makes the trial. All processes that it starts have ended when it returns.
func (t *Trial) Run(ctx context.Context) (o Outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience+t.Load.Warm+t.Load.Duration)
	defer cancel()
	srv, err := proc.Start(roleServer, t.Server, t.ServerCPUs)
	if err != nil {
		return o, err
	}
	defer srv.End()
	var ready server.Ready
	if err := srv.Await(ctx, "ready", &ready); err != nil {
		return o, err
	}
	if o.Empty, err = srv.Usage(ctx, true); err != nil {
		return o, err
	}
	if err := t.measure(ctx, srv, ready.Addr, &o); err != nil {
		if gone := srv.Failed(); gone != nil {
			err = fmt.Errorf("%w (%w)", err, gone)
		}
		return o, err
	}
	if t.Load.Kind == load.Connect {
		o.Left, err = left(ctx, srv, o.Empty.Heap)
	}
	return o, err
}

func (t *Trial) measure(ctx context.Context, srv *proc.Process, addr string, o *Outcome) error {
	start := func(s load.Spec) (*proc.Process, error) {
		s.Addr = addr
		return proc.Start(roleLoad, s, t.LoadCPUs)
	}
	gen, err := start(t.Load)
	if err != nil {
		return err
	}
	defer gen.End()
	if err := gen.Await(ctx, "begin", nil); err != nil {
		return err
	}
	var probe *proc.Process
	if t.Probe != nil {
		if probe, err = start(*t.Probe); err != nil {
			return err
		}
		defer probe.End()
	}
	if t.Delays {
		if err := srv.Ask(ctx, "probe", &o.Delays); err != nil {
			return err
		}
	}
	before, err := srv.Usage(ctx, t.Load.Kind == load.Idle)
	if err != nil {
		return err
	}
	if err := gen.Await(ctx, "end", nil); err != nil {
		return err
	}
	if o.Loaded, err = srv.Usage(ctx, false); err != nil {
		return err
	}
	if t.Delays {
		if err := srv.Ask(ctx, "probe", &o.Delays); err != nil {
			return err
		}
	}
	o.ServerCPU, o.Mallocs = o.Loaded.CPU-before.CPU, o.Loaded.Mallocs-before.Mallocs
	if t.Load.Kind == load.Idle { // what connections take, without what making them has left behind
		if o.Loaded, err = srv.Usage(ctx, true); err != nil {
			return err
		}
	}
	if err := gen.Await(ctx, "result", &o.Result); err != nil {
		return err
	}
	if probe == nil {
		return nil
	}
	for _, event := range []string{"begin", "end"} {
		if err := probe.Await(ctx, event, nil); err != nil {
			return err
		}
	}
	return probe.Await(ctx, "result", &o.Probe)
}

// left waits until the heap is as it was without clients, or a few seconds, in which it shrinks to what it will.
func left(ctx context.Context, srv *proc.Process, empty int64) (int64, error) {
	least := int64(1) << 62
	for range 6 {
		u, err := srv.Usage(ctx, true)
		if err != nil {
			return 0, err
		}
		if least = min(least, u.Heap-empty); least < 64<<10 {
			break
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
	return least, nil
}
