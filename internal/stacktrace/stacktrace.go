// Package stacktrace turns the stack of a panic into a log attribute that a person can read.
//
// A stack as one text with line breaks is escaped by slog's handlers into a single long line.
// Here each frame is an attribute of its own in the group "stack". The frames of the program
// come first: they are what its author looks for.
package stacktrace

import (
	"fmt"
	"log/slog"
	"path"
	"runtime"
	"strconv"
	"strings"
)

// maxFrames is the largest number of frames in an attribute, the program's and the library's
// together.
const maxFrames = 24

// Attr returns the stack of the calling goroutine as the group "stack": "1" is the innermost
// frame of the program, such as "main.(*Room).Join room.go:42". The library's own frames follow
// those of the program. Frames of the Go runtime are left out. Call it from the deferred
// function that recovers.
func Attr() slog.Attr {
	all := frames()
	attrs := make([]slog.Attr, len(all))
	for i, frame := range all {
		attrs[i] = slog.String(strconv.Itoa(i+1), frame)
	}
	return slog.GroupAttrs("stack", attrs...)
}

// Line returns the frames of Attr as one line of text, for an error.
func Line() string { return strings.Join(frames(), " < ") }

// frames returns the frames of the caller of Attr or Line, the program's first.
func frames() []string {
	var pcs [128]uintptr
	var program, library []string
	stack := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for more := true; more; {
		var f runtime.Frame
		f, more = stack.Next()
		text := fmt.Sprintf("%s %s:%d", path.Base(f.Function), f.File, f.Line)
		switch origin(f.Function) {
		case fromProgram:
			program = append(program, text)
		case fromLibrary:
			library = append(library, text)
		}
	}
	all := append(program, library...)
	return all[:min(len(all), maxFrames)]
}

type source int

const (
	fromRuntime source = iota
	fromLibrary
	fromProgram
)

const module = "github.com/lonng/nano"

// origin returns whether a function belongs to the runtime, the library or the program. It
// checks the import path of the function's package.
func origin(function string) source {
	dir, name := path.Split(function)
	pkg, _, _ := strings.Cut(name, ".")
	pkg = dir + pkg
	switch {
	case pkg == "runtime", strings.HasPrefix(pkg, "runtime/"), pkg == "reflect", strings.HasPrefix(pkg, "internal/"):
		return fromRuntime
	case strings.HasSuffix(pkg, "_test"):
		return fromProgram
	case pkg == module, strings.HasPrefix(pkg, module+"/internal/"):
		return fromLibrary
	}
	for _, public := range []string{"client", "client/room", "cluster", "component", "mock", "nanotest", "pipeline", "room", "scheduler", "session", "state"} {
		if pkg == module+"/"+public {
			return fromLibrary
		}
	}
	return fromProgram
}
