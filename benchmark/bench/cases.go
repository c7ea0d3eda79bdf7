package main

import (
	"fmt"
	"math"
	"time"

	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/server"
	"github.com/lonng/nano/benchmark/internal/trial"
)

// benchCase is one load that nano and bare servers are measured with.
type benchCase struct {
	name      string
	nano      server.Kind
	limits    []limit
	load      load.Spec
	unit      unit
	share     float64       // rate of the load, as a share of the rate that the first limit reaches; 0 if load sets it
	heartbeat time.Duration // heartbeat interval of the server, and the shortest measured time; 0 for the default
}

// limit is a bare server, and the bounds of nano's figures beside it.
type limit struct {
	kind   server.Kind
	bounds []bound
}

func beside(k server.Kind, bounds ...bound) []limit { return []limit{{k, bounds}} }

// resume reports whether the case compares nano with resume with nano without it.
func (c *benchCase) resume() bool { return c.nano == c.limits[0].kind }

// unit is the unit of a case's figures.
type unit int

const (
	messages    unit = iota
	connections      // opened and closed again
	idle             // open connections
)

// bound is the largest allowed figure: factor times the figure of the bare server, plus a
// constant.
type bound struct {
	name        string
	of          func(*figures) float64
	times, plus float64
	timed       bool // the figure is a time, which other work on the machine can raise
}

func cpu(times float64) bound {
	return bound{"CPU", func(f *figures) float64 { return f.CPU }, times, 0, true}
}
func p50(times float64) bound {
	return bound{"p50", func(f *figures) float64 { return f.P50 }, times, 0, true}
}
func p99(times float64) bound {
	return bound{"p99", func(f *figures) float64 { return f.P99 }, times, 0, true}
}
func memory(times float64) bound {
	return bound{"memory", func(f *figures) float64 { return f.Memory }, times, 0, false}
}
func allocs(times, plus float64) bound {
	// The tenth covers rare allocations.
	return bound{"allocations", func(f *figures) float64 { return f.Allocs }, times, plus + .1, false}
}

// echo returns a load of requests. Each client has a fixed number in flight.
func echo(window int) load.Spec {
	return load.Spec{Kind: load.Echo, Route: "Bench.Echo", Clients: 100, Window: window}
}

func typed(s load.Spec, c load.Codec, route string) load.Spec {
	s.Codec, s.Route = c, route
	return s
}

func webSocket(s load.Spec) load.Spec {
	s.WebSocket = true
	return s
}

func rooms(window int) load.Spec {
	return load.Spec{Kind: load.Broadcast, Route: "Bench.Say", Join: "Bench.Join", Clients: 1000, Rooms: 10, Window: window}
}

// settled lets the server park the connections whose clients send nothing but
// acknowledgments before it is measured.
func settled(s load.Spec) load.Spec {
	s.Warm = 3 * time.Second
	return s
}

var (
	notify  = load.Spec{Kind: load.Push, Route: "Bench.Ping", Clients: 1000, Window: 1}
	rate    = load.Spec{Kind: load.Echo, Route: "Bench.Echo", Clients: 200, Window: 16, Rate: 10_000}
	resting = load.Spec{Kind: load.Idle, Route: "Bench.Echo", Clients: 5000, Window: 1}
	connect = load.Spec{Kind: load.Connect, Route: "Bench.Echo", Clients: 64, Window: 1}
)

// scheduled is the load of an open loop. Its rate is a share of the highest rate of a
// bare server.
var scheduled = load.Spec{Kind: load.Echo, Route: "Bench.Echo", Clients: 200, Window: 1024, Open: true}

// bearing is the load that measures the highest rate of a bare server: the clients of
// scheduled, with one request in flight each.
var bearing = load.Spec{Kind: load.Echo, Route: "Bench.Echo", Clients: 200, Window: 1}

var cases = []benchCase{
	{name: "tcp-w1", nano: server.Nano, load: echo(1), limits: beside(server.TCP, cpu(1.25), allocs(0, 1))},
	{name: "tcp-w32", nano: server.Nano, load: echo(32), limits: beside(server.TCP, cpu(1.25), allocs(0, 1.1))},
	{name: "tcp-notify-1000", nano: server.Nano, load: notify, limits: beside(server.TCP, cpu(1.2), allocs(0, 2))},
	{name: "ws-w1", nano: server.NanoWebSocket, load: webSocket(echo(1)), limits: []limit{
		{server.WSBatch, nil}, {server.WebSocket, []bound{cpu(1.15), allocs(0, 3)}}}},
	{name: "ws-w32", nano: server.NanoWebSocket, load: webSocket(echo(32)), limits: []limit{
		{server.WSBatch, []bound{cpu(1.2)}}, {server.WebSocket, []bound{cpu(.15), allocs(0, 2.1)}}}},
	{name: "broadcast-w1", nano: server.Nano, load: rooms(1), limits: []limit{
		{server.FanoutBatch, nil}, {server.Fanout, []bound{cpu(1.05)}}}},
	{name: "broadcast-w8", nano: server.Nano, load: rooms(8), limits: []limit{
		{server.FanoutBatch, []bound{cpu(1.2)}}, {server.Fanout, []bound{cpu(.18)}}}},
	{name: "rate-10k", nano: server.Nano, load: rate, limits: beside(server.TCP, p50(1.2), p99(1.6))},
	{name: "open-50", nano: server.Nano, load: scheduled, share: .5, limits: beside(server.TCP, p99(1.3))},
	{name: "open-80", nano: server.Nano, load: scheduled, share: .8, limits: beside(server.TCP, p99(1.3))},
	{name: "json-w1", nano: server.NanoJSON, load: typed(echo(1), load.JSON, "Bench.JSON"), limits: beside(server.TCPJSON)},
	{name: "json-w32", nano: server.NanoJSON, load: typed(echo(32), load.JSON, "Bench.JSON"), limits: beside(server.TCPJSON)},
	{name: "protobuf-w1", nano: server.NanoProtobuf, load: typed(echo(1), load.Protobuf, "Bench.Protobuf"),
		limits: beside(server.TCPProtobuf, allocs(1, 1))},
	{name: "protobuf-w32", nano: server.NanoProtobuf, load: typed(echo(32), load.Protobuf, "Bench.Protobuf"),
		limits: beside(server.TCPProtobuf, allocs(1, 1))},
	{name: "idle-tcp", nano: server.Nano, load: resting, unit: idle, limits: beside(server.TCP, memory(.6))},
	{name: "idle-ws", nano: server.NanoWebSocket, load: webSocket(resting), unit: idle, limits: beside(server.WebSocket, memory(1))},
	{name: "connect", nano: server.Nano, load: connect, unit: connections, limits: beside(server.TCP)},
	{name: "resume-tcp-w1", nano: server.Nano, load: echo(1), limits: beside(server.Nano, cpu(1.05))},
	{name: "resume-broadcast-w8", nano: server.Nano, load: settled(rooms(8)), limits: beside(server.Nano, cpu(1.03))},
	{name: "resume-idle-tcp", nano: server.Nano, load: resting, unit: idle, limits: beside(server.Nano)},
}

// trial is one measurement of a case, of nano or of a bare server.
func (b *bench) trial(c benchCase, k server.Kind, nano bool) trial.Trial {
	t := trial.Trial{Server: server.Spec{Kind: k}, Load: c.load, ServerCPUs: b.serverCPUs, LoadCPUs: b.loadCPUs}
	if nano {
		t.Load.Resume = c.load.Resume || c.resume()
	}
	t.Load.Size, t.Load.Warm, t.Load.Duration = 64, 500*time.Millisecond, max(b.duration, c.load.Duration)
	if c.unit == idle {
		t.Load.Warm = 3 * time.Second // lets allocations of the start settle
	}
	if c.heartbeat > 0 {
		t.Server.Heartbeat, t.Load.Duration = c.heartbeat, max(b.duration, c.heartbeat)
	}
	t.Server.Resume = t.Load.Resume
	if c.load.Warm > 0 {
		t.Load.Warm = c.load.Warm
	}
	if b.small {
		t.Load.Warm, t.Load.Duration = b.duration, b.duration
		t.Load.Clients = max(4, 2*t.Load.Rooms)
		if t.Load.Open {
			t.Load.Window <<= 6 // for the requests of fewer clients
		}
	}
	return t
}

// figures holds the result of one run. The units are those of the table.
type figures struct {
	CPU      float64 // server CPU: microseconds per message or connection; idle: milliseconds per second in total
	Rate     float64 // messages or connections per second
	P50, P99 float64 // microseconds
	Lag      float64 // microseconds that requests were sent late, p99; with an open loop
	Allocs   float64 // objects per message or connection
	Memory   float64 // KiB per client
	Left     float64 // KiB of heap above the start after all connections have closed

	ServerBusy, LoadBusy float64 // share of one processor
	Faults               load.Faults
}

func newFigures(o *trial.Outcome) figures {
	f := figures{
		CPU: micro(o.PerMessage()), Rate: o.Rate(), P50: micro(o.P50), P99: micro(o.P99), Lag: micro(o.Lag), Allocs: o.MallocsPerMessage(),
		Memory: o.MemoryPerClient() / 1024, Left: float64(o.Left) / 1024,
		ServerBusy: o.Busy(o.ServerCPU), LoadBusy: o.Busy(o.CPU), Faults: o.Faults,
	}
	if o.Done == 0 { // an idle case
		f.CPU, f.Allocs = 1e3*o.Busy(o.ServerCPU), 0
	}
	return f
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// line returns a one-line summary of a run.
func (c *benchCase) line(f figures) string {
	switch c.unit {
	case idle:
		return fmt.Sprintf("%8.2f KiB a connection, %.1f ms CPU a second, faults: %v", f.Memory, f.CPU, f.Faults)
	case connections:
		return fmt.Sprintf("%8.0f a second, %6.2f µs CPU each, faults: %v", f.Rate, f.CPU, f.Faults)
	default:
		return fmt.Sprintf("%8.0f a second, %6.2f µs CPU each, p99 %.0f µs, faults: %v", f.Rate, f.CPU, f.P99, f.Faults)
	}
}

// bottleneck reports whether the load generator, not the server, limited the rate. In an
// open loop it never rests.
func (f *figures) bottleneck() bool { return f.Lag == 0 && f.LoadBusy > .95 && f.ServerBusy < .9 }

// over returns the largest allowed figure, and whether the figure exceeds it.
func (b *bound) over(r *result) (most float64, over bool) {
	most = b.times*b.of(&r.Bare) + b.plus
	return most, b.of(&r.Nano) > most && !math.IsNaN(most)
}
