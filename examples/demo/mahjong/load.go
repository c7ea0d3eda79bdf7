package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/demo/mahjong/rules"
	"github.com/lonng/nano/scheduler"
)

// load runs tables of bots at one action per second each, and prints their cost.
func load(w io.Writer, tables int, length time.Duration) error {
	store, err := OpenStore("")
	if err != nil {
		return err
	}
	defer store.Close()
	times := usual()
	times.Bot, times.Pause = 500*time.Millisecond, 500*time.Millisecond // a discard stays open, then the next bot thinks
	app := newApp(store, scheduler.New(), times, 24*time.Hour)
	srv := nano.New(app.options()...)
	if err := srv.Start(); err != nil {
		return err
	}
	var lags []time.Duration
	began := make(chan error, 1)
	// The tables start spread over a second, so that they do not act at the same moment.
	for i := range tables {
		app.sched.NewAfterTimer(time.Second*time.Duration(i)/time.Duration(tables), func() {
			_, err := app.tables.Create(context.Background(), &Opening{Config: rules.Default(), app: app, bots: true})
			if err != nil || i == tables-1 {
				select {
				case began <- err:
				default:
				}
			}
		})
	}
	if err := <-began; err != nil {
		return err
	}
	on := func(f func()) {
		done := make(chan struct{})
		app.sched.Invoke(func() { f(); close(done) })
		<-done
	}
	var before, actions int
	on(func() {
		before = app.actions
		app.lag = func(d time.Duration) { lags = append(lags, d) }
	})
	cpu, start := cpuTime(), time.Now()
	<-time.After(length)
	cpu, took := cpuTime()-cpu, time.Since(start)
	on(func() { app.lag, actions = nil, app.actions-before })
	slices.Sort(lags)
	at := func(p float64) time.Duration {
		if len(lags) == 0 {
			return 0
		}
		return lags[int(float64(len(lags)-1)*p)].Round(10 * time.Microsecond)
	}
	fmt.Fprintf(w, "%d tables for %v: %.2f actions a second and table\n", tables, took.Round(time.Second), float64(actions)/took.Seconds()/float64(tables))
	fmt.Fprintf(w, "CPU %.2f cores; lag p50 %v, p99 %v, largest %v\n", cpu.Seconds()/took.Seconds(), at(0.5), at(0.99), at(1))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return srv.Shutdown(ctx)
}
