package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"github.com/lonng/nano/benchmark/internal/proc"
)

func TestMain(m *testing.M) {
	proc.Main(roles)
	m.Run()
}

func TestOfConsole(t *testing.T) {
	stack := func(names ...string) *profile.Sample {
		s := &profile.Sample{}
		for _, name := range names {
			s.Location = append(s.Location, &profile.Location{Line: []profile.Line{{Function: &profile.Function{Name: name}}}})
		}
		return s
	}
	for _, c := range []struct {
		names []string
		want  bool
	}{
		{[]string{"runtime.memmove", "github.com/lonng/nano.(*Server).Stats", "github.com/lonng/nano/console.(*sampler).take"}, true},
		{[]string{"syscall.write", "net/http.(*conn).serve"}, true},
		{[]string{"github.com/lonng/nano/internal/agent.(*Conn).read"}, false},
		{nil, false},
	} {
		if got := ofConsole(stack(c.names...)); got != c.want {
			t.Errorf("ofConsole(%v) = %t, want %t", c.names, got, c.want)
		}
	}
}

// A short run of one page. The test does not check the share: it depends on what else the machine does.
func TestMeasure(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	var out strings.Builder
	b := bench{rate: 2000, duration: 2 * time.Second, warm: 200 * time.Millisecond, every: 100 * time.Millisecond, clients: 4, out: &out}
	worst, err := b.run(t.Context(), []string{"busy"})
	if err != nil || worst < 0 || worst >= 1 || !strings.Contains(out.String(), "| busy | ") {
		t.Errorf("run = %v, %v, want a share below 1:\n%s", worst, err, out.String())
	}
}
