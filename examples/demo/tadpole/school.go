package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/lonng/nano"
)

// runBots runs n bots in a child process, which connects over TCP, until ctx ends. With a
// length, it prints the server's resource usage in that time, and returns.
func runBots(ctx context.Context, srv *nano.Server, n int, length time.Duration, w io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = srv.Serve(l) }() // until the server shuts down
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var reading sync.WaitGroup
	defer reading.Wait()
	child, cancel := context.WithCancel(ctx)
	defer cancel() // ends the child
	cmd := exec.CommandContext(child, self, "-join", l.Addr().String(), "-bots", strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	joined := make(chan struct{})
	reading.Go(func() {
		if line := bufio.NewScanner(out); line.Scan() {
			fmt.Fprintln(w, line.Text())
			close(joined)
		}
		_, _ = io.Copy(io.Discard, out) // until the child ends
		ended <- cmd.Wait()
	})
	select {
	case <-joined:
	case err := <-ended:
		return botsEnded(ctx, err)
	}
	if length > 0 {
		return measure(ctx, srv, length, w)
	}
	return botsEnded(ctx, <-ended)
}

// botsEnded returns the error of a child that has ended: nil if ctx has ended it.
func botsEnded(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return errors.Join(errors.New("the bots have ended"), err)
	}
}

// measure prints the server's resource usage in a time span.
func measure(ctx context.Context, srv *nano.Server, length time.Duration, w io.Writer) error {
	if err := sleep(ctx, 2*time.Second); err != nil { // the bots spread
		return err
	}
	rooms, before, cpu, start := ponds.Stats(), srv.Stats(), cpuTime(), time.Now()
	if err := sleep(ctx, length); err != nil {
		return err
	}
	seconds, cpu := time.Since(start).Seconds(), cpuTime()-cpu
	after, roomsAfter := srv.Stats(), ponds.Stats()
	if len(rooms) != 1 || len(roomsAfter) != 1 || rooms[0].Players != roomsAfter[0].Players {
		return errors.New("swimmers have come or gone")
	}
	var sum, most int
	err := ponds.Do(ctx, roomsAfter[0].ID, func(p *Pond) {
		for _, t := range p.State.Tadpoles.All() {
			seen := 0
			for range p.State.Tadpoles.Near(t.X, t.Y, sight) {
				seen++
			}
			sum, most = sum+seen, max(most, seen)
		}
	})
	if err != nil {
		return err
	}
	swimmers := float64(roomsAfter[0].Players)
	fmt.Fprintf(w, "%.0f swimmers at %d Hz for %.0fs, %.0f strokes/s\n", swimmers, second, seconds, float64(after.MessagesIn-before.MessagesIn)/seconds)
	fmt.Fprintf(w, "server: %.3f cores; ticks late p99 %v, %d skipped\n",
		cpu.Seconds()/seconds, roomsAfter[0].LagP99, roomsAfter[0].Skipped-rooms[0].Skipped)
	fmt.Fprintf(w, "client: %.2f KiB/s in %.1f messages/s; %.1f tadpoles in sight, %d at most\n", float64(after.BytesOut-before.BytesOut)/1024/seconds/swimmers,
		float64(after.MessagesOut-before.MessagesOut)/seconds/swimmers, float64(sum)/swimmers, most)
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
