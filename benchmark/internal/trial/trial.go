// Package trial runs one measurement with a server process and a load generator process,
// and returns what the load cost the server.
package trial

import (
	"context"
	"fmt"
	"time"

	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/server"
)

// Roles holds the roles of the processes that trials start. Pass it to proc.Main.
var Roles = map[string]proc.Role{RoleServer: server.Role, RoleLoad: load.Role}

// These are the names of the roles: of server.Role and of load.Role.
const (
	RoleServer = "server"
	RoleLoad   = "load"
)

// Trial describes one measurement.
type Trial struct {
	Program    string // the program of the server, which has Roles too; "" for the running one
	Server     server.Spec
	Load       load.Spec // Run sets its Addr
	ServerCPUs []int     // processors of the server; nil for any
	LoadCPUs   []int
	Probe      *load.Spec // a second load from another process at the same time; nil for none
	Trace      bool       // count the server's system calls, which slows it down
	Delays     bool       // measure the delays of the logic goroutine; see server.Delays
}

// Outcome is the result of a trial. The figures of the server are those of the measured
// time.
type Outcome struct {
	load.Result
	ServerCPU time.Duration // CPU time of all threads
	Mallocs   int64         // objects allocated
	Alloc     int64         // bytes allocated
	Calls     proc.Calls    // only with Trace; all counts leave out the work of reading them

	ask      proc.Usage
	askCalls proc.Calls

	Empty, Loaded proc.Usage // usage before the first client, and at the end of the measured time; after a garbage collection with load.Idle
	Left          int64      // with load.Connect: heap bytes above Empty after all clients have left

	Probe  load.Result
	Delays server.Delays
}

// PerMessage returns the server's CPU time per message.
func (o *Outcome) PerMessage() time.Duration { return o.ServerCPU / time.Duration(max(o.Done, 1)) }

// Rate returns messages per second.
func (o *Outcome) Rate() float64 { return float64(o.Done) / o.Took.Seconds() }

// MallocsPerMessage returns the objects that the server allocated per message.
func (o *Outcome) MallocsPerMessage() float64 { return o.Each(o.Mallocs) }

// Each returns n per message.
func (o *Outcome) Each(n int64) float64 { return float64(n) / float64(max(o.Done, 1)) }

// MemoryPerClient returns the growth of the server's memory per client.
func (o *Outcome) MemoryPerClient() float64 {
	return float64(o.Loaded.Memory-o.Empty.Memory) / float64(max(o.Clients, 1))
}

// Busy returns the share of one processor that cpu was of the measured time.
func (o *Outcome) Busy(cpu time.Duration) float64 { return cpu.Seconds() / o.Took.Seconds() }

// patience is the time limit for starting, connecting and ending.
const patience = 2 * time.Minute

// Run runs the trial. All processes that it starts have ended when it returns.
func (t *Trial) Run(ctx context.Context) (o Outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience+t.Load.Warm+t.Load.Duration)
	defer cancel()
	start := proc.StartProgram
	if t.Trace {
		start = proc.StartTraced
	}
	srv, err := start(t.Program, RoleServer, t.Server, t.ServerCPUs)
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
	if t.Trace {
		if o.ask, o.askCalls, err = asking(ctx, srv); err != nil {
			return o, err
		}
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
		return proc.Start(RoleLoad, s, t.LoadCPUs)
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
	var calls proc.Calls
	if t.Trace {
		if calls, err = srv.Calls(); err != nil {
			return err
		}
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
	o.ServerCPU, o.Mallocs, o.Alloc = o.Loaded.CPU-before.CPU, o.Loaded.Mallocs-before.Mallocs, o.Loaded.Alloc-before.Alloc
	if t.Trace {
		now, err := srv.Calls()
		if err != nil {
			return err
		}
		o.Calls = now.Minus(calls).Minus(o.askCalls)
		o.Mallocs -= o.ask.Mallocs
		o.Alloc -= o.ask.Alloc
	}
	if t.Load.Kind == load.Idle { // the cost of open connections, without garbage from opening them
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

// asking measures what it costs the server to be asked for its usage.
func asking(ctx context.Context, srv *proc.Process) (cost proc.Usage, calls proc.Calls, err error) {
	var u [2]proc.Usage
	var c [2]proc.Calls
	for i := range u {
		if u[i], err = srv.Usage(ctx, false); err != nil {
			return cost, calls, err
		}
		if c[i], err = srv.Calls(); err != nil {
			return cost, calls, err
		}
	}
	return proc.Usage{Mallocs: u[1].Mallocs - u[0].Mallocs, Alloc: u[1].Alloc - u[0].Alloc}, c[1].Minus(c[0]), nil
}

// left waits until the heap has shrunk to its size without clients, for at most a few
// seconds.
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
