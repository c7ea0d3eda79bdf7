//go:build unix

package protocol_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
)

// pausedServer is the environment variable that makes the test binary a server, which prints
// its address.
const pausedServer = "NANO_TEST_PAUSED_SERVER"

func init() {
	if os.Getenv(pausedServer) == "" {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		fmt.Println(l.Addr())
		err = testkit.NewServer(testkit.NewGame(nil), nano.WithHeartbeatInterval(time.Second)).Serve(l)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A server that was stopped has read nothing meanwhile, and must not close clients for that.
func TestPausedServer(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a process and stops it for three and a half seconds")
	}
	t.Parallel()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server := exec.CommandContext(ctx, binary, "-test.run=^$")
	server.Env = append(os.Environ(), pausedServer+"=1")
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait() // it was killed
	}()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	const clients = 20
	all := make([]*testkit.Client, clients)
	for i := range all {
		conn, err := net.Dial("tcp", strings.TrimSpace(addr))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		all[i] = testkit.NewClient(t, conn)
		all[i].Join()
	}
	if err := server.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 7 { // three and a half intervals
		for _, p := range all {
			p.Send(testkit.Pack(packet.Heartbeat, ""))
		}
		time.Sleep(500 * time.Millisecond)
	}
	if err := server.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for i, p := range all {
		if err := p.Wire.Echo(1, "here"); err != nil {
			t.Errorf("client %d after the pause: %v", i, err)
		}
	}
}
