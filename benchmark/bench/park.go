package main

import (
	"time"

	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/server"
	"github.com/lonng/nano/internal/netpoll"
)

func init() { server.Unpark = func() { netpoll.Disabled.Store(true) } }

// parkCases compare nano with the same server when it keeps a goroutine for each idle connection. They run only if
// they are asked for: -cases park.
var parkCases = []benchCase{
	parked("idle-tcp", many(load.Spec{}), idle, 0, kib(1.9)),
	parked("idle-ws", webSocket(many(load.Spec{})), idle, 0, kib(2.1)),
	parked("idle-tcp-resume", many(load.Spec{Resume: true}), idle, 0, kib(1.9)),
	parked("idle-ws-resume", webSocket(many(load.Spec{Resume: true})), idle, 0, kib(2.1)),
	parked("beats-5s", many(load.Spec{}), idle, 5*time.Second, perConnection(2.5)),
	parked("beats-5s-resume", many(load.Spec{Resume: true}), idle, 5*time.Second, perConnection(2.5)),
	parked("beats-25s", many(load.Spec{}), idle, 25*time.Second, perConnection(.6)),
	parked("wake-tcp", waking, messages, 0, later(30)),
	parked("wake-ws", webSocket(waking), messages, 0, later(40)),
	parked("tcp-w1", echo(1), messages, 0, cpu(1.03)),
	parked("tcp-w32", echo(32), messages, 0, cpu(1.03)),
	parked("ws-w1", webSocket(echo(1)), messages, 0, cpu(1.03)),
	parked("ws-w32", webSocket(echo(32)), messages, 0, cpu(1.03)),
	parked("rate-10k", rate, messages, 0, p50(1.03)),
}

// manyClients is the number of idle connections, less if a process may not open so many files. They are opened at the
// rate of arriving players, so most are parked when the last one opens.
var manyClients = min(18_000, proc.FileLimit()-64)

func many(s load.Spec) load.Spec {
	s.Kind, s.Route, s.Clients, s.Window, s.Connects = load.Idle, "Bench.Echo", manyClients, 1, 2500
	return s
}

// waking is the load of clients that send a request every 2.5 s. Their connections are parked
// between the requests.
var waking = load.Spec{Kind: load.Echo, Route: "Bench.Echo", Clients: 1000, Window: 1, Rate: 400, Warm: 4 * time.Second,
	Duration: 5 * time.Second}

func parked(name string, s load.Spec, u unit, heartbeat time.Duration, b bound) benchCase {
	c := benchCase{name: "park-" + name, nano: server.Nano, limits: beside(server.NanoUnparked, b), load: s, unit: u, heartbeat: heartbeat}
	if s.WebSocket {
		c.nano, c.limits[0].kind = server.NanoWebSocket, server.NanoWebSocketUnparked
	}
	return c
}

// kib returns a bound of the memory per connection, in KiB.
func kib(n float64) bound {
	b := memory(0)
	b.plus = n
	return b
}

// perConnection returns a bound of the CPU time: microseconds per second for each of
// manyClients.
func perConnection(micros float64) bound {
	b := cpu(0)
	b.plus = micros * float64(manyClients) / 1e3
	return b
}

// later returns a bound of p50: the p50 of the other server plus some microseconds.
func later(micros float64) bound {
	b := p50(1)
	b.plus = micros
	return b
}
