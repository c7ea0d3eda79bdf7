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

// Process is the parent's view of a child process. It is for one goroutine.
type Process struct {
	role   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	events chan event // closed when the child has closed its output
	log    tail
	reaped sync.Once
	counts string // the file of Calls; "" if the process is not traced
}

// Start starts the running program again in a role that its Main knows. The specification
// is encoded as JSON. If cpus is not empty, the process runs on these processors only, if
// the system supports that. The caller must call End.
func Start(role string, spec any, cpus []int) (*Process, error) {
	return StartProgram("", role, spec, cpus)
}

// StartProgram is like Start for another program that has the role. "" is the running
// program.
func StartProgram(program, role string, spec any, cpus []int) (*Process, error) {
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
	return start(role, exec.Command(program, roleMark+role, string(data)), cpus)
}

// StartCommand starts a program that knows no roles. It should end when its standard
// input ends. The caller must call End.
func StartCommand(name string, cmd *exec.Cmd, cpus []int) (*Process, error) {
	return start(name, cmd, cpus)
}

func start(role string, cmd *exec.Cmd, cpus []int) (p *Process, err error) {
	p = &Process{role: role, cmd: cmd, events: make(chan event, 16)}
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

// Await waits for the next event, which must have the given name. It decodes the event
// into v unless v is nil.
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

// Ask asks a question, waits for the answer and decodes it into v.
func (p *Process) Ask(ctx context.Context, question string, v any) error {
	if _, err := io.WriteString(p.in, question+"\n"); err != nil {
		return fmt.Errorf("the %s has ended: %w %s", p.role, err, p.log.String())
	}
	return p.Await(ctx, question, v)
}

// CPU returns the CPU time that the process has used, as the system counts it from
// outside. It is exact to 10 ms. It fails on systems other than Linux.
func (p *Process) CPU() (time.Duration, error) { return cpuOf(p.cmd.Process.Pid) }

// Usage returns the resource usage of the process. If collected is set, the process first
// collects garbage and returns memory to the system.
func (p *Process) Usage(ctx context.Context, collected bool) (u Usage, err error) {
	question := "usage"
	if collected {
		question = "collect"
	}
	return u, p.Ask(ctx, question, &u)
}

// End ends the process and waits for it. After five seconds it kills the process. Unread
// events are dropped.
func (p *Process) End() {
	_ = p.in.Close()
	kill := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	for range p.events {
		// Wait closes the output, so the output has to be read first.
	}
	p.reap()
	if p.counts != "" {
		_ = os.Remove(p.counts)
	}
}

// reap waits for the process. All of its output must have been read.
func (p *Process) reap() { p.reaped.Do(func() { _ = p.cmd.Wait() }) }

// Failed reports whether the process has ended by itself, and with which error.
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

// tail keeps the last bytes of a process's log.
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
