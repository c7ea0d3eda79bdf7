// State compares package state with @colyseus/schema: bytes, processor time and the sizes of the client. It also measures
// a room with 1,000 players end to end.
//
//	make bench-state
//	go run ./benchmark/state [-cases map,views] [-short]
//
// Each case runs in processes of its own, one after the other on one processor. It needs Node and the packages of
// package-lock.json. A time that misses its bar is measured again, twice at most, and the best run counts. A fixed loop
// runs between the rounds of a time: if it deviates from its best of the run by more than 10 %, the row says "noisy" and
// does not count. The last line is the number of figures that fall short; the exit code is 1 if it is not 0.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/lonng/nano/benchmark/internal/proc"
)

// These are the time limits of the whole run. After patience, nothing is measured again.
const (
	patience = 7 * time.Minute
	limit    = 12 * time.Minute
)

func main() {
	proc.Main(roles)
	dir := flag.String("dir", "benchmark/state", "the directory of schema.mjs and its node_modules")
	only := flag.String("cases", "", "run the cases whose name holds one of these words, separated by commas; all by default")
	short := flag.Bool("short", false, "measure each time for 0.2 s and only once, to see that all cases run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	b := &bench{dir: *dir, progress: os.Stderr, attempts: 3, began: time.Now(), warm: 1500, rounds: 9, round: 200,
		settle: 5 * time.Second, span: 15 * time.Second}
	if *short {
		b.attempts, b.warm, b.rounds, b.round = 1, 50, 3, 50
		b.settle, b.span = time.Second, 2*time.Second
	}
	missed, err := b.main(ctx, os.Stdout, selected(*only), selectedRooms(*only))
	if err != nil {
		fmt.Fprintln(os.Stderr, "state:", err)
		os.Exit(1)
	}
	if missed > 0 {
		os.Exit(1)
	}
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

// bench runs cases.
type bench struct {
	dir         string
	progress    io.Writer
	attempts    int
	began       time.Time
	warm, round float64
	rounds      int
	settle      time.Duration // time from the start of an end-to-end case to the measurement
	span        time.Duration
	cpu         []int
	best        map[string]float64 // by language: the time of the fastest calibration
}

// main runs the cases, prints a table and returns the number of figures that fall short.
func (b *bench) main(ctx context.Context, out io.Writer, list []benchCase, rooms []roomCase) (missed int, err error) {
	if all := proc.CPUs(); all != nil {
		b.cpu = all[len(all)-1:]
	}
	b.best = map[string]float64{}
	if err := b.calibrate(ctx); err != nil {
		return 0, err
	}
	fmt.Fprintf(out, "%-40s %12s %12s %8s %8s\n", "", "state", "schema", "ratio", "bar")
	section := ""
	for _, c := range list {
		if name := sectionOf(c); name != section {
			section = name
			fmt.Fprintf(out, "\n%s\n", section)
		}
		r, err := b.row(ctx, c)
		switch {
		case err != nil && timeIsUp(ctx):
			missed += unmeasured(out, c.name)
			continue
		case err != nil:
			return 0, fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintln(out, r.line(c))
		missed += r.missed(c)
	}
	short, err := b.sizes(ctx, out)
	if err != nil {
		return 0, err
	}
	missed += short
	if short, err = b.rooms(ctx, out, rooms, b.settle, b.span); err != nil {
		return 0, err
	}
	missed += short
	fmt.Fprintf(out, "\n%d figures fall short\n", missed)
	return missed, nil
}

// timeIsUp reports whether the limit of the whole run has passed.
func timeIsUp(ctx context.Context) bool { return errors.Is(ctx.Err(), context.DeadlineExceeded) }

// unmeasured prints a row for which no time is left. It counts as one that falls short.
func unmeasured(out io.Writer, name string) (missed int) {
	fmt.Fprintf(out, "%-40s not measured, the time is up  SHORT\n", name)
	return 1
}

// again reports whether there is time for another attempt.
func (b *bench) again(attempt int) bool {
	return attempt < b.attempts && time.Since(b.began) < patience
}

func sectionOf(c benchCase) string {
	switch c.spec.Kind {
	case initialBytes, patchBytes:
		return "bytes of a message"
	case viewBytes:
		return "bytes of a view in a tick, entering and leaving included"
	}
	return "processor time of a tick in us, allocations of a tick"
}
