package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"github.com/lonng/nano"
	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/server"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/console"
)

// The questions that the server answers.
const (
	askBegin = "begin"
	askEnd   = "end"
)

// addresses is the event "ready" of the server.
type addresses struct{ Players, Console string }

// share is the answer to askEnd.
type share struct {
	All, Console time.Duration // CPU time of the profile
	Error        string        // error of the profile; empty for none
}

func (s share) part() float64 { return s.Console.Seconds() / max(s.All.Seconds(), 1e-9) }

// serve runs a server with a console, which profiles itself from askBegin to askEnd.
func serve(c *proc.Child) error {
	players, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	pages, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	components := &component.Components{}
	components.Register(&server.Bench{})
	srv := nano.New(nano.WithComponents(components))
	if err := srv.Start(); err != nil {
		return err
	}
	web := &http.Server{
		Handler:           console.New(srv, console.Options{Authorize: console.Loopback(console.Viewer)}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	var taken bytes.Buffer
	c.Answer(askBegin, func() any { return pprof.StartCPUProfile(&taken) == nil })
	c.Answer(askEnd, func() any {
		pprof.StopCPUProfile()
		s, err := read(taken.Bytes())
		if err != nil {
			s.Error = err.Error()
		}
		return s
	})
	ended := make(chan error, 2)
	go func() { ended <- srv.Serve(players) }()
	go func() { ended <- web.Serve(pages) }()
	c.Say("ready", addresses{players.Addr().String(), "http://" + pages.Addr().String() + "/console/"})
	select {
	case err := <-ended:
		return err
	case <-c.Ended():
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = web.Close()
	_ = srv.Shutdown(ctx) // clients may still be connected
	return nil
}

// read adds up a CPU profile.
func read(data []byte) (s share, err error) {
	p, err := profile.ParseData(data)
	if err != nil {
		return s, err
	}
	last := len(p.SampleType) - 1 // nanoseconds
	for _, sample := range p.Sample {
		took := time.Duration(sample.Value[last])
		s.All += took
		if ofConsole(sample) {
			s.Console += took
		}
	}
	return s, nil
}

// ofConsole reports whether the console or its HTTP server is on the stack of a sample.
func ofConsole(s *profile.Sample) bool {
	for _, location := range s.Location {
		for _, line := range location.Line {
			if line.Function == nil {
				continue
			}
			name := line.Function.Name
			if strings.HasPrefix(name, "github.com/lonng/nano/console.") || strings.HasPrefix(name, "net/http.") {
				return true
			}
		}
	}
	return false
}
