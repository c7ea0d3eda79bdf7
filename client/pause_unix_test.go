//go:build unix

package client

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/lonng/nano/internal/packet"
)

// pausedClient is the environment variable that makes the test binary run as a client.
// Its value is the server's address.
const pausedClient = "NANO_TEST_PAUSED_CLIENT"

func init() {
	addr := os.Getenv(pausedClient)
	if addr == "" {
		return
	}
	c, err := Dial(context.Background(), addr, WithHandler("ping", func(m *Message) {
		_ = m.Client().Notify("pong", nil) // the parent detects a missing message
	}))
	if err == nil {
		<-c.Done()
		err = c.Err()
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(0)
}

// A process that was stopped received nothing meanwhile, and must not close the
// connection because of that.
func TestPausedProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a process and stops it for four seconds")
	}
	t.Parallel()
	resumed, done := make(chan struct{}), make(chan struct{})
	shaken := make(chan struct{})
	addr := accept(t, func(f *fake) {
		f.acceptHandshake(`{"code":200,"sys":{"heartbeat":1,"serializer":"json"}}`)
		f.write(packet.Heartbeat, nil)
		close(shaken)
		<-resumed
		time.Sleep(500 * time.Millisecond) // due timers run before the client receives data
		f.push("ping", "{}")
		if m := f.receive(); m.Route != "pong" {
			t.Errorf("after the pause the server got %q, want the answer to its push", m.Route)
		}
		close(done)
	})
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(within(t), binary, "-test.run=^$")
	child.Env = append(os.Environ(), pausedClient+"="+addr)
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait() // it was killed
	}()
	select {
	case <-shaken:
	case <-within(t).Done():
		t.Fatal("the client has not connected")
	}
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(4 * time.Second) // the client gives up after 2.5 s of silence
	if err := child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	close(resumed)
	select {
	case <-done:
	case <-within(t).Done():
		t.Error("the client has not answered after the pause")
	}
}
