// Package report writes what a benchmark found: tables, and how many figures fall short.
package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Table writes a Markdown table. The first row is the head. The first left columns are
// aligned to the left, and the others to the right.
func Table(out io.Writer, left int, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, row := range rows {
		var line, rule strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < left {
				fmt.Fprintf(&line, "| %s%s ", cell, pad)
				fmt.Fprintf(&rule, "|-%s-", strings.Repeat("-", widths[i]))
			} else {
				fmt.Fprintf(&line, "| %s%s ", pad, cell)
				fmt.Fprintf(&rule, "|-%s:", strings.Repeat("-", widths[i]))
			}
		}
		fmt.Fprintln(out, line.String()+"|")
		if n == 0 {
			fmt.Fprintln(out, rule.String()+"|")
		}
	}
}

// Attempts is how often a figure that depends on time is measured before it falls short.
const Attempts = 3

// Verdict writes the last line of a benchmark.
func Verdict(out io.Writer, short int) { fmt.Fprintf(out, "\n%d figures fall short\n", short) }
