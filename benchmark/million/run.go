package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/report"
	"github.com/lonng/nano/benchmark/internal/server"
)

// pair is a server and the process of its clients. Each pair is used by one goroutine at
// a time.
type pair struct {
	server, clients *proc.Process
	n               int // clients
}

// patience is the time limit of each step: a pair connects, a broadcast arrives, the
// servers shut down.
const patience = 2 * time.Minute

func (m *million) main(ctx context.Context, out io.Writer) error {
	if err := m.check(); err != nil {
		return err
	}
	defer m.end()
	kernel, err := m.machine.kernelMemory()
	if err != nil {
		return err
	}
	empty, took, err := m.connect(ctx)
	if err != nil {
		return err
	}
	m.note("clients", "connections", "%d, each in a room of its server", m.n)
	m.note("", "processes", "%d: %d servers, and as many of clients", m.processes(), m.servers())
	m.note("", "connecting", "%.0f s, %.0f a second", took.Seconds(), float64(m.n)/took.Seconds())
	if err := m.memory(ctx, empty, kernel); err != nil {
		return err
	}
	if err := m.rest(ctx); err != nil {
		return err
	}
	if err := m.broadcast(ctx); err != nil {
		return err
	}
	lost, err := m.shutdown(ctx)
	if err != nil {
		return err
	}
	over := "TCP"
	if m.ws {
		over = "WebSocket"
	}
	fmt.Fprintf(out, "%s %s/%s, %d CPUs, for servers and clients together; %s\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), over)
	report.Table(out, 3, append([][]string{{"what", "figure", "value"}}, m.rows...))
	return lost
}

// connect starts all pairs, one after the other, and connects their clients. empty is the
// memory of the servers without clients.
func (m *million) connect(ctx context.Context) (empty int64, took time.Duration, err error) {
	left := m.n
	for i := range m.servers() {
		p := &pair{n: (left + m.servers() - i - 1) / (m.servers() - i)}
		left -= p.n
		m.pairs = append(m.pairs, p)
		began := time.Now()
		memory, err := m.start(ctx, p, i)
		if err != nil {
			return 0, 0, fmt.Errorf("pair %d of %d: %w", i+1, m.servers(), err)
		}
		empty += memory
		took += time.Since(began)
		fmt.Fprintf(m.progress, "%7d of %d clients, %.0f a second\n", m.n-left, m.n, float64(m.n-left)/took.Seconds())
	}
	return empty, took, nil
}

// start starts one pair and waits until its clients have joined. It returns the memory of
// the server before.
func (m *million) start(ctx context.Context, p *pair, i int) (empty int64, err error) {
	limit := patience
	if m.rate > 0 {
		limit += time.Duration(2 * float64(p.n) / m.rate * float64(time.Second))
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s := server.Spec{Kind: server.Nano, Heartbeat: m.heartbeat, Host: fmt.Sprintf("127.1.%d.%d", i/250, 1+i%250)}
	if m.ws {
		s.Kind = server.NanoWebSocket
	}
	if p.server, err = proc.Start(roleServer, s, nil); err != nil {
		return 0, err
	}
	var ready server.Ready
	if err := p.server.Await(ctx, "ready", &ready); err != nil {
		return 0, err
	}
	u, err := p.server.Usage(ctx, true)
	if err != nil {
		return 0, err
	}
	p.clients, err = proc.Start(roleCrowd, load.Spec{
		Kind: load.Crowd, Addr: ready.Addr, WebSocket: m.ws, Size: 64, Clients: p.n, Connects: m.rate, Rooms: 1, Window: 1, Route: "Bench.Say", Join: "Bench.Join",
	}, nil)
	if err != nil {
		return 0, err
	}
	return u.Memory, p.clients.Await(ctx, "connected", nil)
}

// end ends all processes.
func (m *million) end() {
	var wg sync.WaitGroup
	for _, p := range m.pairs {
		for _, process := range []*proc.Process{p.server, p.clients} {
			if process != nil {
				wg.Go(process.End)
			}
		}
	}
	wg.Wait()
}

// each calls f for every pair at the same time.
func (m *million) each(f func(*pair) error) error { return m.some(len(m.pairs), f) }

// some calls f for every pair, for at most n of them at the same time.
func (m *million) some(n int, f func(*pair) error) error {
	errs := make([]error, len(m.pairs))
	slots := make(chan struct{}, n)
	var wg sync.WaitGroup
	for i, p := range m.pairs {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = f(p)
			<-slots
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// usage returns the usage of all servers and of all clients, as sums.
func (m *million) usage(ctx context.Context, collected bool) (servers, clients proc.Usage, err error) {
	var mu sync.Mutex
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = m.each(func(p *pair) error {
		for process, sum := range map[*proc.Process]*proc.Usage{p.server: &servers, p.clients: &clients} {
			u, err := process.Usage(ctx, collected)
			if err != nil {
				return err
			}
			mu.Lock()
			sum.CPU += u.CPU
			sum.Memory += u.Memory
			mu.Unlock()
		}
		return nil
	})
	return servers, clients, err
}

// crowd returns what all clients have seen.
func (m *million) crowd(ctx context.Context) (sum load.Crowded, err error) {
	var mu sync.Mutex
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = m.each(func(p *pair) error {
		var c load.Crowded
		if err := p.clients.Ask(ctx, "crowd", &c); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		sum.Connected += c.Connected
		sum.Heartbeats += c.Heartbeats
		sum.Pushes += c.Pushes
		sum.Kicked += c.Kicked
		sum.Closed += c.Closed
		sum.Corrupt += c.Corrupt
		if c.LastPush.After(sum.LastPush) {
			sum.LastPush = c.LastPush
		}
		if c.LastClosed.After(sum.LastClosed) {
			sum.LastClosed = c.LastClosed
		}
		return nil
	})
	return sum, err
}

// memory notes the memory of servers, clients and the kernel.
func (m *million) memory(ctx context.Context, empty, kernelBefore int64) error {
	// After this pause, the garbage of the handshakes has been collected.
	if err := pause(ctx, settle); err != nil {
		return err
	}
	servers, clients, err := m.usage(ctx, true)
	if err != nil {
		return err
	}
	kernel, err := m.machine.kernelMemory()
	if err != nil {
		return err
	}
	n := float64(m.n)
	m.note("memory", "servers", "%.1f MiB, %.2f KiB a connection", mib(servers.Memory), float64(servers.Memory-empty)/n/1024)
	m.note("", "clients", "%.1f MiB, %.2f KiB a connection", mib(clients.Memory), float64(clients.Memory)/n/1024)
	m.note("", "kernel, both ends", "%.1f MiB, %.2f KiB a connection", mib(kernel-kernelBefore), float64(kernel-kernelBefore)/n/1024)
	return nil
}

// settle is the time after which an idle connection has released its buffers.
const settle = 3 * time.Second

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// rest measures clients that only answer heartbeats.
func (m *million) rest(ctx context.Context) error {
	fmt.Fprintf(m.progress, "heartbeats for %v\n", m.duration)
	before, _, err := m.usage(ctx, false)
	if err != nil {
		return err
	}
	began := time.Now()
	then, err := m.crowd(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, m.duration); err != nil {
		return err
	}
	now, err := m.crowd(ctx)
	if err != nil {
		return err
	}
	after, _, err := m.usage(ctx, false)
	if err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	used := (after.CPU - before.CPU).Seconds()
	m.note("heartbeats", fmt.Sprintf("every %v", m.heartbeat), "%.0f a second", float64(now.Heartbeats-then.Heartbeats)/took)
	m.note("", "CPU of the servers", "%.1f %% of a processor, %.2f µs a connection and second", 100*used/took, 1e6*used/took/float64(m.n))
	m.note("", "connections lost", "%d", now.Closed)
	return nil
}

// await asks the crowd until done reports true.
func (m *million) await(ctx context.Context, what string, done func(load.Crowded) bool) (c load.Crowded, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if c, err = m.crowd(ctx); err != nil || done(c) {
			return c, err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return c, fmt.Errorf("%s: %w: %+v", what, err, c)
		}
	}
}

// broadcast pushes one message to every room at the same time.
func (m *million) broadcast(ctx context.Context) error {
	fmt.Fprintln(m.progress, "a broadcast in every room")
	before, _, err := m.usage(ctx, false)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := m.each(func(p *pair) error { return p.server.Ask(ctx, "broadcast", nil) }); err != nil {
		return err
	}
	c, err := m.await(ctx, "a broadcast", func(c load.Crowded) bool { return c.Pushes+c.Closed >= int64(m.n) })
	if err != nil {
		return err
	}
	after, _, err := m.usage(ctx, false)
	if err != nil {
		return err
	}
	took := c.LastPush.Sub(began).Seconds()
	m.note("a broadcast", "in all rooms", "%.2f s to the last of %d clients, %.0f a second", took, c.Pushes, float64(c.Pushes)/took)
	m.note("", "CPU of the servers", "%.2f s, %.2f µs a delivery", (after.CPU - before.CPU).Seconds(), float64(after.CPU-before.CPU)/float64(time.Microsecond)/float64(m.n))
	return nil
}

// shutdown shuts all servers down, one for each processor at a time, because a server has
// only five seconds to write the last packets of all its connections. lost is an error if
// clients were lost before, or not kicked.
func (m *million) shutdown(ctx context.Context) (lost, err error) {
	fmt.Fprintln(m.progress, "shutdown")
	before, err := m.crowd(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	at := runtime.NumCPU()
	ctx, cancel := context.WithTimeout(ctx, patience*time.Duration(1+m.servers()/at))
	defer cancel()
	err = m.some(at, func(p *pair) error {
		var problem string
		if err := p.server.Ask(ctx, "shutdown", &problem); err != nil {
			return err
		}
		if problem != "" {
			return fmt.Errorf("a server shut down with %s", problem)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	returned := time.Since(began)
	c, err := m.await(ctx, "the shutdown", func(c load.Crowded) bool { return c.Closed >= int64(m.n) })
	if err != nil {
		return nil, err
	}
	m.note("graceful shutdown", "of all servers", "%.2f s, %d at a time; the last client was gone after %.2f s",
		returned.Seconds(), at, c.LastClosed.Sub(began).Seconds())
	m.note("", "clients kicked", "%d", c.Kicked)
	if before.Closed > 0 || before.Corrupt > 0 || before.Pushes != int64(m.n) || c.Kicked != int64(m.n) {
		lost = fmt.Errorf("of %d clients %d were lost, %d got the broadcast and %d were kicked; %d packets were corrupt",
			m.n, before.Closed, before.Pushes, c.Kicked, before.Corrupt)
	}
	return lost, nil
}
