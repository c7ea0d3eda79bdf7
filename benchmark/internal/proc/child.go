// Package proc runs the processes of a benchmark. It starts the running program again in
// another role, on its own processors if the system supports that. It talks to the
// process over standard input and output, reads its resource usage, and ends it.
package proc

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// roleMark is the prefix of the first argument of a process that Start started. The
// second argument is the specification.
const roleMark = "role:"

// Role is the function of a process that Start started. The process ends when it returns.
type Role func(c *Child) error

// Main runs the role that the process was started for and does not return then. main and
// TestMain must call it first.
func Main(roles map[string]Role) {
	if len(os.Args) != 3 || !strings.HasPrefix(os.Args[1], roleMark) {
		return
	}
	name := strings.TrimPrefix(os.Args[1], roleMark)
	if name == roleTracer {
		os.Exit(trace(os.Args[2]))
	}
	role := roles[name]
	if role == nil {
		role = func(*Child) error { return fmt.Errorf("no such role: %q", os.Args[1]) }
	}
	c := &Child{
		spec:    []byte(os.Args[2]),
		ended:   make(chan struct{}),
		answers: map[string]func() any{"usage": usage, "collect": collect},
	}
	go c.listen()
	if err := role(c); err != nil {
		c.Say("error", err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

// Child is a child process's own view of itself.
type Child struct {
	spec  []byte
	ended chan struct{}

	mu      sync.Mutex
	answers map[string]func() any // mu guards it and the standard output
}

// Spec decodes the specification that was passed to Start.
func (c *Child) Spec(v any) error { return json.Unmarshal(c.spec, v) }

// Answer registers f as the answer to a question of the parent. f runs on its own
// goroutine. "usage" and "collect" are built in.
func (c *Child) Answer(question string, f func() any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[question] = f
}

// Ended is closed when the parent asks the process to end, or has ended itself. The
// process is killed two seconds later.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// event is one line from a child to its parent.
type event struct {
	Name string
	Data json.RawMessage
}

// Say sends an event to the parent.
func (c *Child) Say(name string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		name, data = "error", fmt.Appendf(nil, "%q", err.Error())
	}
	line, _ := json.Marshal(event{name, data})
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = os.Stdout.Write(append(line, '\n'))
}

func (c *Child) listen() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		c.mu.Lock()
		f := c.answers[in.Text()]
		c.mu.Unlock()
		if f == nil {
			c.Say("error", fmt.Sprintf("no answer to %q", in.Text()))
			continue
		}
		c.Say(in.Text(), f())
	}
	close(c.ended)
	time.Sleep(2 * time.Second)
	os.Exit(1)
}

// Usage is the resource usage of a process.
type Usage struct {
	CPU     time.Duration // of all threads, user and system
	Memory  int64         // resident bytes
	Heap    int64         // bytes in heap objects
	Mallocs int64         // objects allocated so far
	Alloc   int64         // bytes allocated so far
}

func usage() any {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Usage{
		CPU: cpuTime(), Memory: resident(&m), Heap: int64(m.HeapAlloc), Mallocs: int64(m.Mallocs), Alloc: int64(m.TotalAlloc),
	}
}

func collect() any {
	runtime.GC() // the second collection empties the pools
	debug.FreeOSMemory()
	return usage()
}

// CPUTime returns the CPU time of all threads of this process.
func CPUTime() time.Duration { return cpuTime() }
