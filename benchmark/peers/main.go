// Peers compares nano with other servers: WebSocket engines, an earlier version of nano, and pitaya, which speaks the
// same protocol.
//
//	go run ./benchmark/peers [-rounds 3] [-duration 2s] [-cases ws] [-nano DIR] [-pitaya DIR]
//
// The servers of a case take turns. Each runs in a fresh process, on its own processor if the system supports that.
// Servers of other projects are programs in separate modules. gws and nbio come from the module proxy; the flags name
// checkouts of nano's published version and pitaya. If a server cannot be built, the table has a row for it, and the
// reason is below. CPU is the time that the system accounts to the process. The figures are reports: no figure falls
// short, and the exit code is 1 only if nothing could be measured.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/report"
	"github.com/lonng/nano/benchmark/internal/trial"
)

func main() {
	proc.Main(trial.Roles)
	b := newBench(os.Stderr)
	flag.IntVar(&b.rounds, "rounds", b.rounds, "how often each server is measured")
	flag.DurationVar(&b.duration, "duration", b.duration, "how long one measurement takes")
	flag.StringVar(&b.dir, "dir", b.dir, "the directory of the peers' modules")
	flag.StringVar(&b.nano, "nano", "", "a checkout of nano's published version")
	flag.StringVar(&b.pitaya, "pitaya", "", "a checkout of pitaya v3")
	only := flag.String("cases", "", "run the cases whose name holds one of these words, separated by commas; all by default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.main(ctx, os.Stdout, *only); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		stop()
		os.Exit(1)
	}
}

// bench holds the settings of a run.
type bench struct {
	progress     io.Writer
	rounds       int
	warm         time.Duration
	duration     time.Duration
	dir          string // directory of the peers' modules
	nano, pitaya string // checkouts; "" for none
	clients      int    // clients of an echo case, for tests; 0 for the number of the case

	serverCPUs, loadCPUs []int
}

func newBench(progress io.Writer) *bench {
	b := &bench{progress: progress, rounds: 3, warm: time.Second / 2, duration: 2 * time.Second, dir: "benchmark/peers"}
	if cpus := proc.CPUs(); len(cpus) > 1 {
		b.serverCPUs, b.loadCPUs = cpus[len(cpus)-1:], cpus[:1]
	}
	return b
}

// figures holds the result of one measurement.
type figures struct {
	CPU      float64 // microseconds per message
	Rate     float64 // messages per second
	P50, P99 float64 // microseconds
	Faults   load.Faults
}

// main runs the cases whose name holds one of the words, and writes a table.
func (b *bench) main(ctx context.Context, out io.Writer, words string) error {
	if b.rounds < 1 || b.duration <= 0 {
		return fmt.Errorf("want a round and some time, got %d rounds and %v", b.rounds, b.duration)
	}
	programs, err := os.MkdirTemp("", "bench-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(programs)
	missing := b.build(ctx, programs)

	rows := [][]string{{"case", "server", "CPU", "x least", "a second", "p50", "p99", "faults"}}
	var notes []string
	measured := 0
	for _, c := range cases {
		if !slices.ContainsFunc(strings.Split(words, ","), func(w string) bool { return strings.Contains(c.name, w) }) {
			continue
		}
		all := make([][]figures, len(c.servers))
		failed := make([]error, len(c.servers))
		for range b.rounds {
			for i, s := range c.servers {
				if failed[i] = or(failed[i], missing[s.program]); failed[i] != nil {
					continue
				}
				f, err := b.measure(ctx, c, s, programs)
				if err != nil {
					failed[i] = err
					continue
				}
				fmt.Fprintf(b.progress, "%-16s %-16s %6.2f µs, %8.0f a second, p99 %6.0f µs, faults: %v\n", c.name, s.name, f.CPU, f.Rate, f.P99, f.Faults)
				all[i] = append(all[i], f)
			}
		}
		least := 0.0
		for i := range c.servers {
			if failed[i] == nil && (least == 0 || median(all[i]).CPU < least) {
				least = median(all[i]).CPU
			}
		}
		for i, s := range c.servers {
			if failed[i] != nil {
				rows = append(rows, []string{c.name, s.name, "not measured", "", "", "", "", ""})
				if note := fmt.Sprintf("%s: %v", s.name, failed[i]); !slices.Contains(notes, note) {
					notes = append(notes, note)
				}
				continue
			}
			measured++
			f := median(all[i])
			rows = append(rows, []string{
				c.name, s.name, fmt.Sprintf("%.2f µs", f.CPU), fmt.Sprintf("%.2f", f.CPU/least), fmt.Sprintf("%.0f", f.Rate),
				fmt.Sprintf("%.0f µs", f.P50), fmt.Sprintf("%.0f µs", f.P99), f.Faults.String(),
			})
		}
	}
	if measured == 0 {
		return fmt.Errorf("no server was measured in a case that holds %q; %s", words, strings.Join(notes, "; "))
	}
	fmt.Fprintf(out, "%s %s/%s, %d CPUs; medians of %d rounds of %v\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), b.rounds, b.duration)
	report.Table(out, 2, rows)
	fmt.Fprintln(out, "\nCPU is the server's for a message; \"x least\" is its ratio to the least of the case.")
	for _, n := range notes {
		fmt.Fprintln(out, n)
	}
	return nil
}

func or(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// median returns the median of each figure, and the sum of the faults.
func median(list []figures) (m figures) {
	of := func(get func(figures) float64) float64 {
		var v []float64
		for _, f := range list {
			v = append(v, get(f))
		}
		slices.Sort(v)
		return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	}
	m.CPU = of(func(f figures) float64 { return f.CPU })
	m.Rate = of(func(f figures) float64 { return f.Rate })
	m.P50 = of(func(f figures) float64 { return f.P50 })
	m.P99 = of(func(f figures) float64 { return f.P99 })
	for _, f := range list {
		m.Faults = m.Faults.Plus(f.Faults)
	}
	return m
}

// path returns the file of a program.
func path(programs string, p program) string { return filepath.Join(programs, string(p)) }
