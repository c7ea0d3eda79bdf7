package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/benchmark/internal/proc"
)

func TestMain(m *testing.M) {
	proc.Main(roles)
	// The race detector makes a process sleep for one second before it exits. This turns
	// that off.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

// TestMillion checks every step with few clients in several processes, over TCP and
// WebSocket.
func TestMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux")
	}
	for _, ws := range []bool{false, true} {
		m := newMillion(t.Output())
		m.n, m.files, m.ws, m.heartbeat, m.duration = 50, 20, ws, time.Second, 1500*time.Millisecond
		var out bytes.Buffer
		if err := m.main(t.Context(), &out); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		for _, want := range []string{
			"| 50, each in a room of its server", "| 6: 3 servers, and as many of clients", "to the last of 50 clients",
			"| clients kicked     | 50 ", "| connections lost   | 0 ",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%s", want, &out)
			}
		}
		if strings.Contains(out.String(), "| 0 a second") {
			t.Errorf("no heartbeats came:\n%s", &out)
		}
	}
}

// machine is a made-up machine.
type machine struct {
	memory, files int64
	err           error
}

func (m machine) freeMemory() (int64, error)   { return m.memory, m.err }
func (m machine) freeFiles() (int64, error)    { return m.files, nil }
func (m machine) kernelMemory() (int64, error) { return 0, nil }

func TestRefuses(t *testing.T) {
	const much = 1 << 40
	for _, test := range []struct {
		n    int
		m    machine
		want string // "" for no refusal
	}{
		{1_000_000, machine{memory: 15 << 30, files: much}, ""},
		{1_000_000, machine{memory: 15<<30 - 1<<20, files: much}, "need 15.0 GiB of free memory"},
		{1_000_000, machine{memory: 1 << 30, files: much}, "-n 66"},
		{20_000, machine{memory: 1 << 30, files: much}, ""},
		{20_000, machine{memory: much, files: 30_000}, "fs.file-max"},
		{20_000, machine{err: errors.New("no /proc")}, "needs Linux"},
		{0, machine{memory: much, files: much}, "a client or more"},
	} {
		m := newMillion(nil)
		m.n, m.files, m.machine = test.n, 19_936, test.m
		err := m.check()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%d clients on %+v: %v, want %q", test.n, test.m, err, test.want)
		}
		if test.want != "" && m.main(t.Context(), nil) == nil {
			t.Errorf("%d clients on %+v are not refused", test.n, test.m)
		}
	}
}

// TestInterrupted checks that no process is left when a run is interrupted.
func TestInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux")
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := newMillion(writer(func(b []byte) {
		if strings.Contains(string(b), "heartbeats") {
			cancel()
		}
	}))
	m.n, m.files, m.duration = 10, 5, time.Hour
	if err := m.main(ctx, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("main = %v, want %v", err, context.Canceled)
	}
	for _, p := range m.pairs {
		if p.server.Failed() == nil || p.clients.Failed() == nil {
			t.Error("a process is left")
		}
	}
}

// writer is a function that gets what is written.
type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}
