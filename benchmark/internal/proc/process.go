package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Process is a child process, as its parent sees it. One goroutine uses it.
type Process struct {
	role   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	events chan event // closed when the child has closed its output
	log    tail
	reaped sync.Once
}

// Start starts the running program again, as a role that its Main knows, with a specification that is encoded as JSON.
// With cpus it runs on these only, if the system can do that. End must be called.
func Start(role string, spec any, cpus []int) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	p := &Process{role: role, cmd: exec.Command(self, roleMark+role, string(data)), events: make(chan event, 16)}
	p.cmd.Stderr = &p.log
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := onCPUs(cpus, p.cmd.Start); err != nil {
		return nil, fmt.Errorf("starting the %s: %w", role, err)
	}
	go p.listen(out)
	return p, nil
}

func (p *Process) listen(out io.Reader) {
	defer close(p.events)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			p.events <- e
		}
	}
}

// Await waits for an event, which is the next that the process tells, and decodes it into v, unless that is nil.
func (p *Process) Await(ctx context.Context, name string, v any) error {
	select {
	case e, ok := <-p.events:
		switch {
		case !ok:
			p.reap()
			return fmt.Errorf("the %s ended, want %q of it: %s", p.role, name, p.log.String())
		case e.Name == "error":
			return fmt.Errorf("the %s: %s %s", p.role, e.Data, p.log.String())
		case e.Name != name:
			return fmt.Errorf("the %s said %q, want %q", p.role, e.Name, name)
		case v == nil:
			return nil
		}
		return json.Unmarshal(e.Data, v)
	case <-ctx.Done():
		return fmt.Errorf("waiting for %q of the %s: %w %s", name, p.role, ctx.Err(), p.log.String())
	}
}

// Ask asks a question and waits for the answer, which is decoded into v.
func (p *Process) Ask(ctx context.Context, question string, v any) error {
	if _, err := io.WriteString(p.in, question+"\n"); err != nil {
		return fmt.Errorf("the %s has ended: %w %s", p.role, err, p.log.String())
	}
	return p.Await(ctx, question, v)
}

// Usage asks what the process has used so far; collected, after a garbage collection that gives memory back to the
// system.
func (p *Process) Usage(ctx context.Context, collected bool) (u Usage, err error) {
	question := "usage"
	if collected {
		question = "collect"
	}
	return u, p.Ask(ctx, question, &u)
}

// End ends the process and waits for that, five seconds at most before it is killed. Events that it told meanwhile are
// dropped.
func (p *Process) End() {
	_ = p.in.Close()
	kill := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	for range p.events {
		// Its output has to be read before Wait.
	}
	p.reap()
}

// reap waits for the process, all of whose output was read.
func (p *Process) reap() { p.reaped.Do(func() { _ = p.cmd.Wait() }) }

// Failed reports whether the process has ended by itself, and why.
func (p *Process) Failed() error {
	select {
	case e, ok := <-p.events:
		if !ok {
			p.reap()
			return errors.New("the " + p.role + " has ended: " + p.log.String())
		}
		return fmt.Errorf("the %s said %q: %s", p.role, e.Name, e.Data)
	default:
		return nil
	}
}

// tail keeps the end of what a process logs.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 2 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if len(t.b) > tailSize {
		t.b = append(t.b[:0], t.b[len(t.b)-tailSize:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
