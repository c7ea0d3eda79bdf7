// Package proc owns the processes of a benchmark: it starts the running program again in another role, on cores of
// its own where the system can do that, talks with it over its standard input and output, tells what it has used,
// and ends it.
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

// roleMark begins the first argument of a process that was started by Start; the second is its specification.
const roleMark = "role:"

// Role is what a process that Start has started does. When it returns, the process ends.
type Role func(c *Child) error

// Main runs the role that the process was started for, and does not return then. main and TestMain call it first.
func Main(roles map[string]Role) {
	if len(os.Args) != 3 || !strings.HasPrefix(os.Args[1], roleMark) {
		return
	}
	role := roles[strings.TrimPrefix(os.Args[1], roleMark)]
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

// Child is the process's side of what Start has started.
type Child struct {
	spec  []byte
	ended chan struct{}

	mu      sync.Mutex
	answers map[string]func() any // mu guards it and the standard output
}

// Spec decodes what Start was given.
func (c *Child) Spec(v any) error { return json.Unmarshal(c.spec, v) }

// Answer has f answer a question of the parent; it runs on a goroutine of its own. "usage" and "collect" are answered
// without it.
func (c *Child) Answer(question string, f func() any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[question] = f
}

// Ended is closed when the parent wants the process to end, or has ended itself. The process is cut two seconds later.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// event is one line from a child to its parent.
type event struct {
	Name string
	Data json.RawMessage
}

// Say tells the parent of an event.
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

// Usage is what a process has used so far, and what it holds.
type Usage struct {
	CPU     time.Duration // of all threads, user and system
	Memory  int64         // bytes of it that are resident
	Heap    int64         // bytes in objects
	Mallocs int64         // objects so far
}

func usage() any {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Usage{CPU: cpuTime(), Memory: resident(&m), Heap: int64(m.HeapAlloc), Mallocs: int64(m.Mallocs)}
}

func collect() any {
	runtime.GC() // what was in pools goes with the second collection
	debug.FreeOSMemory()
	return usage()
}

// CPUTime returns the time that all threads of this process have run.
func CPUTime() time.Duration { return cpuTime() }
