// Check says whether messages cost more than they did: objects and bytes allocated, system calls that read or write, bytes
// written and processor time for a message.
//
//	go run ./benchmark/check                 # against counts.json
//	go run ./benchmark/check -update         # write counts.json
//	go run ./benchmark/check -base COMMIT    # against a commit, in turns
//
// Each case runs with one client, or one room, that pauses after each window of messages. The server then does the same
// work on any machine, and its counts are the same up to a few parts in a thousand. counts.json holds them, so the check
// needs no commit to compare with: a shallow clone has none, and comparing only with the last commit would let costs grow
// in small steps. System calls are those that transfer bytes or change what an epoll instance watches; a process that
// traces the server counts them, on Linux.
//
// With -base this program is built with the library of the commit and with that of the tree, and the servers of both take
// turns. The cases also run under full load then: once traced, because system calls depend on how many messages share
// one, and once more for processor time. Differences count if they are beyond the noise of the rounds.
//
// The table goes to the standard output. The last line is the number of figures that got worse; the exit code is 1 if it
// is not 0. Processor time is reported, and does not change the exit code.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"

	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/trial"
)

func main() {
	proc.Main(trial.Roles)
	k := newCheck(os.Stderr)
	base := flag.String("base", "", "compare with this commit instead of with the file of counts")
	file := flag.String("counts", "benchmark/check/counts.json", "the file of counts")
	update := flag.Bool("update", false, "write the file of counts")
	only := flag.String("cases", "", "run the cases whose name holds one of these words, separated by commas; all by default")
	flag.IntVar(&k.rounds, "rounds", k.rounds, "with -base: how often each side is measured")
	flag.DurationVar(&k.duration, "duration", k.duration, "how long one measurement takes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	worse, err := k.main(ctx, os.Stdout, selected(*only), *base, *file, *update)
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
	}
	if err != nil || worse > 0 {
		stop()
		os.Exit(1)
	}
}

// check holds the settings of a run.
type check struct {
	progress io.Writer
	rounds   int
	attempts int           // with counts: how often a case that got worse is measured
	warm     time.Duration // before a measurement
	duration time.Duration
	clients  int // under full load; 0 for those of the case

	serverCPUs, loadCPUs []int
}

func newCheck(progress io.Writer) *check {
	k := &check{progress: progress, rounds: 5, attempts: 3, warm: 300 * time.Millisecond, duration: 700 * time.Millisecond}
	if cpus := proc.CPUs(); len(cpus) > 1 {
		k.serverCPUs, k.loadCPUs = cpus[len(cpus)-1:], cpus[:1]
	}
	return k
}

func selected(words string) (list []benchCase) {
	for _, c := range cases {
		for word := range strings.SplitSeq(words, ",") {
			if strings.Contains(c.name, word) {
				list = append(list, c)
				break
			}
		}
	}
	return list
}

// main compares the cases and returns the number of counts that got worse.
func (k *check) main(ctx context.Context, out io.Writer, list []benchCase, base, file string, update bool) (worse int, err error) {
	if len(list) == 0 || k.rounds < 1 || k.duration <= 0 {
		return 0, fmt.Errorf("want a case, a round and some time, got %d cases, %d rounds and %v", len(list), k.rounds, k.duration)
	}
	if base != "" {
		return k.withCommit(ctx, out, list, base)
	}
	if update {
		return 0, k.update(ctx, list, file)
	}
	return k.withFile(ctx, out, list, file)
}

// measure runs a case once, with pauses or under full load, on the server of a program. It
// counts system calls if traced is set.
func (k *check) measure(ctx context.Context, c benchCase, program string, full, traced bool) (figures, error) {
	fmt.Fprintf(k.progress, "%-14s", c.name)
	t := c.trial(full)
	t.Trace = traced
	if full && k.clients > 0 {
		t.Load.Clients = k.clients
	}
	t.Program, t.ServerCPUs, t.LoadCPUs = program, k.serverCPUs, k.loadCPUs
	t.Load.Size, t.Load.Warm, t.Load.Duration = 64, k.warm, k.duration
	o, err := t.Run(ctx)
	if err == nil && (o.Sum() > 0 || o.Done == 0) {
		err = fmt.Errorf("%d messages, faults: %v", o.Done, o.Faults)
	}
	if err != nil {
		fmt.Fprintln(k.progress)
		return figures{}, fmt.Errorf("%s: %w", c.name, err)
	}
	f := figures{
		Objects: o.Each(o.Mallocs), Bytes: o.Each(o.Alloc), Calls: o.Each(o.Calls.Count), Written: o.Each(o.Calls.Written),
		cpu: float64(o.PerMessage()) / float64(time.Microsecond),
	}
	fmt.Fprintf(k.progress, "%8d messages, %6.3f objects of %7.1f bytes, %6.4f system calls, %7.1f bytes written, %6.2f µs\n",
		o.Done, f.Objects, f.Bytes, f.Calls, f.Written, f.cpu)
	return f, nil
}

// machine says where the figures were measured.
func (k *check) machine() string {
	return fmt.Sprintf("%s %s/%s, %d CPUs", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
}
