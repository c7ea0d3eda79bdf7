package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// figures is the cost of a message for a server. A message is an answer, a delivery or,
// with the case connect, a connection.
type figures struct {
	Objects float64 // allocated
	Bytes   float64 // allocated
	Calls   float64 // system calls that read or write
	Written float64 // bytes

	cpu float64 // microseconds
}

// count is one of the figures that have to stay the same.
type count struct {
	name  string
	of    func(figures) float64
	slack float64 // a difference up to this does not count
}

// tolerance is the largest relative difference that does not count. The counts of two
// runs differ because pools are emptied by the garbage collector, and timers fire.
const tolerance = .03

var counts = []count{
	{"allocations", func(f figures) float64 { return f.Objects }, .03},
	{"bytes allocated", func(f figures) float64 { return f.Bytes }, 4},
	{"system calls", func(f figures) float64 { return f.Calls }, .005},
	{"bytes written", func(f figures) float64 { return f.Written }, 1},
}

// most returns the largest figure that is not worse than the expected one.
func (c count) most(expected float64) float64 { return expected*(1+tolerance) + c.slack }

// withFile compares the cases with the counts of a file.
func (k *check) withFile(ctx context.Context, out io.Writer, list []benchCase, file string) (worse int, err error) {
	all, err := read(file)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(out, "%s; counts for a message, and those of %s\n\n", k.machine(), file)
	rows, notes := [][]string{head[:1+len(counts)]}, []string(nil)
	for _, c := range list {
		expected, ok := all[c.name]
		if !ok {
			return 0, fmt.Errorf("%s has no case %q; -update adds it", file, c.name)
		}
		got, err := k.least(ctx, c, expected)
		if err != nil {
			return 0, err
		}
		rows = append(rows, row(c.name, expected, got))
		for _, n := range counts {
			switch e, g := n.of(expected), n.of(got); {
			case g > n.most(e):
				worse++
				notes = append(notes, fmt.Sprintf("%s: %s grew from %.4g to %.4g a message.", c.name, n.name, e, g))
			case e > n.most(g):
				notes = append(notes, fmt.Sprintf("%s: %s fell from %.4g to %.4g a message; -update writes that down.", c.name, n.name, e, g))
			}
		}
	}
	finish(out, rows, notes, worse)
	return worse, nil
}

// least measures a case until no count is worse than expected, or no attempts are left,
// and returns the least of each.
func (k *check) least(ctx context.Context, c benchCase, expected figures) (least figures, err error) {
	for attempt := range k.attempts {
		f, err := k.measure(ctx, c, "", false, true)
		if err != nil {
			return f, err
		}
		if attempt == 0 {
			least = f
		}
		least.Objects, least.Bytes = min(least.Objects, f.Objects), min(least.Bytes, f.Bytes)
		least.Calls, least.Written = min(least.Calls, f.Calls), min(least.Written, f.Written)
		if !slices.ContainsFunc(counts, func(n count) bool { return n.of(least) > n.most(n.of(expected)) }) {
			break
		}
	}
	return least, nil
}

// update measures the cases and writes their counts to a file, which keeps those of other
// cases.
func (k *check) update(ctx context.Context, list []benchCase, file string) error {
	all, err := read(file)
	if errors.Is(err, fs.ErrNotExist) {
		all, err = map[string]figures{}, nil
	}
	if err != nil {
		return err
	}
	for _, c := range list {
		var runs []figures
		for range k.rounds {
			f, err := k.measure(ctx, c, "", false, true)
			if err != nil {
				return err
			}
			runs = append(runs, f)
		}
		all[c.name] = median(runs)
	}
	data, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o666)
}

func read(file string) (all map[string]figures, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return all, nil
}

// each returns a figure of every run, sorted.
func each(runs []figures, of func(figures) float64) (v []float64) {
	for _, f := range runs {
		v = append(v, of(f))
	}
	slices.Sort(v)
	return v
}

// middle returns the median of sorted values.
func middle(v []float64) float64 { return (v[(len(v)-1)/2] + v[len(v)/2]) / 2 }

func median(runs []figures) (m figures) {
	for of, to := range map[*count]*float64{&counts[0]: &m.Objects, &counts[1]: &m.Bytes, &counts[2]: &m.Calls, &counts[3]: &m.Written} {
		// Four significant digits are more than the runs agree on.
		v := middle(each(runs, of.of))
		_, _ = fmt.Sscan(fmt.Sprintf("%.4g", v), to)
	}
	return m
}
