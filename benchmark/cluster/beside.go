package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/mesh"
	"github.com/lonng/nano/scheduler"
)

// bareCase is a case with two sides that are not servers of clients: bare and nano.
type bareCase struct {
	name    string
	unit    string // what is counted, in plural
	measure func(b *bench, ctx context.Context, nano bool) (figures, error)
}

var bareCases = []bareCase{
	{"link", "messages", (*bench).link},
	{"task", "tasks", (*bench).task},
}

// beside measures both sides of a case in turns and returns its rows.
func (b *bench) beside(ctx context.Context, c bareCase) (rows [][]string, err error) {
	var both [2][]figures
	for range b.rounds {
		for i := range both {
			f, err := c.measure(b, ctx, i == 1)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(b.progress, "%-28s %-9s %7.3f µs, %8.0f a second\n", c.name, [2]string{"bare", "nano"}[i], f.CPU, f.Rate)
			both[i] = append(both[i], f)
		}
	}
	for _, l := range []figure{
		{"CPU for one of the " + c.unit, "%.0f ns", func(f figures) float64 { return 1000 * f.CPU }},
		{c.unit + " a second", "%.0f", func(f figures) float64 { return f.Rate }},
	} {
		bare, nano := median(both[0], l.of), median(both[1], l.of)
		rows = append(rows, []string{c.name, l.what, fmt.Sprintf(l.format, bare), fmt.Sprintf(l.format, nano), fmt.Sprintf("%.2f", nano/bare)})
	}
	return rows, nil
}

// link sends messages of 64 bytes from one process to another as fast as the receiver
// takes them.
func (b *bench) link(ctx context.Context, nano bool) (f figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience+b.warm+b.duration)
	defer cancel()
	kind := "tcp-link"
	if nano {
		kind = "link"
	}
	var both []*proc.Process
	defer func() {
		var wg sync.WaitGroup
		for _, p := range both {
			wg.Go(p.End)
		}
		wg.Wait()
	}()
	peer := ""
	for range 2 {
		p, err := proc.Start(roleServer, serverSpec{Kind: kind, Peer: peer}, nil)
		if err != nil {
			return f, err
		}
		both = append(both, p)
		var ready readiness
		if err := p.Await(ctx, "ready", &ready); err != nil {
			return f, err
		}
		peer = ready.Addr
	}
	return b.count(ctx, both, both[1].Failed)
}

// count measures how many messages the first process gets.
func (b *bench) count(ctx context.Context, servers []*proc.Process, failed func() error) (f figures, err error) {
	look := func() (at time.Time, used time.Duration, n int64, err error) {
		at = time.Now()
		if used, err = cpu(ctx, servers); err == nil {
			err = servers[0].Ask(ctx, "count", &n)
		}
		return at, used, n, err
	}
	time.Sleep(b.warm)
	began, used, n, err := look()
	if err != nil {
		return f, err
	}
	time.Sleep(b.duration)
	ended, usedNow, now, err := look()
	if err != nil {
		return f, err
	}
	if err := failed(); err != nil {
		return f, err
	}
	if now == n {
		return f, fmt.Errorf("no message came in %v", b.duration)
	}
	return figures{CPU: micros(usedNow-used) / float64(now-n), Rate: float64(now-n) / ended.Sub(began).Seconds()}, nil
}

const linkPayload = 64 // bytes

// counter is the Handler of a node that counts the frames of its links.
type counter struct {
	count *atomic.Int64
	up    chan *link.Link
}

func (c counter) Up(l *link.Link)                            { c.up <- l }
func (c counter) Received(_ *link.Link, frames []link.Frame) { c.count.Add(int64(len(frames))) }
func (c counter) Down(*link.Link, error)                     {}

// serveLink is a node that counts messages. With a peer it sends messages to it. Messages
// wait for space when the receiver is slower.
func serveLink(c *proc.Child, l net.Listener, peer string, count *atomic.Int64) error {
	cfg := mesh.Config{ID: 1, Handler: counter{count, make(chan *link.Link, 1)}, Logger: slog.New(slog.DiscardHandler)}
	if peer != "" {
		cfg.ID, cfg.Seeds = 2, []string{peer}
	}
	node := mesh.NewNode(cfg)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := node.Start(ctx, l); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = node.Stop(ctx)
	}()
	c.Say("ready", readiness{l.Addr().String()})
	if peer == "" {
		<-c.Ended()
		return nil
	}
	var to *link.Link
	select {
	case to = <-cfg.Handler.(counter).up:
	case <-c.Ended():
		return nil
	}
	f := &link.Frame{Kind: link.FirstKind, Session: 123456789012, Route: "Bench.Count", Data: make([]byte, linkPayload)}
	for {
		wait, err := to.SendBulk(f)
		if err != nil {
			return err
		}
		if wait == nil {
			continue
		}
		select {
		case <-wait:
		case <-c.Ended():
			return nil
		}
	}
}

// serveTCPLink is the bare twin of serveLink: packets of the same payload, and a sender
// that writes all that waits at once.
func serveTCPLink(c *proc.Child, l net.Listener, peer string, count *atomic.Int64) error {
	c.Say("ready", readiness{l.Addr().String()})
	if peer == "" {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		defer conn.Close()
		err = packets(conn, func(b []byte) int {
			whole, n := 0, int64(0)
			for len(b)-whole >= packetHead && len(b)-whole >= packetSize(b[whole:]) {
				whole += packetSize(b[whole:])
				n++
			}
			count.Add(n)
			return whole
		})
		if !errors.Is(err, io.EOF) {
			return err
		}
		<-c.Ended()
		return nil
	}
	conn, err := net.Dial("tcp", peer)
	if err != nil {
		return err
	}
	defer conn.Close()
	out := newOutbox(conn)
	go out.write()
	packet := append([]byte{packetData, 0, 0, linkPayload}, make([]byte, linkPayload)...)
	for {
		select {
		case <-c.Ended():
			return nil
		default:
		}
		out.add(func(b []byte) []byte { return append(b, packet...) })
	}
}

// taskSpec is a load of functions that run one after the other.
type taskSpec struct {
	Nano           bool // a scheduler runs them; a goroutine that takes them from a channel otherwise
	Warm, Duration time.Duration
}

// taskBurst is how many functions are queued before the sender waits for the last of
// them. It is the capacity of the bare channel, too.
const taskBurst = 1024

// tasks is the role of a process that runs functions. It reports its figures as "result".
func tasks(c *proc.Child) error {
	var s taskSpec
	if err := c.Spec(&s); err != nil {
		return err
	}
	var queue func(func())
	if s.Nano {
		sched := scheduler.New()
		defer sched.Close()
		queue = func(f func()) { sched.Schedule(f) }
	} else {
		ch := make(chan func(), taskBurst)
		defer close(ch)
		go func() {
			for f := range ch {
				f()
			}
		}()
		queue = func(f func()) { ch <- f }
	}
	ran, done := 0, make(chan struct{})
	one, last := func() { ran++ }, func() { ran++; done <- struct{}{} }
	run := func(d time.Duration) (n int) {
		for until := time.Now().Add(d); time.Now().Before(until); n += taskBurst {
			for range taskBurst - 1 {
				queue(one)
			}
			queue(last)
			<-done
		}
		return n
	}
	run(s.Warm)
	before, used, began := ran, proc.CPUTime(), time.Now()
	n := run(s.Duration)
	took, spent := time.Since(began), proc.CPUTime()-used
	if ran-before != n {
		return fmt.Errorf("%d of %d tasks ran", ran-before, n)
	}
	c.Say("result", figures{CPU: micros(spent) / float64(n), Rate: float64(n) / took.Seconds()})
	<-c.Ended()
	return nil
}

// task measures functions that one goroutine queues and another one runs.
func (b *bench) task(ctx context.Context, nano bool) (f figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience+b.warm+b.duration)
	defer cancel()
	p, err := proc.Start(roleTask, taskSpec{Nano: nano, Warm: b.warm / 2, Duration: b.duration}, nil)
	if err != nil {
		return f, err
	}
	defer p.End()
	err = p.Await(ctx, "result", &f)
	return f, err
}
