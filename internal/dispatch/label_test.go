package dispatch

import (
	"context"
	"runtime/pprof"
	"testing"

	"github.com/lonng/nano/internal/handler"
)

// BenchmarkLabel measures the profiler label of a run of messages: it is set once for
// consecutive calls of one handler, and removed at the end of the run.
func BenchmarkLabel(b *testing.B) {
	d := New(Config{})
	h := &handler.Handler{Labels: pprof.WithLabels(context.Background(), pprof.Labels("route", "Game.Do"))}
	b.ReportAllocs()
	for b.Loop() {
		d.label(h)
		d.label(nil)
	}
}
