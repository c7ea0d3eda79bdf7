package proc

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
)

// Calls counts the system calls with which a process transfers bytes or changes what an
// epoll instance watches. Calls that would have blocked count too; waiting, and what the
// Go runtime does for its threads, do not.
type Calls struct {
	Count   int64
	Written int64 // bytes
}

// Minus returns the calls since others.
func (c Calls) Minus(others Calls) Calls {
	return Calls{c.Count - others.Count, c.Written - others.Written}
}

// roleTracer is the role of a process that runs another one and counts its system calls.
const roleTracer = "tracer"

// traced is the specification of a tracer.
type traced struct {
	Program, Role, Spec string
	Counts              string // the file for Calls
}

// countsSize is the size of the file: two numbers.
const countsSize = 16

// StartTraced is like StartProgram for a process whose system calls are counted. Each of
// them takes some microseconds more. It fails on systems other than Linux.
func StartTraced(program, role string, spec any, cpus []int) (*Process, error) {
	if !canTrace {
		return nil, errNoTrace
	}
	if program == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		program = self
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "calls-")
	if err != nil {
		return nil, err
	}
	_, err = f.Write(make([]byte, countsSize))
	if e := f.Close(); err == nil {
		err = e
	}
	var p *Process
	if err == nil {
		p, err = Start(roleTracer, traced{program, role, string(data), f.Name()}, cpus)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return nil, err
	}
	p.counts = f.Name()
	return p, nil
}

// Calls returns the system calls of a traced process so far.
func (p *Process) Calls() (c Calls, err error) {
	b, err := os.ReadFile(p.counts)
	if err != nil {
		return c, err
	}
	if len(b) != countsSize {
		return c, fmt.Errorf("%s has %d bytes, want %d", p.counts, len(b), countsSize)
	}
	return Calls{int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:]))}, nil
}
