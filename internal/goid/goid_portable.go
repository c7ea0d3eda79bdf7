//go:build nano_portable

package goid

import (
	"runtime"
	"strings"
	"sync/atomic"
)

// Run calls f below a chain of marker functions, one for each bit of the mark's number. A
// goroutine is the marked one if its own stack contains that chain.
type mark struct {
	number atomic.Uint64 // 0 before the first Run
}

const bits = 32

// numbers counts the marks that were used. A number returns after 2^32 marks.
var numbers atomic.Uint64

// Run calls f and marks the calling goroutine until f returns.
func (m *mark) Run(f func()) {
	m.number.CompareAndSwap(0, numbers.Add(1)&(1<<bits-1))
	begin(m.number.Load(), bits, f)
}

//go:noinline
func begin(number uint64, left int, f func()) {
	descend(number, left, f)
}

func descend(number uint64, left int, f func()) {
	switch {
	case left == 0:
		f()
	case number>>(left-1)&1 == 1:
		one(number, left-1, f)
	default:
		zero(number, left-1, f)
	}
}

//go:noinline
func one(number uint64, left int, f func()) { descend(number, left, f) }

//go:noinline
func zero(number uint64, left int, f func()) { descend(number, left, f) }

// Current reports whether the caller is on the marked goroutine. It takes some 10 µs, and more
// on a deep stack.
func (m *mark) Current() bool {
	number := m.number.Load()
	if number == 0 {
		return false
	}
	const prefix = "github.com/lonng/nano/internal/goid."
	var (
		pcs   [64]uintptr
		found uint64 // the bits seen so far; the innermost marker is the lowest bit
		at    uint
	)
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		if n == 0 {
			return false
		}
		frames := runtime.CallersFrames(pcs[:n])
		for more := true; more; {
			var frame runtime.Frame
			frame, more = frames.Next()
			name, ok := strings.CutPrefix(frame.Function, prefix)
			if !ok {
				continue
			}
			switch name {
			case "one":
				found |= 1 << at
				at++
			case "zero":
				at++
			case "begin":
				if found == number {
					return true
				}
				found, at = 0, 0
			}
		}
	}
}

// Stack returns the stacks of all goroutines, at most 64 KiB, because no documented
// function returns the stack of one goroutine.
func (m *mark) Stack() string {
	buf := make([]byte, 64<<10)
	return string(buf[:runtime.Stack(buf, true)])
}
