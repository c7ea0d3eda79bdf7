package lifecycle_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/internal/testkit"
	"github.com/lonng/nano/session"
)

// childEnv is the environment variable that makes the test binary run child.
const childEnv = "NANO_TEST_CHILD"

// child runs a server until a signal ends it. Its log goes to the parent.
func child() {
	if os.Getenv(childEnv) == "gated" {
		gatedChild()
		return
	}
	components := &component.Components{}
	components.Register(&testkit.Game{OnDo: func(s *session.Session, data []byte) error {
		time.Sleep(100 * time.Microsecond)
		served.Add(1)
		return s.Response(data)
	}})
	opts := []nano.Option{nano.WithSlog(slog.New(slog.NewJSONHandler(os.Stdout, nil))), nano.WithComponents(components)}
	if os.Getenv(childEnv) == "ws" {
		opts = append(opts, nano.WithWebSocket("/"))
	}
	if err := nano.Listen("127.0.0.1:0", opts...); err != nil {
		os.Exit(3)
	}
	farewell()
}

// served counts the requests that the handler of a child has run.
var served atomic.Int64

const farewellPrefix = "served "

// farewell is the last line of a child. It reports the number of requests served.
func farewell() { fmt.Printf("%s%d\n", farewellPrefix, served.Load()) }

// process is a server in a child process of this test.
type process struct {
	cmd    *exec.Cmd
	addr   string
	served chan int64 // the count in its last line, if there is one
}

func startProcess(t testing.TB, kind string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), served: make(chan int64, 1)}
	p.cmd.Env = append(os.Environ(), childEnv+"="+kind)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var line struct{ Msg, Address string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("the child wrote %q", lines.Text())
		}
		if line.Msg == "nano: listening" {
			p.addr = line.Address
			break
		}
	}
	if p.addr == "" {
		t.Fatal("the child did not listen")
	}
	go func() {
		defer close(p.served)
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), farewellPrefix); ok {
				n, _ := strconv.ParseInt(text, 10, 64)
				p.served <- n
			}
		}
	}()
	return p
}

// TestSignalUnderLoad checks that a process that receives a signal answers accepted
// requests, sends every client the reason, and ends in time.
func TestSignalUnderLoad(t *testing.T) {
	testkit.SkipInShort(t, "starts processes")
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals to send")
	}
	const clients, window = 1000, 2
	const limit = 10 * time.Second // the default time limit of nano.Listen
	for _, kind := range testkit.Sockets {
		t.Run(kind, func(t *testing.T) {
			child := startProcess(t, kind)
			at := &testkit.Server{T: t, Transport: kind, Path: "/", DialConn: func() (net.Conn, error) { return net.Dial("tcp", child.addr) }}
			var answers, refusals atomic.Int64
			var players, busy sync.WaitGroup
			busy.Add(clients)
			for i := range clients {
				players.Go(func() {
					w, err := at.Wire()
					if err == nil {
						err = w.Join()
					}
					if err != nil {
						t.Errorf("client %d: %v", i, err)
						busy.Done()
						return
					}
					defer w.Abort()
					slots := make(chan struct{}, window)
					var writing sync.WaitGroup
					defer writing.Wait()
					over := make(chan struct{})
					defer close(over)
					writing.Go(func() {
						for id := uint64(1); ; id++ {
							select {
							case slots <- struct{}{}:
							case <-over:
								return
							}
							if w.Send(testkit.Request(id, "Game.Do", "now")) != nil {
								return
							}
						}
					})
					id := uint64(1) // id of the next expected answer
					for {
						m, err := w.Message()
						if err != nil {
							if err.Error() != `kicked: {"reason":"server shutdown","code":"shutdown"}` {
								t.Errorf("client %d got %v after %d answers, want a kick", i, err, id-1)
							}
							return
						}
						if m.Err { // refusals may precede the answers of accepted requests
							refusals.Add(1)
						} else {
							answers.Add(1)
							if m.ID != id {
								t.Errorf("client %d got the answer to request %d, want %d: one was accepted and not answered", i, m.ID, id)
								return
							}
							if id == 1 {
								busy.Done()
							}
							id++
						}
						<-slots
					}
				})
			}
			busy.Wait()
			start := time.Now()
			if err := child.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			players.Wait()
			n, ok := <-child.served
			err := child.cmd.Wait()
			if took := time.Since(start); err != nil || took > limit {
				t.Errorf("the process ended after %v with %v, want %v at most and code 0", took, err, limit)
			}
			if !ok || n != answers.Load() {
				t.Errorf("the handler ran for %d requests, and %d answers came", n, answers.Load())
			}
			t.Logf("%d answers, %d refusals, %v", answers.Load(), refusals.Load(), time.Since(start).Round(time.Millisecond))
		})
	}
}
