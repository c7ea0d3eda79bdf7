package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/lonng/nano/benchmark/internal/report"
)

// result holds the figures of a case beside one of its limits: medians of nano and the
// bare server, and every round.
type result struct {
	Case       string
	Limit      string // of the bare server
	Nano, Bare figures
	Rounds     rounds

	c      benchCase
	bounds []bound
}

// excess returns the largest ratio of a time to its bound. Times are within their bounds
// up to 1.
func (r *result) excess() (largest float64) {
	for _, b := range r.bounds {
		if most, _ := b.over(r); b.timed && most > 0 {
			largest = max(largest, b.of(&r.Nano)/most)
		}
	}
	return largest
}

type rounds struct{ Nano, Bare []figures }

// median returns the median of each figure, and the sum of the faults.
func median(list []figures) (m figures) {
	of := func(get func(*figures) float64) float64 {
		var v []float64
		for i := range list {
			v = append(v, get(&list[i]))
		}
		slices.Sort(v)
		return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	}
	m.CPU = of(func(f *figures) float64 { return f.CPU })
	m.Rate = of(func(f *figures) float64 { return f.Rate })
	m.P50 = of(func(f *figures) float64 { return f.P50 })
	m.P99 = of(func(f *figures) float64 { return f.P99 })
	m.Lag = of(func(f *figures) float64 { return f.Lag })
	m.Allocs = of(func(f *figures) float64 { return f.Allocs })
	m.Memory = of(func(f *figures) float64 { return f.Memory })
	m.Left = of(func(f *figures) float64 { return f.Left })
	m.ServerBusy = of(func(f *figures) float64 { return f.ServerBusy })
	m.LoadBusy = of(func(f *figures) float64 { return f.LoadBusy })
	for _, f := range list {
		m.Faults = m.Faults.Plus(f.Faults)
	}
	return m
}

var columns = []string{"case", "limit", "CPU", "x limit", "a second", "x limit", "p50", "x limit", "p99", "x limit",
	"allocations", "memory", "x limit", "faults", "busy"}

// writeTable writes the table and its notes, and returns the number of figures that fall
// short.
func writeTable(out io.Writer, results []result) (short int) {
	table := [][]string{columns}
	for i := range results {
		table = append(table, results[i].row())
	}
	report.Table(out, 1, table)
	fmt.Fprintln(out, `
The figures are of nano; "x limit" is their ratio to those of the bare server that the column "limit" names. A case with
two limits has a row for each. CPU is the server's for a message or, with connect, for a connection; with idle
connections, that of all of them in a second. Memory is resident, for each connection; with connect, what the heap has
more when all are closed. Busy is how much of a processor the server and the load generator took.`)
	for i := range results {
		r := &results[i]
		if r.Nano.bottleneck() {
			fmt.Fprintf(out, "%s: the load generator was the bottleneck of nano.\n", r.Case)
		}
		if r.Bare.bottleneck() {
			fmt.Fprintf(out, "%s: the load generator was the bottleneck of the bare server.\n", r.Case)
		}
		if r.c.share > 0 {
			fmt.Fprintf(out, "%s: %.0f requests a second, %.0f %% of what %s bears; p99 of how late they were sent: %.0f µs for nano, %.0f µs for the bare server.\n",
				r.Case, r.c.load.Rate, 100*r.c.share, r.Limit, r.Nano.Lag, r.Bare.Lag)
		}
		if r.c.resume() {
			fmt.Fprintf(out, "%s: %s.\n", r.Case, r.pairs())
		}
		for _, b := range r.bounds {
			if most, over := b.over(r); over {
				short++
				fmt.Fprintf(out, "%s: %s is %.3g, above its bound of %.3g beside %s.\n", r.Case, b.name, b.of(&r.Nano), most, r.Limit)
			}
		}
	}
	report.Verdict(out, short)
	return short
}

// pairs says how nano with resume compares with nano without it, round by round.
func (r *result) pairs() string {
	var v []float64
	for i := range r.Rounds.Nano {
		n, b := &r.Rounds.Nano[i], &r.Rounds.Bare[i]
		if r.c.unit == idle {
			v = append(v, 1024*(n.Memory-b.Memory))
		} else {
			v = append(v, 100*(n.CPU/b.CPU-1))
		}
	}
	slices.Sort(v)
	format := "resume costs %+.1f %% of CPU, the median of %d pairs, whose quartiles are %+.1f and %+.1f %%"
	if r.c.unit == idle {
		format = "a session with resume takes %+.0f bytes, the median of %d pairs, whose quartiles are %+.0f and %+.0f"
	}
	last := len(v) - 1
	return fmt.Sprintf(format, (v[last/2]+v[len(v)/2])/2, len(v), v[last/4], v[last-last/4])
}

// row returns the figures of a case that apply to it.
func (r *result) row() []string {
	n, b := &r.Nano, &r.Bare
	row := []string{r.Case, r.Limit}
	pair := func(shown bool, format string, nano, bare float64) {
		if !shown {
			row = append(row, "", "")
			return
		}
		ratio := ""
		if bare > 0 {
			ratio = fmt.Sprintf("%.2f", nano/bare)
		}
		row = append(row, fmt.Sprintf(format, nano), ratio)
	}
	resting := r.c.unit == idle
	if resting {
		pair(true, "%.1f ms/s", n.CPU, b.CPU)
	} else {
		pair(true, "%.2f µs", n.CPU, b.CPU)
	}
	pair(!resting, "%.0f", n.Rate, b.Rate)
	pair(!resting, "%.0f µs", n.P50, b.P50)
	pair(!resting, "%.0f µs", n.P99, b.P99)
	if resting {
		row = append(row, "")
	} else {
		row = append(row, fmt.Sprintf("%.2f", n.Allocs))
	}
	if r.c.unit == connections {
		row = append(row, fmt.Sprintf("%.0f KiB left", max(n.Left, 0)), "")
	} else {
		pair(resting, "%.2f KiB", n.Memory, b.Memory)
	}
	return append(row, n.Faults.String(), fmt.Sprintf("%.0f, %.0f %%", 100*n.ServerBusy, 100*n.LoadBusy))
}
