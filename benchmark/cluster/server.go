package main

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/lonng/nano"
	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/server"
	"github.com/lonng/nano/component"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/session"
)

// side is one way to serve clients: one node, a cluster or the bare pair.
type side string

const (
	local   side = "one node"
	tcp     side = "TCP link"
	cluster side = "cluster"
)

var sides = []side{local, tcp, cluster}

// servers returns the processes of a side. Clients connect to the last one.
func (s side) servers() []string {
	switch s {
	case tcp:
		return []string{"tcp-backend", "tcp-gate"}
	case cluster:
		return []string{"backend", "gate"}
	}
	return []string{"node"}
}

// serverSpec describes a server process.
type serverSpec struct {
	Kind  string
	Peer  string // for a gate: the address of the backend
	Count bool   // for bare servers: count messages instead of answering
	JSON  bool   // payloads are JSON
}

// readiness is the event of a server that accepts connections.
type readiness struct{ Addr string }

// Bench is the component that clients call.
type Bench struct {
	component.Base
	count atomic.Int64
}

// Echo answers with the payload.
func (b *Bench) Echo(s *session.Session, data []byte) error { return s.Response(data) }

// JSON answers with the decoded payload.
func (b *Bench) JSON(s *session.Session, n *server.Note) error { return s.Response(n) }

// Count counts the message.
func (b *Bench) Count(*session.Session, []byte) error {
	b.count.Add(1)
	return nil
}

// serve is the role of a server process. It answers "count" with the number of messages
// that Count got.
func serve(c *proc.Child) error {
	var s serverSpec
	if err := c.Spec(&s); err != nil {
		return err
	}
	bench := &Bench{}
	c.Answer("count", func() any { return bench.count.Load() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ready := func() { c.Say("ready", readiness{l.Addr().String()}) }
	list := &component.Components{}
	var opts []nano.Option
	switch s.Kind {
	case "tcp-backend":
		ready()
		return serveBackend(c, l, s, &bench.count)
	case "tcp-gate":
		return serveGate(c, l, s.Peer, ready)
	case "link":
		return serveLink(c, l, s.Peer, &bench.count)
	case "tcp-link":
		return serveTCPLink(c, l, s.Peer, &bench.count)
	case "node":
		list.Register(bench)
	case "backend":
		list.Register(bench)
		opts = []nano.Option{nano.WithCluster()}
	case "gate":
		opts = []nano.Option{nano.WithSeeds(s.Peer)}
	default:
		return fmt.Errorf("no such server: %q", s.Kind)
	}
	if s.JSON {
		opts = append(opts, nano.WithSerializer(json.NewSerializer()))
	}
	srv := nano.New(append(opts, nano.WithComponents(list))...)
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second/5)
		defer cancel()
		_ = srv.Shutdown(ctx) // clients may still be connected
	}()
	if s.Kind == "backend" {
		if err := srv.StartCluster(l); err != nil {
			return err
		}
		ready()
		<-c.Ended()
		return nil
	}
	if s.Kind == "gate" {
		peers, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		if err := srv.StartCluster(peers); err != nil {
			return err
		}
		if m := srv.Members(); len(m) != 1 || !m[0].Up {
			return fmt.Errorf("want one other node that is up, got %v", m)
		}
	} else if err := srv.Start(); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	ready()
	select {
	case err := <-served:
		return err
	case <-c.Ended():
		return nil
	}
}
