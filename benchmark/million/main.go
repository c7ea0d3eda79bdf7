// Million holds as many clients as the machine can: a million of them if it has 15 GiB of free memory.
//
//	go run ./benchmark/million [-n 1000000] [-ws] [-rate 5000] [-heartbeat 25s] [-duration 25s]
//
// Server and clients share the machine. A process may open a limited number of files, so there are several servers and
// as many processes of clients. Each server has a room and an address in 127.0.0.0/8. The clients connect, join the
// room of their server, and then send only heartbeats. Then every room gets one broadcast, all at once. At the end the
// servers shut down and kick their clients, one server for each processor at a time.
//
// Memory of the servers is resident memory after a garbage collection; that of the kernel is the growth of its slabs, for
// both ends of the connections. The table goes to the standard output. The figures are reports: no figure falls short.
// The exit code is 1 if clients were lost, or if the run failed or was refused. All processes have ended when the program
// ends, and it leaves no files.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/server"
)

const (
	roleServer = "server"
	roleCrowd  = "crowd"
)

var roles = map[string]proc.Role{roleServer: server.Role, roleCrowd: load.CrowdRole}

func main() {
	proc.Main(roles)
	m := newMillion(os.Stderr)
	flag.IntVar(&m.n, "n", m.n, "how many clients there are")
	flag.BoolVar(&m.ws, "ws", false, "connect over WebSocket instead of TCP")
	flag.Float64Var(&m.rate, "rate", m.rate, "how many clients connect in a second at most, and then join; 0 for no limit")
	flag.DurationVar(&m.heartbeat, "heartbeat", m.heartbeat, "the heartbeat interval of the servers")
	flag.DurationVar(&m.duration, "duration", m.duration, "how long the clients rest while heartbeats are measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := m.main(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "million:", err)
		stop()
		os.Exit(1)
	}
}

// million holds the settings of a run.
type million struct {
	progress  io.Writer
	n         int
	ws        bool
	rate      float64
	heartbeat time.Duration
	duration  time.Duration
	files     int    // connections that a process may have
	machine   system // limits of the machine

	pairs []*pair
	rows  [][]string
}

func newMillion(progress io.Writer) *million {
	return &million{
		progress: progress, n: 1_000_000, rate: 5000, heartbeat: 25 * time.Second, duration: 25 * time.Second,
		files: proc.FileLimit() - spareFiles, machine: linux{},
	}
}

// spareFiles is how many files a process needs besides its connections.
const spareFiles = 64

// memoryPerClient is how much free memory a client asks for, with the kernel's part of
// both ends of its connection: 15 GiB for a million of them.
const memoryPerClient = 15 << 30 / 1_000_000

// check refuses a run for which the machine is too small.
func (m *million) check() error {
	if m.n < 1 || m.heartbeat < time.Second || m.duration <= 0 || m.files < 1 {
		return fmt.Errorf("want a client or more, heartbeats of a second or more, and some time, got %d, %v and %v", m.n, m.heartbeat, m.duration)
	}
	free, err := m.machine.freeMemory()
	if err != nil {
		return fmt.Errorf("this benchmark needs Linux: %w", err)
	}
	if want := int64(m.n) * memoryPerClient; free < want {
		return fmt.Errorf("%d clients need %.1f GiB of free memory, about %d KiB each with the kernel's part of both ends, and %.1f GiB are free; -n %d would fit",
			m.n, gib(want), memoryPerClient>>10, gib(free), free/memoryPerClient)
	}
	files, err := m.machine.freeFiles()
	if err != nil {
		return err
	}
	const ends = 2
	if want := int64(m.n)*ends + spareFiles*int64(m.processes()); files < want {
		return fmt.Errorf("%d clients need %d open files, and the system allows %d more (fs.file-max); -n %d would fit", m.n, want, files, files*9/10/ends)
	}
	return nil
}

func gib(n int64) float64 { return float64(n) / (1 << 30) }
func mib(n int64) float64 { return float64(n) / (1 << 20) }

// servers returns how many servers there are, and processes how many processes.
func (m *million) servers() int   { return (m.n + m.files - 1) / m.files }
func (m *million) processes() int { return 2 * m.servers() }

func (m *million) note(what, figure, format string, args ...any) {
	m.rows = append(m.rows, []string{what, figure, fmt.Sprintf(format, args...)})
}
