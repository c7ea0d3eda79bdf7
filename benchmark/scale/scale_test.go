package main

import (
	"bytes"
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
	s.connections, s.members, s.rounds, s.broadcasts = 200, 20, 1, 50
	if err := s.main(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &progress, &out)
	}
	for _, want := range []string{
		"| idle TCP connections ", "| idle WebSocket connections ", "| 200, made in ", " KiB a connection ",
		"| a room of 20 members ", "| delivery ", "| ping of another client ", "| one scheduler ", " times as many ",
		"| a storm of 200 clients ", ", and an answer for each client ",
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
	if err := s.main(t.Context(), &bytes.Buffer{}); err == nil {
		t.Error("no error without a part")
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
