package stacktrace_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/lonng/nano/internal/stacktrace"
	"github.com/lonng/nano/pipeline"
	"github.com/lonng/nano/session"
)

type room struct{ seats map[string]int }

func (r *room) join(name string) { r.seats[name]++ }

// stackOf returns the log text of a panic in f.
func stackOf(f func()) string {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	func() {
		defer func() {
			if p := recover(); p != nil {
				log.Error("panic", "panic", p, stacktrace.Attr())
			}
		}()
		f()
	}()
	return out.String()
}

func TestTheProgramsFramesComeFirst(t *testing.T) {
	line := stackOf(func() { new(room).join("ann") })
	if strings.Contains(line, `\n`) {
		t.Errorf("logged %s, want no escaped line breaks", line)
	}
	if strings.Contains(line, "runtime.") {
		t.Errorf("logged %s, want no frames of the runtime", line)
	}
	at := strings.Index(line, "stacktrace_test.(*room).join")
	if at < 0 || !strings.Contains(line, "stacktrace_test.go:") {
		t.Fatalf("logged %s, want the function that panicked and its file", line)
	}
	if caller := strings.Index(line, "stacktrace_test.TestTheProgramsFramesComeFirst"); caller < at {
		t.Errorf("logged %s, want the caller behind the function that panicked", line)
	}
}

// TestTheLibrarysFramesComeLast checks that frames of the program precede those of the
// library, including the frames of a caller.
func TestTheLibrarysFramesComeLast(t *testing.T) {
	hooks := pipeline.New().Inbound()
	hooks.PushBack(func(*session.Session, *pipeline.Message) error {
		new(room).join("ann")
		return nil
	})
	line := stackOf(func() { _ = hooks.Process(nil, &pipeline.Message{}) })
	join, caller, library := strings.Index(line, ".join "), strings.LastIndex(line, ".TestTheLibrarysFramesComeLast "), strings.Index(line, "Process ")
	if join < 0 || caller < join || library < caller {
		t.Errorf("logged %s, want the program's frames, and then the library's", line)
	}
}

func TestLine(t *testing.T) {
	defer func() {
		_ = recover()
		line := stacktrace.Line()
		if !strings.HasPrefix(line, "stacktrace_test.TestLine.func1 ") || !strings.Contains(line, " < stacktrace_test.(*room).join ") {
			t.Errorf("Line() = %q, want the frames of the program, innermost first", line)
		}
	}()
	new(room).join("ann")
}

func TestDeepStack(t *testing.T) {
	var down func(n int)
	down = func(n int) {
		if n == 0 {
			panic("deep")
		}
		down(n - 1)
	}
	line := stackOf(func() { down(1000) })
	if n := strings.Count(line, "stack."); n != 24 {
		t.Errorf("%d frames, want 24: %s", n, line)
	}
}
