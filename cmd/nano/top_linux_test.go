package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/term"
)

// pty is a pseudo-terminal. master is the side of the user.
type pty struct {
	t              *testing.T
	master, slave  *os.File
	mu             sync.Mutex
	output         bytes.Buffer // mu guards it
	came           chan struct{}
	readingStopped chan struct{}
}

func openPTY(t *testing.T) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var n, unlock int32
	ioctl(t, master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	ioctl(t, master, syscall.TIOCGPTN, unsafe.Pointer(&n))
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pty{t: t, master: master, slave: slave, came: make(chan struct{}, 1), readingStopped: make(chan struct{})}
	go p.read()
	t.Cleanup(func() {
		_, _ = master.WriteString("q\n") // the command may still read keys
		_ = slave.Close()
		_ = master.Close()
		<-p.readingStopped
	})
	return p
}

func ioctl(t *testing.T, f *os.File, request uintptr, arg unsafe.Pointer) {
	t.Helper()
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(arg)); e != 0 {
		t.Fatalf("ioctl %#x: %v", request, e)
	}
}

func (p *pty) resize(columns, lines uint16) {
	p.t.Helper()
	ioctl(p.t, p.master, syscall.TIOCSWINSZ, unsafe.Pointer(&[4]uint16{lines, columns}))
}

// read collects what the program writes.
func (p *pty) read() {
	defer close(p.readingStopped)
	r := bufio.NewReader(p.master)
	for {
		b, err := r.ReadByte()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.output.WriteByte(b)
		p.mu.Unlock()
		select {
		case p.came <- struct{}{}:
		default:
		}
	}
}

// await waits until check accepts what the program has written.
func (p *pty) await(what string, check func(output string) bool) {
	p.t.Helper()
	late := time.After(30 * time.Second)
	for {
		p.mu.Lock()
		text := p.output.String()
		p.mu.Unlock()
		if check(text) {
			return
		}
		select {
		case <-p.came:
		case <-late:
			p.t.Fatalf("%s did not come; the terminal shows\n%q", what, text)
		}
	}
}

// TestTopWithoutAnswer checks that a key ends the command while the server does not answer.
func TestTopWithoutAnswer(t *testing.T) {
	asked := make(chan struct{}, 1)
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer web.Close()
	p := openPTY(t)
	p.resize(80, 24)
	c := command()
	c.Reader, c.Writer = p.slave, p.slave
	ended := make(chan error, 1)
	go func() { ended <- c.Run(t.Context(), []string{"nano", "top", web.URL, "--timeout", "1h"}) }()
	<-asked
	_, _ = p.master.WriteString("\x03")
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("top = %v, want nil", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("top does not end")
	}
}

// TestTopInTerminal checks the screen in a terminal: its size, and how it ends.
func TestTopInTerminal(t *testing.T) {
	url := startConsole(t)
	for _, end := range []struct {
		name string
		end  func(p *pty, cancel context.CancelFunc)
	}{
		{"q", func(p *pty, _ context.CancelFunc) { _, _ = p.master.WriteString("xq") }},
		{"Ctrl-C", func(p *pty, _ context.CancelFunc) { _, _ = p.master.WriteString("\x03") }},
		{"a signal", func(_ *pty, cancel context.CancelFunc) { cancel() }},
	} {
		t.Run(end.name, func(t *testing.T) {
			p := openPTY(t)
			p.resize(80, 24)
			before, err := term.GetState(int(p.slave.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := command()
			c.Reader, c.Writer = p.slave, p.slave
			ended := make(chan error, 1)
			go func() { ended <- c.Run(ctx, []string{"nano", "top", url, "--token", "secret"}) }()
			p.await("the screen", func(s string) bool { return strings.Contains(s, "no handler was called yet") })
			p.resize(30, 3)
			p.await("the smaller screen", func(s string) bool {
				screen := s[strings.LastIndex(s, "\x1b[J")+3:]
				return strings.Count(screen, "\r\n") == 2 && len(screen) <= 3*32
			})
			end.end(p, cancel)
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("top = %v, want nil", err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("top does not end")
			}
			p.await("the former screen", func(s string) bool { return strings.HasSuffix(s, "\x1b[?1049l") })
			after, err := term.GetState(int(p.slave.Fd()))
			if err != nil || *after != *before {
				t.Errorf("the terminal has another state than before: %v", err)
			}
		})
	}
}
