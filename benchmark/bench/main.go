// Bench measures nano against bare servers that do the same work with nothing around it: TCP and WebSocket echoes, and
// a fan-out to the members of a room.
//
//	go run ./benchmark/bench [-rounds 3] [-cases tcp,ws] [-duration 2s] [-json FILE]
//
// Servers take turns, each run in a fresh process; the server and the load generator have a processor each where the
// system can do that. Progress goes to the standard error, one table of medians, with their ratios to the bare
// server's, to the standard output. The exit code is 1 if messages were lost or a run failed; figures above their
// bounds are named and are no failure, since they depend on what else the machine does.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/trial"
)

func main() {
	proc.Main(trial.Roles)
	b := bench{progress: os.Stderr}
	flag.IntVar(&b.rounds, "rounds", 3, "how often each server is measured")
	flag.DurationVar(&b.duration, "duration", 2*time.Second, "how long one measurement takes")
	only := flag.String("cases", "", "run the cases whose name holds one of these words, separated by commas; all by default")
	file := flag.String("json", "", "write all figures to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.main(ctx, os.Stdout, selected(slices.Concat(cases, parkCases), *only), *file); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// bench holds the settings of a run of cases.
type bench struct {
	rounds   int
	duration time.Duration
	small    bool // for tests: few clients, short times
	progress io.Writer
}

// selected returns the cases that words name. Those of parkCases have to be asked for.
func selected(all []benchCase, words string) (list []benchCase) {
	const extra = "park"
	for _, c := range all {
		for word := range strings.SplitSeq(words, ",") {
			if strings.Contains(c.name, word) && strings.HasPrefix(word, extra) == strings.HasPrefix(c.name, extra) {
				list = append(list, c)
				break
			}
		}
	}
	return list
}

// main runs cases and writes their table to out. If a file name is set, it also writes
// the figures to the file.
func (b *bench) main(ctx context.Context, out io.Writer, list []benchCase, file string) error {
	if len(list) == 0 || b.rounds < 1 || b.duration <= 0 {
		return fmt.Errorf("want a case, a round and some time, got %d cases, %d rounds and %v", len(list), b.rounds, b.duration)
	}
	serverCPUs, loadCPUs := processors()
	results, err := b.run(ctx, list, serverCPUs, loadCPUs)
	if err != nil {
		return err
	}
	where := "not bound to processors"
	if serverCPUs != nil {
		where = fmt.Sprintf("the server on CPU %d, the load on CPU %d", serverCPUs[0], loadCPUs[0])
	}
	fmt.Fprintf(out, "%s %s/%s, %d CPUs, %s; medians of %d rounds of %v\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), where, b.rounds, b.duration)
	writeTable(out, results)
	if file != "" {
		data, err := json.MarshalIndent(results, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, append(data, '\n'), 0o666); err != nil {
			return err
		}
	}
	for _, r := range results {
		if r.Nano.Faults.Sum() > 0 {
			return fmt.Errorf("%s: %v", r.Case, r.Nano.Faults)
		}
	}
	return nil
}

// processors returns one processor for the server and another one for the load. It
// returns nil if processes cannot be bound to processors.
func processors() (server, load []int) {
	cpus := proc.CPUs()
	if len(cpus) < 2 {
		return nil, nil
	}
	return cpus[len(cpus)-1:], cpus[:1]
}

// run measures nano and the bare server of every case in turns.
func (b *bench) run(ctx context.Context, list []benchCase, serverCPUs, loadCPUs []int) ([]result, error) {
	var results []result
	began, total, at := time.Now(), 2*b.rounds*len(list), 0
	for _, c := range list {
		var nano, limit []figures
		for range b.rounds {
			for _, side := range []struct {
				server trial.Trial
				to     *[]figures
			}{{b.trial(c, true), &nano}, {b.trial(c, false), &limit}} {
				t := side.server
				t.ServerCPUs, t.LoadCPUs = serverCPUs, loadCPUs
				at++
				fmt.Fprintf(b.progress, "%3d of %d  %4.0fs  %-16s %-13s", at, total, time.Since(began).Seconds(), c.name, t.Server.Kind)
				o, err := t.Run(ctx)
				if err != nil {
					fmt.Fprintln(b.progress)
					return nil, fmt.Errorf("%s, %s: %w", c.name, t.Server.Kind, err)
				}
				f := newFigures(&o)
				fmt.Fprintln(b.progress, c.line(f))
				*side.to = append(*side.to, f)
			}
		}
		results = append(results, result{
			Case: c.name, Limit: string(c.limit), Nano: median(nano), Bare: median(limit), Rounds: rounds{nano, limit}, c: c,
		})
	}
	return results, nil
}
