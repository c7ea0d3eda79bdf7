package trial_test

import (
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano/benchmark/internal/load"
	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/benchmark/internal/server"
	"github.com/lonng/nano/benchmark/internal/trial"
)

func TestMain(m *testing.M) {
	proc.Main(trial.Roles)
	// The race detector makes a process sleep for one second before it exits. This turns
	// that off.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

const short = 100 * time.Millisecond

// TestRun checks that every kind of load runs on every server that supports it, without
// losing a message.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	echo := load.Spec{Kind: load.Echo, Route: "Bench.Echo", Clients: 4, Window: 2}
	with := func(s load.Spec, change func(*load.Spec)) load.Spec {
		change(&s)
		return s
	}
	rooms := load.Spec{Kind: load.Broadcast, Route: "Bench.Say", Join: "Bench.Join", Clients: 6, Rooms: 2, Window: 2}
	for name, test := range map[string]struct {
		servers []server.Kind
		load    load.Spec
	}{
		"echo":     {[]server.Kind{server.Nano, server.TCP}, echo},
		"ws":       {[]server.Kind{server.NanoWebSocket, server.WebSocket, server.WSBatch}, with(echo, func(s *load.Spec) { s.WebSocket = true })},
		"json":     {[]server.Kind{server.NanoJSON, server.TCPJSON}, with(echo, func(s *load.Spec) { s.Codec, s.Route = load.JSON, "Bench.JSON" })},
		"protobuf": {[]server.Kind{server.NanoProtobuf, server.TCPProtobuf}, with(echo, func(s *load.Spec) { s.Codec, s.Route = load.Protobuf, "Bench.Protobuf" })},
		"push":     {[]server.Kind{server.Nano, server.TCP}, with(echo, func(s *load.Spec) { s.Kind, s.Route = load.Push, "Bench.Ping" })},
		"rate":     {[]server.Kind{server.Nano, server.TCP}, with(echo, func(s *load.Spec) { s.Rate = 2000; s.Window = 64 })},
		"rooms":    {[]server.Kind{server.Nano, server.Fanout, server.FanoutBatch}, rooms},
		"ws rooms": {[]server.Kind{server.NanoWebSocket, server.FanoutBatchWS}, with(rooms, func(s *load.Spec) { s.WebSocket = true })},
		"open":     {[]server.Kind{server.Nano, server.TCP}, with(echo, func(s *load.Spec) { s.Rate, s.Open, s.Window = 2000, true, 64 })},
		"paused":   {[]server.Kind{server.Nano, server.TCP}, with(echo, func(s *load.Spec) { s.Pause = time.Millisecond })},
		"idle":     {[]server.Kind{server.Nano, server.NanoWebSocket}, with(echo, func(s *load.Spec) { s.Kind = load.Idle })},
		"connect":  {[]server.Kind{server.Nano, server.TCP}, with(echo, func(s *load.Spec) { s.Kind = load.Connect })},
	} {
		t.Run(name, func(t *testing.T) {
			for _, kind := range test.servers {
				s := test.load
				s.Size, s.Warm, s.Duration = 64, short, short
				if kind == server.NanoWebSocket {
					s.WebSocket = true
				}
				tr := trial.Trial{Server: server.Spec{Kind: kind}, Load: s}
				o, err := tr.Run(t.Context())
				if err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
				if o.Sum() != 0 || o.Clients != s.Clients {
					t.Errorf("%s: %d clients, faults: %v", kind, o.Clients, o.Faults)
				}
				if o.Done == 0 != (s.Kind == load.Idle) || o.ServerCPU <= 0 || o.Took < short {
					t.Errorf("%s: %d messages in %v, %v of the server's time", kind, o.Done, o.Took, o.ServerCPU)
				}
			}
		})
	}
}

// TestTrace checks that a traced server counts the system calls of each message: a read and
// a write at least, and one more read and one more write at most.
func TestTrace(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	if runtime.GOOS != "linux" {
		t.Skip("system calls are counted on Linux only")
	}
	for _, kind := range []server.Kind{server.Nano, server.TCP} {
		tr := trial.Trial{
			Server: server.Spec{Kind: kind}, Trace: true,
			Load: load.Spec{Kind: load.Echo, Route: "Bench.Echo", Clients: 1, Window: 1, Size: 64, Pause: time.Millisecond, Warm: short, Duration: 3 * short},
		}
		o, err := tr.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if o.Sum() != 0 || o.Done == 0 {
			t.Fatalf("%s: %d messages, faults: %v", kind, o.Done, o.Faults)
		}
		if calls, written := o.Each(o.Calls.Count), o.Each(o.Calls.Written); calls < 2 || calls > 4 || written < 64 || written > 128 {
			t.Errorf("%s: %.2f system calls and %.1f bytes written for each of %d messages, want 2 to 4 and 64 to 128", kind, calls, written, o.Done)
		}
	}
	tr := trial.Trial{Server: server.Spec{Kind: "nothing"}, Trace: true, Load: load.Spec{Kind: load.Echo}}
	if _, err := tr.Run(t.Context()); err == nil {
		t.Error("a traced server that fails = nil, want an error")
	}
}

// TestRunWithProbe checks that room messages run on the schedulers of the rooms while
// another process probes the server.
func TestRunWithProbe(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	probe := load.Spec{Kind: load.Echo, Route: "Bench.Echo", Clients: 1, Window: 64, Size: 64, Rate: 500, Warm: short, Duration: short}
	tr := trial.Trial{
		Server: server.Spec{Kind: server.Nano, Work: 20 * time.Microsecond, Schedulers: 2},
		Load: load.Spec{Kind: load.Echo, Route: "Room.Act", Join: "Lobby.Enter", Clients: 4, Rooms: 2, Window: 2, Size: 64,
			Warm: short, Duration: 4 * short},
		Probe:  &probe,
		Delays: true,
	}
	o, err := tr.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if o.Sum() != 0 || o.Done == 0 {
		t.Errorf("load: %d messages, faults: %v", o.Done, o.Faults)
	}
	if o.Probe.Sum() != 0 || o.Probe.Done == 0 {
		t.Errorf("probe: %d messages, faults: %v", o.Probe.Done, o.Probe.Faults)
	}
	if o.Delays.Count == 0 || o.Delays.Max <= 0 {
		t.Errorf("delays of the logic goroutine: %+v, want some", o.Delays)
	}
}

// TestRunFails checks that a trial fails if the server does not support the load, and
// that no process is left.
func TestRunFails(t *testing.T) {
	if testing.Short() {
		t.Skip("short mode: starts processes")
	}
	s := load.Spec{Kind: load.Echo, Route: "Bench.Echo", Clients: 1, Window: 1, Size: 64, WebSocket: true, Warm: short, Duration: short}
	for _, tr := range []trial.Trial{
		{Server: server.Spec{Kind: "nothing"}, Load: s},
		{Server: server.Spec{Kind: server.Nano}, Load: s}, // which does not serve HTTP
		{Server: server.Spec{Kind: server.TCP}, Load: load.Spec{Kind: load.Echo}},
	} {
		if _, err := tr.Run(t.Context()); err == nil {
			t.Errorf("Run of %+v = nil, want an error", tr)
		}
	}
}
