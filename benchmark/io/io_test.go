//go:build benchmark

package io_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lonng/nano"
	"github.com/lonng/nano/benchmark/io"
	"github.com/lonng/nano/client"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/session"
)

const (
	clients  = 1000
	duration = 15 * time.Second
	payload  = 64 // bytes
)

// Bench pushes each message back to its sender.
type Bench struct{ component.Base }

// Ping handles a notify.
func (b *Bench) Ping(s *session.Session, v *wrapperspb.BytesValue) error {
	_ = s.Push("pong", v) // fails after the clients have closed
	return nil
}

// robot is one client with one message in flight.
type robot struct {
	*io.Connector
	ping   proto.Message
	done   *atomic.Int64 // round trips of all clients
	failed chan<- error

	// The callbacks use these fields. They run one at a time.
	sent  time.Time
	times []time.Duration
}

func (r *robot) send() {
	r.sent = time.Now()
	if err := r.Notify("Bench.Ping", r.ping); err != nil && !errors.Is(err, client.ErrClosed) {
		select {
		case r.failed <- err:
		default: // only the first error is kept
		}
	}
}

// pong is called with each push.
func (r *robot) pong(any) {
	r.times = append(r.times, time.Since(r.sent))
	r.done.Add(1)
	r.send()
}

// TestIO starts 1,000 clients that send a notify and wait for the push. It takes 15 s,
// and the server is in the same process:
//
//	cd benchmark/io && go test -v -tags benchmark
//
// One operation is one round trip. Ctrl-C ends the test early and prints the summary.
func TestIO(t *testing.T) {
	components := &component.Components{}
	components.Register(&Bench{})
	server := nano.New(nano.WithComponents(components), nano.WithSlog(slog.New(slog.NewTextHandler(t.Output(), nil))))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})

	var done atomic.Int64
	failed := make(chan error, 1)
	robots := make([]*robot, clients)
	ping := wrapperspb.Bytes(make([]byte, payload))
	for i := range robots {
		r := &robot{Connector: io.NewConnector(), ping: ping, done: &done, failed: failed}
		r.On("pong", r.pong)
		if err := r.Start(listener.Addr().String()); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		t.Cleanup(r.Close)
		robots[i] = r
	}
	t.Logf("%d clients are connected to %v", clients, listener.Addr())

	interrupted, stop := signal.NotifyContext(t.Context(), os.Interrupt)
	defer stop()
	started := time.Now()
	for _, r := range robots {
		r.send() // the first reply starts the chain of callbacks
	}
	seconds := time.NewTicker(time.Second)
	defer seconds.Stop()
	last, lastAt := int64(0), started
	for took := time.Duration(0); took < duration && interrupted.Err() == nil; {
		select {
		case now := <-seconds.C:
			total := done.Load()
			t.Logf("%2.0f s  %8.0f operations/s", now.Sub(started).Seconds(), float64(total-last)/now.Sub(lastAt).Seconds())
			last, lastAt = total, now
		case err := <-failed:
			t.Fatal(err)
		case <-interrupted.Done():
		}
		took = time.Since(started)
	}
	total, took := done.Load(), time.Since(started)

	var wg sync.WaitGroup
	for _, r := range robots {
		wg.Go(r.Close)
	}
	wg.Wait() // no callback runs after this
	var times []time.Duration
	for i, r := range robots {
		if len(r.times) == 0 {
			t.Errorf("client %d got nothing back", i)
		}
		times = append(times, r.times...)
	}
	if len(times) == 0 {
		t.Fatal("nothing came back")
	}
	slices.Sort(times)
	quantile := func(q float64) time.Duration { return times[int(q*float64(len(times)-1))].Round(time.Microsecond) }
	t.Logf("%d operations in %.1f s: %.0f operations/s, p50 %v, p99 %v",
		total, took.Seconds(), float64(total)/took.Seconds(), quantile(0.5), quantile(0.99))
}
