package lifecycle_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
)

// gated is a component whose Init and BeforeShutdown wait for a byte from the standard
// input.
type gated struct{ testkit.Game }

func (*gated) Init()           { wait("Init") }
func (*gated) BeforeShutdown() { wait("BeforeShutdown") }

// wait prints the name of the step and waits.
func wait(what string) {
	fmt.Println("waiting in " + what)
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// gatedChild runs a server with a gated component until a signal ends it.
func gatedChild() {
	components := &component.Components{}
	components.Register(&gated{}, component.WithName("Gated"))
	err := nano.Listen("127.0.0.1:0", nano.WithSlog(slog.New(slog.NewTextHandler(os.Stdout, nil))), nano.WithComponents(components))
	fmt.Println("returned", err)
}

// gatedProcess is the parent's view of a gatedChild.
type gatedProcess struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.Writer
	lines *bufio.Scanner
}

func startGated(t *testing.T) *gatedProcess {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals to send")
	}
	p := &gatedProcess{t: t, cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), childEnv+"=gated")
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.lines = in, bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// expect reads lines until one contains the text. It fails the test if an earlier line
// contains the forbidden text.
func (p *gatedProcess) expect(text, not string) {
	p.t.Helper()
	for p.lines.Scan() {
		switch {
		case strings.Contains(p.lines.Text(), text):
			return
		case not != "" && strings.Contains(p.lines.Text(), not):
			p.t.Fatalf("the process wrote %q before %q", p.lines.Text(), text)
		}
	}
	p.t.Fatalf("the process ended without writing %q", text)
}

func (p *gatedProcess) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// open releases the waiting step.
func (p *gatedProcess) open() { _, _ = p.in.Write([]byte{'\n'}) }

// diesOf fails the test unless the signal ends the process.
func (p *gatedProcess) diesOf(s syscall.Signal) {
	p.t.Helper()
	for p.lines.Scan() { // reads until the process ends
	}
	_ = p.cmd.Wait()
	if got, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !got.Signaled() || got.Signal() != s {
		p.t.Errorf("the process ended with %v, want signal %v", p.cmd.ProcessState, s)
	}
}

func TestSignalWhileInitRuns(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		p := startGated(t)
		p.expect("waiting in Init", "")
		p.signal(sig)
		p.expect("nano: shutting down", "returned")
		p.open()
		p.expect("waiting in BeforeShutdown", "nano: listening")
		p.open()
		p.expect("returned <nil>", "nano: listening")
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("%v: the process ended with %v, want code 0", sig, err)
		}
	}
}

func TestSecondSignalEndsTheProcess(t *testing.T) {
	p := startGated(t)
	p.expect("waiting in Init", "")
	p.signal(syscall.SIGINT)
	p.expect("nano: shutting down", "")
	p.signal(syscall.SIGINT)
	p.diesOf(syscall.SIGINT)

	p = startGated(t)
	p.expect("waiting in Init", "")
	p.open()
	p.expect("nano: listening", "")
	p.signal(syscall.SIGINT)
	p.expect("waiting in BeforeShutdown", "")
	p.signal(syscall.SIGTERM)
	p.diesOf(syscall.SIGTERM)
}
