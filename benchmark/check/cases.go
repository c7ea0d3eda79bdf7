package main

import (
	"time"

	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/server"
	"github.com/lonng/nano/benchmark/internal/trial"
)

// benchCase is one kind of message.
type benchCase struct {
	name   string
	server server.Spec
	load   load.Spec // under full load
}

func echo(clients, window int) load.Spec {
	return load.Spec{Kind: load.Echo, Route: "Bench.Echo", Clients: clients, Window: window}
}

func typed(s load.Spec, c load.Codec, route string) load.Spec {
	s.Codec, s.Route = c, route
	return s
}

func webSocket(s load.Spec) load.Spec {
	s.WebSocket = true
	return s
}

func withResume(s load.Spec) load.Spec {
	s.Resume = true
	return s
}

func rooms(window int) load.Spec {
	return load.Spec{Kind: load.Broadcast, Route: "Bench.Say", Join: "Bench.Join", Clients: 1000, Rooms: 10, Window: window}
}

var (
	nano     = server.Spec{Kind: server.Nano}
	nanoWS   = server.Spec{Kind: server.NanoWebSocket}
	nanoJSON = server.Spec{Kind: server.NanoJSON}
	nanoPB   = server.Spec{Kind: server.NanoProtobuf}
	nanoBack = server.Spec{Kind: server.Nano, Resume: true}
)

var cases = []benchCase{
	{"tcp-w1", nano, echo(100, 1)},
	{"tcp-w32", nano, echo(100, 32)},
	{"ws-w1", nanoWS, webSocket(echo(100, 1))},
	{"ws-w32", nanoWS, webSocket(echo(100, 32))},
	{"tcp-notify", nano, load.Spec{Kind: load.Push, Route: "Bench.Ping", Clients: 100, Window: 1}},
	{"json-w1", nanoJSON, typed(echo(100, 1), load.JSON, "Bench.JSON")},
	{"protobuf-w1", nanoPB, typed(echo(100, 1), load.Protobuf, "Bench.Protobuf")},
	{"broadcast-w1", nano, rooms(1)},
	{"broadcast-w8", nano, rooms(8)},
	{"resume-w1", nanoBack, withResume(echo(100, 1))},
	{"connect", nano, load.Spec{Kind: load.Connect, Route: "Bench.Echo", Clients: 64, Window: 1}},
}

// quiet is the pause between two windows. The server is at rest when it ends.
const quiet = 100 * time.Microsecond

// trial is one measurement. With full load the case's clients send as fast as they get
// answers. Without it one client or one room pauses after each window.
func (c *benchCase) trial(full bool) trial.Trial {
	t := trial.Trial{Server: c.server, Load: c.load}
	if full {
		return t
	}
	t.Load.Clients = 1
	if c.load.Rooms > 0 {
		t.Load.Clients, t.Load.Rooms = c.load.Clients/c.load.Rooms, 1
	}
	t.Load.Pause = quiet
	return t
}
