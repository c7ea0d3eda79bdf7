//go:build unix

package protocol_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// pausedServer is the environment variable that makes the test binary run a server. The
// server prints its TCP address and its WebSocket address.
const pausedServer = "NANO_TEST_PAUSED_SERVER"

func init() {
	if os.Getenv(pausedServer) == "" {
		return
	}
	var s *nano.Server
	game := testkit.NewGame(func(c *session.Session, _ []byte) error {
		return c.Response(fmt.Append(nil, s.Stats().Resume.Suspended))
	})
	s = testkit.NewServer(game, nano.WithHeartbeatInterval(time.Second), nano.WithHandshakeTimeout(2*time.Second),
		nano.WithResume(nano.Resume{Window: 3 * time.Second}), nano.WithMessageRate(10, 10), nano.WithMaxAbuse(3))
	failed := make(chan error)
	for _, serve := range []func(net.Listener) error{s.Serve, s.ServeWebSocket} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(l.Addr())
		go func() { failed <- serve(l) }()
	}
	fmt.Fprintln(os.Stderr, <-failed)
	os.Exit(1)
}

// startPaused starts the server in a child process. dial connects to it.
func startPaused(t *testing.T) (server *exec.Cmd, dial map[string]func() *testkit.Client) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	server = exec.CommandContext(ctx, binary, "-test.run=^$")
	server.Env = append(os.Environ(), pausedServer+"=1")
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = server.Wait() // the test killed it
	})
	dial = map[string]func() *testkit.Client{}
	r := bufio.NewReader(out)
	for _, transport := range testkit.Sockets {
		addr, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		dial[transport] = func() *testkit.Client {
			conn, err := net.Dial("tcp", strings.TrimSpace(addr))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			return testkit.NewClient(t, conn)
		}
	}
	return server, dial
}

// TestPausedServer checks that the time in which a server process was stopped does not
// count. Clients stay connected and keep their messages and rate. Sessions wait for
// resume, and a request that has begun is read.
func TestPausedServer(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a process and stops it for three and a half seconds")
	}
	t.Parallel()
	server, dial := startPaused(t)
	const clients = 20
	all := make([]*testkit.Client, clients)
	for i := range all {
		all[i] = dial["tcp"]()
		all[i].Join()
	}
	away, back := dial["tcp"](), &testkit.ResumeClient{}
	if _, err := back.Connect(away.Wire); err != nil {
		t.Fatal(err)
	}
	back.Send(testkit.Request(1, "Game.Echo", "x"))
	if _, err := back.Next(away.Wire); err != nil {
		t.Fatal(err)
	}
	_ = away.Conn.Close()
	back.Lost()
	page := dial["ws"]()
	head := testkit.UpgradeRequest("/")
	if err := page.Raw([]byte(head[:20])); err != nil {
		t.Fatal(err)
	}
	for id := uint64(1); all[0].Call(id, "Game.Do", "") != "1"; id++ {
		time.Sleep(200 * time.Millisecond) // keeps within the rate
	}
	if err := server.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 35 { // takes three and a half intervals
		for _, p := range all {
			p.Send(testkit.Pack(packet.Heartbeat, ""))
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := server.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := page.Raw([]byte(head[20:])); err != nil {
		t.Error(err)
	}
	if status, err := page.ReadStatus(); status != http.StatusSwitchingProtocols {
		t.Errorf("the request was answered by %d, %v, want 101", status, err)
	}
	if a, err := back.Connect(dial["tcp"]().Wire); err != nil || !a.Resumed {
		t.Errorf("%+v, %v came, want the session", a, err)
	}
	for i, p := range all {
		if err := p.Wire.Echo(100, "here"); err != nil {
			t.Errorf("client %d after the pause: %v", i, err)
		}
	}
}
