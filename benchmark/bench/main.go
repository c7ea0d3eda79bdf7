// Bench compares nano with bare servers, which do the same work without a framework: TCP and WebSocket echoes, and a
// fan-out to the members of a room.
//
//	go run ./benchmark/bench [-rounds 3] [-cases tcp,ws] [-duration 2s] [-json FILE]
//
// Servers take turns, each run in a fresh process; the server and the load generator have a processor each where the
// system can do that. A case whose times exceed their bounds is measured again, twice at most, and the best run counts.
// Progress goes to the standard error. One table goes to the standard output: medians, and their ratios to those of the
// bare servers. Its last line is the number of figures that fall short. The exit code is 1 if that is not 0, if
// messages were lost or if a run failed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/report"
	"github.com/lonng/nano/benchmark/internal/server"
	"github.com/lonng/nano/benchmark/internal/trial"
)

func main() {
	proc.Main(trial.Roles)
	b := bench{progress: os.Stderr, attempts: report.Attempts}
	b.serverCPUs, b.loadCPUs = processors()
	flag.IntVar(&b.rounds, "rounds", 3, "how often each server is measured")
	flag.DurationVar(&b.duration, "duration", 2*time.Second, "how long one measurement takes")
	only := flag.String("cases", "", "run the cases whose name holds one of these words, separated by commas; all by default")
	file := flag.String("json", "", "write all figures to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	short, err := b.main(ctx, os.Stdout, selected(slices.Concat(cases, parkCases), *only), *file)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil || short > 0 {
		stop()
		os.Exit(1)
	}
}

// bench holds the settings of a run of cases.
type bench struct {
	rounds   int
	duration time.Duration
	attempts int  // how often a case is measured whose times exceed their bounds
	small    bool // for tests: few clients, short times
	progress io.Writer

	serverCPUs, loadCPUs []int

	began time.Time
	bears map[server.Kind]float64 // messages per second that a bare server can serve, measured when it is needed
}

// selected returns the cases that words name. It returns cases of parkCases only if words
// asks for them.
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

// main runs cases, writes their table to out and returns the number of figures that fall
// short. If a file name is set, it also writes the figures to the file.
func (b *bench) main(ctx context.Context, out io.Writer, list []benchCase, file string) (short int, err error) {
	if len(list) == 0 || b.rounds < 1 || b.duration <= 0 {
		return 0, fmt.Errorf("want a case, a round and some time, got %d cases, %d rounds and %v", len(list), b.rounds, b.duration)
	}
	b.began, b.bears = time.Now(), map[server.Kind]float64{}
	var results []result
	for _, c := range list {
		r, err := b.best(ctx, c)
		if err != nil {
			return 0, err
		}
		results = append(results, r...)
	}
	where := "not bound to processors"
	if b.serverCPUs != nil {
		where = fmt.Sprintf("the server on CPU %d, the load on CPU %d", b.serverCPUs[0], b.loadCPUs[0])
	}
	fmt.Fprintf(out, "%s %s/%s, %d CPUs, %s; medians of %d rounds of %v\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), where, b.rounds, b.duration)
	short = writeTable(out, results)
	if file != "" {
		data, err := json.MarshalIndent(results, "", "\t")
		if err != nil {
			return short, err
		}
		if err := os.WriteFile(file, append(data, '\n'), 0o666); err != nil {
			return short, err
		}
	}
	for _, r := range results {
		if r.Nano.Faults.Sum() > 0 {
			return short, fmt.Errorf("%s: %v", r.Case, r.Nano.Faults)
		}
	}
	return short, nil
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

// best measures a case until its times are within their bounds or no attempts are left.
// It returns the attempt that exceeds its bounds least.
func (b *bench) best(ctx context.Context, c benchCase) (best []result, err error) {
	if c.share > 0 {
		if c.load.Rate, err = b.bearable(ctx, c.limits[0].kind); err != nil {
			return nil, err
		}
		c.load.Rate *= c.share
	}
	least := math.Inf(1)
	for range max(b.attempts, 1) {
		r, err := b.run(ctx, c)
		if err != nil {
			return nil, err
		}
		excess := 0.0
		for i := range r {
			excess = max(excess, r[i].excess())
		}
		if excess < least || best == nil {
			best, least = r, excess
		}
		if least <= 1 {
			break
		}
	}
	return best, nil
}

// run measures nano and the bare servers of a case in turns.
func (b *bench) run(ctx context.Context, c benchCase) (results []result, err error) {
	for _, l := range c.limits {
		results = append(results, result{Case: c.name, Limit: string(l.kind), c: c, bounds: l.bounds})
	}
	for range b.rounds {
		nano, err := b.measure(ctx, c, c.nano, true)
		if err != nil {
			return nil, err
		}
		for i, l := range c.limits {
			bare, err := b.measure(ctx, c, l.kind, false)
			if err != nil {
				return nil, err
			}
			r := &results[i].Rounds
			r.Nano, r.Bare = append(r.Nano, nano), append(r.Bare, bare)
		}
	}
	for i := range results {
		r := &results[i]
		r.Nano, r.Bare = median(r.Rounds.Nano), median(r.Rounds.Bare)
	}
	return results, nil
}

func (b *bench) measure(ctx context.Context, c benchCase, k server.Kind, nano bool) (f figures, err error) {
	t := b.trial(c, k, nano)
	fmt.Fprintf(b.progress, "%4.0fs  %-19s %-13s", time.Since(b.began).Seconds(), c.name, k)
	o, err := t.Run(ctx)
	if err != nil {
		fmt.Fprintln(b.progress)
		return f, fmt.Errorf("%s, %s: %w", c.name, k, err)
	}
	f = newFigures(&o)
	fmt.Fprintln(b.progress, c.line(f))
	return f, nil
}

// bearable returns the requests a second that a bare server answers when it never waits.
func (b *bench) bearable(ctx context.Context, k server.Kind) (float64, error) {
	if rate := b.bears[k]; rate > 0 {
		return rate, nil
	}
	var runs []figures
	for range b.rounds {
		f, err := b.measure(ctx, benchCase{name: "what it bears", load: bearing, limits: beside(k)}, k, false)
		if err != nil {
			return 0, err
		}
		runs = append(runs, f)
	}
	b.bears[k] = median(runs).Rate
	return b.bears[k], nil
}
