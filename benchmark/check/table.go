package main

import (
	"fmt"
	"io"

	"github.com/lonng/nano/benchmark/internal/report"
)

// head is the first row of the table. The last two columns are of full load.
var head = []string{"case", "allocations", "bytes allocated", "system calls", "bytes written", "calls under full load", "x CPU"}

// row returns the counts of a case before and now.
func row(name string, before, now figures) []string {
	cells := []string{name}
	for _, c := range counts {
		cells = append(cells, fmt.Sprintf("%.4g -> %.4g", c.of(before), c.of(now)))
	}
	return cells
}

// finish writes the table, what changed and how much got worse.
func finish(out io.Writer, rows [][]string, notes []string, worse int) {
	report.Table(out, 1, rows)
	fmt.Fprintln(out)
	for _, n := range notes {
		fmt.Fprintln(out, n)
	}
	fmt.Fprintf(out, "%d figures got worse\n", worse)
}
