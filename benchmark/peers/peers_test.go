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

// TestPeers checks that every server of this program is measured without faults, and that
// a peer that cannot be had is in the table with the reason below it. Modules of peers
// are not looked up: the directory of this test has none.
func TestPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	if runtime.GOOS != "linux" {
		t.Skip("the CPU time of another process is known on Linux only")
	}
	b := newBench(t.Output())
	b.rounds, b.warm, b.duration, b.clients, b.dir = 1, 50*time.Millisecond, 150*time.Millisecond, 4, t.TempDir()
	var out bytes.Buffer
	if err := b.main(t.Context(), &out, ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		for _, s := range c.servers {
			found := false
			for line := range strings.Lines(out.String()) {
				cells := strings.Split(line, "|")
				if len(cells) != 10 || strings.TrimSpace(cells[1]) != c.name || strings.TrimSpace(cells[2]) != s.name {
					continue
				}
				found = true
				if got := strings.TrimSpace(cells[3]) == "not measured"; got != (s.program != "") {
					t.Errorf("%s, %s: %q", c.name, s.name, line)
				}
				if s.program == "" && strings.TrimSpace(cells[8]) != "0" {
					t.Errorf("%s, %s has faults: %q", c.name, s.name, line)
				}
			}
			if !found {
				t.Errorf("no row of %s, %s in\n%s", c.name, s.name, &out)
			}
		}
	}
	if !strings.Contains(out.String(), "pitaya: no flag names a checkout\n") {
		t.Errorf("no reason why pitaya is not measured:\n%s", &out)
	}
	if err := b.main(t.Context(), &out, "nothing"); err == nil {
		t.Error("no error without cases")
	}
	b.rounds = 0
	if err := b.main(t.Context(), &out, ""); err == nil {
		t.Error("no error without rounds")
	}
}

// TestCheckout checks that a program is built with a checkout that is older than modules,
// and that the checkout stays as it is.
func TestCheckout(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: builds a program")
	}
	b := newBench(t.Output())
	b.dir = t.TempDir()
	old, programs := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		filepath.Join(b.dir, "old", "go.mod"):  "module example.com/peer\n\ngo 1.26.0\n\nrequire example.com/old v0.0.0\n",
		filepath.Join(b.dir, "old", "main.go"): "package main\n\nimport \"example.com/old\"\n\nfunc main() { old.Serve() }\n",
		filepath.Join(old, "old.go"):           "package old\n\nfunc Serve() {}\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.checkout(t.Context(), programs, "old", "example.com/old", old, "."); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path(programs, "old")).CombinedOutput(); err != nil {
		t.Errorf("the program: %v: %s", err, out)
	}
	if list, err := os.ReadDir(old); err != nil || len(list) != 1 {
		t.Errorf("the checkout has %v, %v, want it unchanged", list, err)
	}
	if err := b.checkout(t.Context(), programs, "old", "example.com/old", t.TempDir(), "."); err == nil {
		t.Error("an empty checkout = nil, want an error")
	}
	if err := b.checkout(t.Context(), programs, "old", "example.com/old", "", "."); err != errNoCheckout {
		t.Errorf("no checkout = %v, want %v", err, errNoCheckout)
	}
}

func TestMedian(t *testing.T) {
	m := median([]figures{{CPU: 3, P99: 1, Faults: load.Faults{Lost: 1}}, {CPU: 1, P99: 2}, {CPU: 2, P99: 9, Faults: load.Faults{Lost: 2}}})
	if m.CPU != 2 || m.P99 != 2 || m.Faults.Lost != 3 {
		t.Errorf("median = %+v", m)
	}
}
