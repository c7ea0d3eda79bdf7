package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/trial"
)

func TestMain(m *testing.M) {
	proc.Main(trial.Roles)
	// The race detector makes a process sleep for one second before it exits. This turns
	// that off.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

func small(t *testing.T) *check {
	k := newCheck(t.Output())
	k.rounds, k.attempts, k.warm, k.duration, k.clients = 1, 1, 50*time.Millisecond, 100*time.Millisecond, 10
	return k
}

// TestCounts checks that a case passes against its own counts, and fails against lower
// ones, each by name.
func TestCounts(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	if runtime.GOOS != "linux" {
		t.Skip("system calls are counted on Linux only")
	}
	file := filepath.Join(t.TempDir(), "counts.json")
	k, list := small(t), selected("tcp-w32")
	if _, err := k.main(t.Context(), &bytes.Buffer{}, list, "", file, true); err != nil {
		t.Fatal(err)
	}
	all, err := read(file)
	if err != nil {
		t.Fatal(err)
	}
	got := all["tcp-w32"]
	if got.Objects <= 0 || got.Bytes <= 0 || got.Calls <= 0 || got.Written < 64 {
		t.Errorf("counts = %+v, want all above 0", got)
	}
	for _, test := range []struct {
		counts string
		want   string // "" for none
		worse  int
	}{
		{`{"Objects": 1000, "Bytes": 1e9, "Calls": 1000, "Written": 1e9}`, "fell from", 0},
		{`{"Objects": 0.1, "Bytes": 1e9, "Calls": 1000, "Written": 1e9}`, "tcp-w32: allocations grew from 0.1 to", 1},
		{`{"Objects": 1000, "Bytes": 1, "Calls": 0.001, "Written": 1}`, "tcp-w32: system calls grew from 0.001 to", 3},
	} {
		if err := os.WriteFile(file, []byte(`{"tcp-w32": `+test.counts+`}`), 0o666); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		worse, err := k.main(t.Context(), &out, list, "", file, false)
		if err != nil || worse != test.worse || !strings.Contains(out.String(), test.want) {
			t.Errorf("against %s: %d worse, %v, want %d and %q:\n%s", test.counts, worse, err, test.worse, test.want, &out)
		}
	}
	if _, err := k.main(t.Context(), &bytes.Buffer{}, selected("tcp-w1"), "", file, false); err == nil {
		t.Error("no error about a case that is not in the file")
	}
	if _, err := k.main(t.Context(), &bytes.Buffer{}, nil, "", file, false); err == nil {
		t.Error("no error without cases")
	}
}

// TestCommittedCounts checks that the file of counts has every case and no other.
func TestCommittedCounts(t *testing.T) {
	all, err := read("counts.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if f, ok := all[c.name]; !ok || f.Calls <= 0 {
			t.Errorf("%s = %+v, want counts", c.name, f)
		}
		delete(all, c.name)
	}
	if len(all) > 0 {
		t.Errorf("counts of unknown cases: %v", all)
	}
}

// TestCommit checks a comparison with the last commit, and its errors.
func TestCommit(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: builds programs")
	}
	if runtime.GOOS != "linux" {
		t.Skip("system calls are counted on Linux only")
	}
	if err := exec.Command("git", "rev-parse", "--verify", "HEAD").Run(); err != nil {
		t.Skip("this is not a checkout")
	}
	k := small(t)
	var out bytes.Buffer
	if _, err := k.main(t.Context(), &out, selected("tcp-w32"), "HEAD", "", false); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "| tcp-w32 |") || !strings.Contains(out.String(), "figures got worse\n") {
		t.Errorf("no row or no verdict:\n%s", &out)
	}
	if _, err := k.main(t.Context(), &out, selected("tcp-w32"), "no-such-commit", "", false); err == nil || !strings.Contains(err.Error(), "no-such-commit") {
		t.Errorf("an unknown commit: %v, want an error with its name", err)
	}
}

func TestWorse(t *testing.T) {
	objects := counts[0]
	of := func(v ...float64) (list []figures) {
		for _, v := range v {
			list = append(list, figures{Objects: v})
		}
		return list
	}
	for _, test := range []struct {
		base, tree []figures
		want       bool
	}{
		{of(2, 2, 2), of(3, 3, 3), true},
		{of(2, 2, 2), of(2.01, 2.01, 2.01), false}, // within the tolerance
		{of(2, 2, 4), of(3, 3, 3), false},          // within the noise
		{of(3, 3, 3), of(2, 2, 2), false},
	} {
		s := sides{test.base, test.tree}
		if got := s.worse(objects); got != test.want {
			t.Errorf("worse(%v, %v) = %v, want %v", test.base, test.tree, got, test.want)
		}
	}
	for _, test := range []struct {
		ratios []float64
		want   bool
	}{
		{[]float64{1.19, 1.2, 1.2, 1.21, 1.3}, true},
		{[]float64{1.01, 1.02, 1.02, 1.02, 1.03}, false},
		{[]float64{.8, 1, 1.1, 1.3, 1.4}, false},
	} {
		if got := slower(test.ratios); got != test.want {
			t.Errorf("slower(%v) = %v, want %v", test.ratios, got, test.want)
		}
	}
}
