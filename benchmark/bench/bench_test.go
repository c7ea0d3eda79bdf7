package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/server"
	"github.com/lonng/nano/benchmark/internal/trial"
)

func TestMain(m *testing.M) {
	proc.Main(trial.Roles)
	// The race detector makes a process sleep for one second before it exits. This turns
	// that off.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

// TestBench checks that a measurement of one case completes.
func TestBench(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	var out, progress bytes.Buffer
	file := filepath.Join(t.TempDir(), "figures.json")
	b := bench{rounds: 1, duration: 100 * time.Millisecond, small: true, progress: &progress}
	short, err := b.main(t.Context(), &out, selected(cases, "tcp-w32"), file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "| tcp-w32 |   tcp |") || !strings.HasSuffix(out.String(), fmt.Sprintf("\n%d figures fall short\n", short)) {
		t.Errorf("no row of the case, or no verdict of %d, in\n%s", short, &out)
	}
	if got := strings.Count(progress.String(), "\n"); got != 2 {
		t.Errorf("%d lines of progress, want 2:\n%s", got, &progress)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var results []result
	if err := json.Unmarshal(data, &results); err != nil {
		t.Fatal(err)
	}
	if len(results) != 1 || len(results[0].Rounds.Nano) != 1 || len(results[0].Rounds.Bare) != 1 {
		t.Fatalf("results = %+v, want one of one round", results)
	}
	for _, f := range []figures{results[0].Nano, results[0].Bare} {
		if f.CPU <= 0 || f.Rate <= 0 || f.P50 <= 0 || f.P99 < f.P50 || f.Memory == 0 || f.Faults.Sum() != 0 {
			t.Errorf("figures = %+v", f)
		}
	}
}

// These cases compare resume. Only the loads with resume send acknowledgments.
func TestBenchResume(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	var out, progress bytes.Buffer
	b := bench{rounds: 1, duration: 700 * time.Millisecond, small: true, progress: &progress}
	if _, err := b.main(t.Context(), &out, selected(cases, "resume"), ""); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	for _, want := range []string{"resume-tcp-w1: resume costs", "resume-broadcast-w8: resume costs", "resume-idle-tcp: a session with resume takes"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func TestBenchWithoutCases(t *testing.T) {
	b := bench{rounds: 1, duration: time.Second}
	if _, err := b.main(t.Context(), &bytes.Buffer{}, selected(cases, "no such"), ""); err == nil {
		t.Error("no error without cases")
	}
}

func TestSelected(t *testing.T) {
	for words, want := range map[string]string{
		"tcp-w":         "tcp-w1 tcp-w32 resume-tcp-w1",
		"connect,ws-w1": "ws-w1 connect",
		"rate":          "rate-10k",
		"none":          "",
	} {
		var names []string
		for _, c := range selected(cases, words) {
			names = append(names, c.name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("selected(%q) = %q, want %q", words, got, want)
		}
	}
	all := slices.Concat(cases, parkCases)
	for words, want := range map[string]int{"": len(cases), "json-w1": 1, "park": len(parkCases), "park-wake": 2} {
		if got := len(selected(all, words)); got != want {
			t.Errorf("%d cases are selected by %q, want %d", got, words, want)
		}
	}
	if got := len(selected(cases, "")); got != len(cases) {
		t.Errorf("%d cases are selected by default, want all %d", got, len(cases))
	}
}

// TestBenchOpen checks that the rate of an open loop is a share of what the bare server
// bears, and that both limits of a case are measured.
func TestBenchOpen(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	var out bytes.Buffer
	b := bench{rounds: 1, duration: 200 * time.Millisecond, small: true, progress: t.Output()}
	if _, err := b.main(t.Context(), &out, selected(cases, "open-50,broadcast-w8"), ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| open-50 ", fmt.Sprintf("open-50: %.0f requests a second, 50 %% of what tcp bears", b.bears[server.TCP]/2),
		"| broadcast-w8        | fanout-batch |", "| broadcast-w8        |       fanout |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// TestBest checks that a case is measured again only while its times exceed their bounds.
func TestBest(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	for most, runs := range map[float64]int{1e6: 1, 1e-6: 3} {
		var progress bytes.Buffer
		b := bench{rounds: 1, duration: 100 * time.Millisecond, attempts: 3, small: true, progress: &progress}
		c := benchCase{name: "x", nano: server.Nano, load: echo(1), limits: beside(server.TCP, cpu(most), allocs(0, -1))}
		if _, err := b.main(t.Context(), &bytes.Buffer{}, []benchCase{c}, ""); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(progress.String(), "\n"); got != 2*runs {
			t.Errorf("%d measurements, want %d:\n%s", got, 2*runs, &progress)
		}
	}
}

func TestMedian(t *testing.T) {
	m := median([]figures{
		{CPU: 3, P99: 1, Faults: load.Faults{Lost: 1}}, {CPU: 1, P99: 2}, {CPU: 2, P99: 30, Faults: load.Faults{Lost: 2, Stuck: 1}},
	})
	if m.CPU != 2 || m.P99 != 2 || m.Faults != (load.Faults{Lost: 3, Stuck: 1}) {
		t.Errorf("median = %+v", m)
	}
	if m := median([]figures{{CPU: 1}, {CPU: 2}}); m.CPU != 1.5 {
		t.Errorf("median of two = %v, want 1.5", m.CPU)
	}
}

func TestBounds(t *testing.T) {
	for _, test := range []struct {
		b          bound
		nano, bare figures
		over       bool
	}{
		{cpu(1.5), figures{CPU: 3}, figures{CPU: 2}, false},
		{cpu(1.5), figures{CPU: 3.1}, figures{CPU: 2}, true},
		{allocs(0, 2), figures{Allocs: 2.05}, figures{Allocs: 7}, false},
		{allocs(1, 1), figures{Allocs: 4.2}, figures{Allocs: 3}, true},
		{memory(.6), figures{Memory: 4}, figures{Memory: 6}, true},
		{p50(1), figures{P50: 4}, figures{P50: 4}, false},
		{p99(1), figures{P99: 5}, figures{P99: 4}, true},
	} {
		if most, over := test.b.over(&result{Nano: test.nano, Bare: test.bare}); over != test.over {
			t.Errorf("%s: %+v against %+v, at most %v: over = %v", test.b.name, test.nano, test.bare, most, over)
		}
	}
}

func TestTable(t *testing.T) {
	busy := figures{CPU: 10, Rate: 1000, P50: 100, P99: 200, Allocs: 2, Memory: 4, Left: -1, ServerBusy: .5, LoadBusy: 1}
	of := func(u unit) benchCase { return benchCase{nano: server.Nano, limits: beside(server.TCP), unit: u} }
	results := []result{
		{Case: "tcp-w1", Limit: "tcp", Nano: busy, Bare: figures{CPU: 5, Rate: 2000, P50: 50, P99: 400}, c: of(messages), bounds: []bound{cpu(1.25)}},
		{Case: "idle-ws", Limit: "ws", Nano: figures{CPU: 1, Memory: 8}, Bare: figures{CPU: 2, Memory: 8}, c: of(idle)},
		{Case: "connect", Limit: "tcp", Nano: busy, c: of(connections)},
	}
	var out bytes.Buffer
	if short := writeTable(&out, results); short != 1 {
		t.Errorf("%d figures fall short, want 1", short)
	}
	for _, want := range []string{
		"| tcp-w1  |   tcp | 10.00 µs |    2.00 |     1000 |    0.50 | 100 µs |    2.00 | 200 µs |    0.50 |        2.00 |            |         |      0 | 50, 100 % |\n",
		"| idle-ws |    ws | 1.0 ms/s |    0.50 |          |         |        |         |        |         |             |   8.00 KiB |    1.00 |      0 |    0, 0 % |\n",
		"| connect |   tcp | 10.00 µs |         |     1000 |         | 100 µs |         | 200 µs |         |        2.00 | 0 KiB left |         |      0 | 50, 100 % |\n",
		"tcp-w1: the load generator was the bottleneck of nano.\n",
		"tcp-w1: CPU is 10, above its bound of 6.25 beside tcp.\n",
		"\n1 figures fall short\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines[0]) != len(lines[1]) {
		t.Errorf("the rule is not as wide as the head:\n%s\n%s", lines[0], lines[1])
	}
}

func TestPairs(t *testing.T) {
	same := benchCase{nano: server.Nano, limits: beside(server.Nano)}
	r := result{c: same, Rounds: rounds{[]figures{{CPU: 10.1}, {CPU: 11}, {CPU: 10.4}}, []figures{{CPU: 10}, {CPU: 10}, {CPU: 10}}}}
	if got, want := r.pairs(), "resume costs +4.0 % of CPU, the median of 3 pairs, whose quartiles are +1.0 and +10.0 %"; got != want {
		t.Errorf("pairs = %q, want %q", got, want)
	}
	same.unit = idle
	r = result{c: same, Rounds: rounds{[]figures{{Memory: 5}, {Memory: 6}}, []figures{{Memory: 4}, {Memory: 4}}}}
	if got, want := r.pairs(), "a session with resume takes +1536 bytes, the median of 2 pairs, whose quartiles are +1024 and +2048"; got != want {
		t.Errorf("pairs = %q, want %q", got, want)
	}
}
