package main

import (
	"bytes"
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
	b := bench{rounds: 1, duration: 200 * time.Millisecond, warm: 100 * time.Millisecond, clients: 4, progress: t.Output()}
	var out bytes.Buffer
	if err := b.main(t.Context(), &out, ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if n := strings.Count(out.String(), "| "+c.name); n < 2 {
			t.Errorf("%d lines of %q, want 2 or more:\n%s", n, c.name, out.String())
		}
	}
}

func TestNoCases(t *testing.T) {
	b := bench{rounds: 1, duration: time.Second, clients: 1, progress: io.Discard}
	if err := b.main(t.Context(), io.Discard, "nothing"); err == nil {
		t.Error("a run without cases = nil, want an error")
	}
	b.rounds = 0
	if err := b.main(t.Context(), io.Discard, ""); err == nil {
		t.Error("a run without rounds = nil, want an error")
	}
}
