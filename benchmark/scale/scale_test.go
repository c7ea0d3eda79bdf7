package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/benchmark/internal/load"
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

// TestScale checks that every part completes with small sizes.
func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	var out, progress bytes.Buffer
	s := newScale(&progress)
	s.duration, s.warm, s.heartbeat = 200*time.Millisecond, 300*time.Millisecond, 200*time.Millisecond
	s.connections, s.members, s.rounds, s.broadcasts, s.attempts = 200, 20, 1, 50, 1
	short, err := s.main(t.Context(), &out)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, &progress, &out)
	}
	for _, want := range []string{
		"| idle TCP connections ", "| idle WebSocket connections ", "| 200, made in ", " KiB a connection ",
		"| a room of 20 members ", "| delivery ", "| ping of another client ", "| one scheduler ", " times as many ",
		"| a storm of 200 clients ", ", and an answer for each client ", fmt.Sprintf("\n%d figures fall short\n", short),
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "heartbeats") && strings.Contains(line, " 0 a second") {
			t.Errorf("no heartbeats came: %s", line)
		}
	}
}

func TestParts(t *testing.T) {
	s := newScale(&bytes.Buffer{})
	s.only = "nothing"
	if _, err := s.main(t.Context(), &bytes.Buffer{}); err == nil {
		t.Error("no error without a part")
	}
}

// TestBest checks that the attempt with the fewest figures beyond their bounds counts, and
// the faults of all.
func TestBest(t *testing.T) {
	s := newScale(&bytes.Buffer{})
	s.note("before", "x", "1")
	runs := 0
	err := s.best(t.Context(), func(context.Context) error {
		runs++
		s.note("a", "b", "%d", runs)
		s.hold("2", runs == 2)
		s.count("a", load.Faults{Late: int64(runs)})
		return nil
	})
	if err != nil || runs != 2 || len(s.beyond) != 0 || len(s.lines) != 3 || s.lines[1].value != "2" {
		t.Errorf("%d runs, %+v, %v, want the second run after what was before", runs, s.findings, err)
	}
	if got := strings.Join(s.faults, ","); got != "a: 1 late,a: 2 late" {
		t.Errorf("faults = %q", got)
	}
	runs = 2
	if err := s.best(t.Context(), func(context.Context) error {
		runs++
		s.note("c", "d", "%d", runs)
		s.hold("2", false)
		return nil
	}); err != nil || runs != 5 || strings.Join(s.beyond, ",") != "c, d: 3" {
		t.Errorf("%d runs, beyond %q, %v, want the first of three", runs, s.beyond, err)
	}
}

func TestBeyond(t *testing.T) {
	s := newScale(&bytes.Buffer{})
	s.note("a", "b", "%d", 1)
	s.hold("2", true)
	s.note("a", "c", "%d", 3)
	s.hold("2", false)
	s.count("d", load.Faults{})
	s.count("e", load.Faults{Lost: 7})
	if got := strings.Join(s.beyond, ","); got != "a, c: 3" {
		t.Errorf("beyond = %q", got)
	}
	if got := strings.Join(s.faults, ","); got != "e: 7 lost" {
		t.Errorf("faults = %q", got)
	}
	var out bytes.Buffer
	writeTable(&out, s.lines)
	want := `| what | figure | value  | bound |
|------|--------|--------|-------|
| a    | b      | 1      | 2     |
|      | c      | 3      | 2     |
| d    | faults | 0      |       |
| e    | faults | 7 lost |       |
`
	if out.String() != want {
		t.Errorf("table:\n%swant:\n%s", &out, want)
	}
}
