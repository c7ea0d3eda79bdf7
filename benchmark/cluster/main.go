// Cluster measures what it costs that another machine serves a message: clients at a gate whose messages a second node
// serves, against one node that serves them itself, and against two bare programs with one TCP connection between them.
//
//	go run ./benchmark/cluster [-rounds 3] [-duration 2s] [-clients 64] [-cases "round trip,one way"]
//
// All of them run on this machine, in processes of their own, in turns. CPU is that of all server processes together.
// Progress goes to the standard error, one table of medians to the standard output. The exit code is 1 if messages
// were lost or a run failed; figures beyond their bounds are named and are no failure, since they depend on what else the
// machine does.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/proc"
)

const (
	roleServer = "server"
	roleLoad   = "load"
	roleStream = "stream"
)

var roles = map[string]proc.Role{roleServer: serve, roleLoad: load.Role, roleStream: stream}

func main() {
	proc.Main(roles)
	b := bench{progress: os.Stderr, warm: time.Second}
	flag.IntVar(&b.rounds, "rounds", 3, "how often each side is measured")
	flag.DurationVar(&b.duration, "duration", 2*time.Second, "how long one measurement takes")
	flag.IntVar(&b.clients, "clients", 64, "how many clients there are")
	only := flag.String("cases", "", "run the cases whose name holds one of these words, separated by commas; all by default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.main(ctx, os.Stdout, *only); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		stop()
		os.Exit(1)
	}
}

// benchCase is one load.
type benchCase struct {
	name   string
	window int     // requests in flight per client; 0 for notifies at the highest rate
	bound  float64 // largest ratio of the cluster's CPU per message to that of one node; 0 for no bound
}

var cases = []benchCase{
	{"round trip, 1 in flight", 1, 2.5},
	{"round trip, 32 in flight", 32, 8},
	{"one way", 0, 0},
}

// bench holds the settings of a run of cases. A warm-up precedes each measurement.
type bench struct {
	rounds   int
	duration time.Duration
	warm     time.Duration
	clients  int
	progress io.Writer
}

// figures holds the result of one measurement.
type figures struct {
	CPU  float64 // microseconds per message
	Rate float64 // messages per second
	P50  float64 // microseconds
}

// patience is the time limit for starting, connecting and ending.
const patience = time.Minute

func (b *bench) main(ctx context.Context, out io.Writer, words string) error {
	if b.rounds < 1 || b.duration <= 0 {
		return fmt.Errorf("want a round and some time, got %d rounds and %v", b.rounds, b.duration)
	}
	var rows [][]string
	var beyond []string
	for _, c := range cases {
		if !slices.ContainsFunc(strings.Split(words, ","), func(w string) bool { return strings.Contains(c.name, w) }) {
			continue
		}
		all := make(map[side][]figures)
		for range b.rounds {
			for _, s := range sides {
				f, err := b.measure(ctx, c, s)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", c.name, s, err)
				}
				fmt.Fprintf(b.progress, "%-25s %-9s %7.2f µs, %8.0f a second, p50 %6.0f µs\n", c.name, s, f.CPU, f.Rate, f.P50)
				all[s] = append(all[s], f)
			}
		}
		for _, get := range []struct {
			what, format string
			of           func(figures) float64
		}{
			{"CPU for a message", "%.2f µs", func(f figures) float64 { return f.CPU }},
			{"messages a second", "%.0f", func(f figures) float64 { return f.Rate }},
			{"p50", "%.0f µs", func(f figures) float64 { return f.P50 }},
		} {
			one, link, two := median(all[local], get.of), median(all[tcp], get.of), median(all[cluster], get.of)
			if two == 0 {
				continue // the latency of notifies is not known
			}
			rows = append(rows, []string{
				c.name, get.what, fmt.Sprintf(get.format, one), fmt.Sprintf(get.format, link), fmt.Sprintf(get.format, two),
				fmt.Sprintf("%.2f", two/one), fmt.Sprintf("%.2f", two/link),
			})
			if ratio := two / one; get.what == "CPU for a message" && c.bound > 0 && ratio > c.bound {
				beyond = append(beyond, fmt.Sprintf("%s: %.2f times the CPU of one node, want %.1f at most", c.name, ratio, c.bound))
			}
		}
	}
	if rows == nil {
		return fmt.Errorf("no case is called %q", words)
	}
	fmt.Fprintf(out, "%s %s/%s, %d CPUs for everything; %d clients, medians of %d rounds of %v\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), b.clients, b.rounds, b.duration)
	write(out, append([][]string{{"case", "figure", "one node", "TCP link", "cluster", "x one node", "x TCP link"}}, rows...))
	if len(beyond) > 0 {
		fmt.Fprintf(out, "\nBeyond their bounds: %s.\n", strings.Join(beyond, "; "))
	}
	return nil
}

func median(list []figures, of func(figures) float64) float64 {
	var v []float64
	for _, f := range list {
		v = append(v, of(f))
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// measure starts the servers of a side and runs a load.
func (b *bench) measure(ctx context.Context, c benchCase, s side) (f figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience+b.warm+b.duration)
	defer cancel()
	var servers []*proc.Process
	defer func() {
		var wg sync.WaitGroup
		for _, p := range servers {
			wg.Go(p.End)
		}
		wg.Wait()
	}()
	addr := ""
	for _, kind := range s.servers() {
		p, err := proc.Start(roleServer, serverSpec{Kind: kind, Peer: addr, Count: c.window == 0}, nil)
		if err != nil {
			return f, err
		}
		servers = append(servers, p)
		var ready readiness
		if err := p.Await(ctx, "ready", &ready); err != nil {
			return f, err
		}
		addr = ready.Addr
	}
	if c.window == 0 {
		return b.stream(ctx, addr, servers)
	}
	gen, err := proc.Start(roleLoad, load.Spec{
		Kind: load.Echo, Addr: addr, Size: 64, Clients: b.clients, Window: c.window, Route: "Bench.Echo", Warm: b.warm, Duration: b.duration,
	}, nil)
	if err != nil {
		return f, err
	}
	defer gen.End()
	if err := gen.Await(ctx, "begin", nil); err != nil {
		return f, err
	}
	before, err := cpu(ctx, servers)
	if err != nil {
		return f, err
	}
	if err := gen.Await(ctx, "end", nil); err != nil {
		return f, err
	}
	after, err := cpu(ctx, servers)
	if err != nil {
		return f, err
	}
	var r load.Result
	if err := gen.Await(ctx, "result", &r); err != nil {
		return f, err
	}
	if r.Sum() > 0 || r.Done == 0 {
		return f, fmt.Errorf("%d answers, faults: %v", r.Done, r.Faults)
	}
	return figures{
		CPU: micros(after-before) / float64(r.Done), Rate: float64(r.Done) / r.Took.Seconds(), P50: micros(r.P50),
	}, nil
}

// stream sends notifies and measures how many of them the serving node gets.
func (b *bench) stream(ctx context.Context, addr string, servers []*proc.Process) (f figures, err error) {
	gen, err := proc.Start(roleStream, streamSpec{Addr: addr, Clients: b.clients}, nil)
	if err != nil {
		return f, err
	}
	defer gen.End()
	if err := gen.Await(ctx, "flows", nil); err != nil {
		return f, err
	}
	look := func() (at time.Time, used time.Duration, n int64, err error) {
		at = time.Now()
		if used, err = cpu(ctx, servers); err == nil {
			err = servers[0].Ask(ctx, "count", &n)
		}
		return at, used, n, err
	}
	time.Sleep(b.warm)
	began, used, n, err := look()
	if err != nil {
		return f, err
	}
	time.Sleep(b.duration)
	ended, usedNow, now, err := look()
	if err != nil {
		return f, err
	}
	if err := gen.Failed(); err != nil {
		return f, err
	}
	if now == n {
		return f, fmt.Errorf("no message came in %v", b.duration)
	}
	return figures{CPU: micros(usedNow-used) / float64(now-n), Rate: float64(now-n) / ended.Sub(began).Seconds()}, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// cpu returns the CPU time that the processes have used together.
func cpu(ctx context.Context, list []*proc.Process) (sum time.Duration, err error) {
	for _, p := range list {
		u, err := p.Usage(ctx, false)
		if err != nil {
			return 0, err
		}
		sum += u.CPU
	}
	return sum, nil
}

// write writes rows as a Markdown table.
func write(out io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if i < 2 {
				fmt.Fprintf(out, "| %s%s ", cell, pad)
			} else {
				fmt.Fprintf(out, "| %s%s ", pad, cell)
			}
		}
		fmt.Fprintln(out, "|")
		if n > 0 {
			continue
		}
		for i, w := range widths {
			if i < 2 {
				fmt.Fprintf(out, "|-%s-", strings.Repeat("-", w))
			} else {
				fmt.Fprintf(out, "|-%s:", strings.Repeat("-", w))
			}
		}
		fmt.Fprintln(out, "|")
	}
}
