package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/benchmark/internal/proc"
)

func TestMain(m *testing.M) {
	proc.Main(roles)
	if code := m.Run(); code != 0 {
		os.Exit(code)
	}
	if err := goleak.Find(); err != nil {
		panic(err)
	}
}

// TestCases checks that every case runs with every side and loses no message.
func TestCases(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the test starts many processes, and each would sleep before it exits
	b := bench{rounds: 1, duration: 200 * time.Millisecond, warm: 100 * time.Millisecond, clients: 4, small: true, progress: t.Output()}
	var out bytes.Buffer
	short, err := b.main(t.Context(), &out, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if n := strings.Count(out.String(), "| "+c.name+" "); n < 2 {
			t.Errorf("%d lines of %q, want 2 or more:\n%s", n, c.name, out.String())
		}
	}
	for _, c := range bareCases {
		if n := strings.Count(out.String(), "| "+c.name+" "); n < 2 {
			t.Errorf("%d lines of %q, want 2 or more:\n%s", n, c.name, out.String())
		}
	}
	if !strings.HasSuffix(out.String(), fmt.Sprintf("\n%d figures fall short\n", short)) {
		t.Errorf("no verdict of %d in\n%s", short, out.String())
	}
}

func TestBeyond(t *testing.T) {
	c := benchCase{name: "x", toLocal: 2, toTCP: 3}
	r := rounds{local: {{CPU: 1}}, tcp: {{CPU: 1}}, cluster: {{CPU: 2.5}}}
	if got := c.excess(r); got != 1.25 {
		t.Errorf("excess = %v, want 1.25", got)
	}
	if got := strings.Join(c.beyond(r), "\n"); got != "x: 2.50 times the CPU of one node, above its bound of 2.00." {
		t.Errorf("beyond = %q", got)
	}
	r[cluster] = []figures{{CPU: 2}}
	if got := c.beyond(r); got != nil || c.excess(r) != 1 {
		t.Errorf("beyond = %q at the bound", got)
	}
}

func TestNoCases(t *testing.T) {
	b := bench{rounds: 1, duration: time.Second, clients: 1, progress: io.Discard}
	if _, err := b.main(t.Context(), io.Discard, "nothing"); err == nil {
		t.Error("a run without cases = nil, want an error")
	}
	b.rounds = 0
	if _, err := b.main(t.Context(), io.Discard, ""); err == nil {
		t.Error("a run without rounds = nil, want an error")
	}
}
