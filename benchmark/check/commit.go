package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/lonng/nano/benchmark/internal/gobuild"
)

// sides are the runs of one case with the library of the commit and that of the tree.
type sides struct{ base, tree []figures }

// withCommit compares the cases with the library of a commit.
func (k *check) withCommit(ctx context.Context, out io.Writer, list []benchCase, commit string) (worse int, err error) {
	dir, err := os.MkdirTemp("", "bench-check-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	base, tree, name, err := build(ctx, dir, commit)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(out, "%s; %s and the tree, medians of %d rounds in turns\n\n", k.machine(), name, k.rounds)
	rows, notes := [][]string{head}, []string(nil)
	for _, c := range list {
		var quiet, full, timed sides
		for round := range k.rounds {
			for _, program := range turns(round, base, tree) {
				for _, s := range []struct {
					to           *sides
					full, traced bool
				}{{&quiet, false, true}, {&full, true, true}, {&timed, true, false}} {
					f, err := k.measure(ctx, c, program, s.full, s.traced)
					if err != nil {
						return 0, err
					}
					if program == base {
						s.to.base = append(s.to.base, f)
					} else {
						s.to.tree = append(s.to.tree, f)
					}
				}
			}
		}
		ratios := timed.ratios(cpu)
		rows = append(rows, append(row(c.name, median(quiet.base), median(quiet.tree)),
			fmt.Sprintf("%.4g -> %.4g", middle(each(full.base, calls)), middle(each(full.tree, calls))),
			fmt.Sprintf("%.3f (%.3f to %.3f)", middle(ratios), quartile(ratios, 1), quartile(ratios, 3))))
		for _, n := range counts {
			if quiet.worse(n) {
				worse++
				notes = append(notes, quiet.grew(c.name, n.name, n.of))
			}
		}
		if full.worse(count{of: calls, slack: .01}) {
			worse++
			notes = append(notes, full.grew(c.name, "system calls under full load", calls))
		}
		if slower(ratios) {
			notes = append(notes, fmt.Sprintf("%s: CPU is %.3f times that of %s, beyond the noise; this does not fail.", c.name, middle(ratios), name))
		}
	}
	finish(out, rows, notes, worse)
	return worse, nil
}

// turns alternates which side is first, so that neither gains from a machine that slows
// down.
func turns(round int, base, tree string) []string {
	if round%2 == 1 {
		return []string{tree, base}
	}
	return []string{base, tree}
}

func cpu(f figures) float64   { return f.cpu }
func calls(f figures) float64 { return f.Calls }

// worse reports whether a count grew by more than its tolerance, and every run of the
// tree is above every run of the commit.
func (s *sides) worse(n count) bool {
	base, tree := each(s.base, n.of), each(s.tree, n.of)
	return middle(tree) > n.most(middle(base)) && tree[0] > base[len(base)-1]
}

func (s *sides) grew(name, what string, of func(figures) float64) string {
	return fmt.Sprintf("%s: %s grew from %.4g to %.4g a message.", name, what, middle(each(s.base, of)), middle(each(s.tree, of)))
}

// ratios returns the ratio of the tree to the commit in each round, sorted.
func (s *sides) ratios(of func(figures) float64) (v []float64) {
	for i := range s.base {
		v = append(v, of(s.tree[i])/of(s.base[i]))
	}
	slices.Sort(v)
	return v
}

// quartile returns the first or the third quartile of sorted values.
func quartile(v []float64, n int) float64 {
	last := len(v) - 1
	if n == 1 {
		return v[last/4]
	}
	return v[last-last/4]
}

// slower reports whether ratios of CPU time say that the tree is slower: the median is
// above 1 by more than the tolerance and the distance of the quartiles.
func slower(ratios []float64) bool {
	return middle(ratios)-1 > math.Max(tolerance, quartile(ratios, 3)-quartile(ratios, 1))
}

// build builds this program twice: with the library of the commit and with that of the
// tree. It uses the benchmark of the tree both times. name is the short name of the
// commit.
func build(ctx context.Context, dir, commit string) (base, tree, name string, err error) {
	root, err := gobuild.Output(ctx, ".", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return "", "", "", err
	}
	if name, err = gobuild.Output(ctx, root, "git", "rev-parse", "--verify", "--short", commit+"^{commit}"); err != nil {
		return "", "", "", fmt.Errorf("no commit %q: %w", commit, err)
	}
	library := filepath.Join(dir, "library")
	if err := os.Mkdir(library, 0o777); err != nil {
		return "", "", "", err
	}
	archive := filepath.Join(dir, "library.tar")
	if _, err := gobuild.Output(ctx, root, "git", "archive", "-o", archive, name); err != nil {
		return "", "", "", err
	}
	if _, err := gobuild.Output(ctx, library, "tar", "-xf", archive); err != nil {
		return "", "", "", err
	}
	base, tree = filepath.Join(dir, "base"), filepath.Join(dir, "tree")
	for program, source := range map[string]string{base: library, tree: root} {
		if err := gobuild.Program(ctx, filepath.Join(root, "benchmark"), "./check", program, map[string]string{"github.com/lonng/nano": source}); err != nil {
			return "", "", "", fmt.Errorf("building the benchmark with the library in %s: %w", source, err)
		}
	}
	return base, tree, name, nil
}
