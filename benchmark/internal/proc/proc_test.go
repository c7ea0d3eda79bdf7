package proc_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/benchmark/internal/proc"
)

type spec struct{ Text string }

func TestMain(m *testing.M) {
	proc.Main(map[string]proc.Role{
		"echo": func(c *proc.Child) error {
			var s spec
			if err := c.Spec(&s); err != nil {
				return err
			}
			c.Answer("again", func() any { return s })
			c.Say("ready", s)
			<-c.Ended()
			return nil
		},
		"faulty": func(*proc.Child) error { return errors.New("no luck") },
	})
	goleak.VerifyTestMain(m)
}

func TestProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	p, err := proc.Start("echo", spec{"hello"}, proc.CPUs())
	if err != nil {
		t.Fatal(err)
	}
	defer p.End()
	var got spec
	if err := p.Await(ctx, "ready", &got); err != nil || got.Text != "hello" {
		t.Errorf("ready = %v, %v, want hello", got, err)
	}
	got = spec{}
	if err := p.Ask(ctx, "again", &got); err != nil || got.Text != "hello" {
		t.Errorf("again = %v, %v, want hello", got, err)
	}
	for _, collected := range []bool{false, true} {
		u, err := p.Usage(ctx, collected)
		if err != nil || u.CPU <= 0 || u.Memory <= 0 || u.Heap <= 0 || u.Mallocs <= 0 || u.Alloc <= 0 {
			t.Errorf("Usage = %+v, %v, want all above 0", u, err)
		}
	}
	if err := p.Ask(ctx, "what", nil); err == nil || !strings.Contains(err.Error(), `no answer`) {
		t.Errorf("a question without an answer: %v", err)
	}
	if err := p.Failed(); err != nil {
		t.Errorf("Failed = %v while it runs", err)
	}
}

func TestProcessThatFails(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for role, want := range map[string]string{"faulty": "no luck", "unknown": "no such role"} {
		p, err := proc.Start(role, spec{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Await(ctx, "ready", nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", role, err, want)
		}
		p.End()
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	p, err := proc.Start("echo", spec{"hello"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.End()
	if err := p.Await(t.Context(), "ready", nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Await(ctx, "more", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Await = %v, want %v", err, context.Canceled)
	}
}

func TestLimits(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	if n := proc.FileLimit(); n < 64 {
		t.Errorf("FileLimit = %d, want what a benchmark can work with", n)
	}
	if proc.CPUTime() <= 0 {
		t.Error("CPUTime = 0, want what this test has used")
	}
}
