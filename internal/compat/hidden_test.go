package compat

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// hidden lists machinery that programs must not use. Each line is an expression of a
// program outside the module, and the name that must not compile.
var hidden = []struct{ expression, name string }{
	{"component.Raw(nil)", "Raw"},
	{"component.Arg{}", "Arg"},
	{"component.Stats{}", "Stats"},
	{"new(component.Handler).Call", "Call"},
	{"new(component.Handler).Decode", "Decode"},
	{"new(component.Handler).Stats", "Stats"},
	{"new(component.Handler).Watched", "Watched"},
	{"new(component.Handler).Context", "Context"},
	{"new(component.Handler).Sessionless", "Sessionless"},
	{"service.Handlers[\"Join\"].Call", "Call"},
	{"service.Handlers[\"Join\"].Decode", "Decode"},
	{"service.Ignored", "Ignored"},
	{"scheduler.Stopped()", "Stopped"},
	{"scheduler.WithBatch(nil, nil)", "WithBatch"},
	{"scheduler.NewStopped", "NewStopped"},
	{"sched.Configure", "Configure"},
	{"sched.Start", "Start"},
	{"sched.Started", "Started"},
	{"sched.Closed", "Closed"},
	{"sched.Running", "Running"},
	{"sched.Pressed", "Pressed"},
	{"sched.Saturated", "Saturated"},
	{"sched.Watched", "Watched"},
	{"sched.SelfTimed", "SelfTimed"},
	{"sched.Done", "Done"},
	{"sched.EndedAt", "EndedAt"},
	{"sched.CheckStuck", "CheckStuck"},
	{"sched.Offer", "Offer"},
	{"sched.Now", "Now"},
	{"sched.Loop", "Loop"},
	{"sched.Public", "Public"},
	{"timer.Every", "Every"},
	{"nano.New().Scheduler().Running", "Running"},
	{"scheduler.Default().Configure", "Configure"},
}

// shown lists names that such a program may use. It shows that only the hidden names fail
// to compile.
var shown = []string{
	"service.ExtractHandler",
	"service.Handlers[\"Join\"].Method",
	"component.WithName(\"room\")",
	"sched.Invoke",
	"sched.PushTask",
	"sched.Pending",
	"sched.NewTimer",
	"timer.Stop",
	"nano.New().Scheduler().Invoke",
	"scheduler.Default().Close",
}

// TestHiddenNames checks that a program outside the module cannot use the machinery that
// calls handlers and runs the loop.
func TestHiddenNames(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the compiler")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var program strings.Builder
	program.WriteString(`package main

import (
	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/scheduler"
)

var (
	service *component.Service
	sched   *scheduler.Scheduler
	timer   *scheduler.Timer
	_       = nano.VERSION
)

func main() {}

`)
	names := map[int]string{} // by line
	line := strings.Count(program.String(), "\n")
	add := func(expression string) {
		line++
		fmt.Fprintf(&program, "var _ = %s\n", expression)
	}
	for _, h := range hidden {
		add(h.expression)
		names[line] = h.name
	}
	for _, s := range shown {
		add(s)
	}
	dir := t.TempDir()
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, requires, _ := strings.Cut(string(mod), "\n") // all versions are listed, so the go command looks up none
	for name, text := range map[string]string{
		"main.go": program.String(),
		"go.sum":  string(sums),
		"go.mod": "module example.com/outside\n" + requires +
			"\nrequire github.com/lonng/nano v0.0.0\n\nreplace github.com/lonng/nano => " + root + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-gcflags=-e", "-o", os.DevNull, ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOWORK=off", "GOPROXY=off", "GOFLAGS=")
	out, err := build.CombinedOutput()
	if err == nil {
		t.Fatal("a program with every hidden name compiles")
	}
	faults := map[int]string{}
	for _, m := range regexp.MustCompile(`(?m)^\./main\.go:(\d+):\d+: (.*)$`).FindAllStringSubmatch(string(out), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		faults[n] = m[2]
	}
	if len(faults) == 0 {
		t.Fatalf("the program does not compile for another reason: %s", out)
	}
	for n, name := range names {
		if !strings.Contains(faults[n], "undefined") || !strings.Contains(faults[n], name) {
			t.Errorf("line %d: %q, want %s to be undefined", n, faults[n], name)
		}
	}
	for n, fault := range faults {
		if names[n] == "" {
			t.Errorf("line %d of the names that stay: %s", n, fault)
		}
	}
}
