// Package load owns a load generator: many clients of the protocol, over TCP or WebSocket, on one goroutine, which
// check every answer. On Linux it is a loop around epoll, elsewhere a goroutine per connection reads for it. It shares
// no code with the library, so that an error in one does not hide in the other.
package load

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lonng/nano/benchmark/internal/proc"
)

// Kind is what the clients do.
type Kind string

// The kinds of load.
const (
	Echo      Kind = "echo"      // requests, each of which is answered with its payload
	Push      Kind = "push"      // notifies, each of which is answered with a push of its payload
	Broadcast Kind = "broadcast" // notifies of one client in each room, which everybody in it is pushed
	Idle      Kind = "idle"      // an echo each, and from then on only heartbeats
	Connect   Kind = "connect"   // handshakes, after each of which the connection is closed and made again
	Storm     Kind = "storm"     // clients in a room lose their connections at once, and come back; with Resume only
)

// Codec is how the letters of a payload are wrapped.
type Codec string

// The codecs.
const (
	Raw      Codec = ""
	JSON     Codec = "json"     // {"content": letters}
	Protobuf Codec = "protobuf" // field 1 is the letters
)

// Spec is a load.
type Spec struct {
	Kind      Kind
	Addr      string // of the server, on 127.0.0.1
	WebSocket bool
	Codec     Codec
	Resume    bool // ask for sessions that can be resumed, and acknowledge what comes
	Size      int  // letters of a payload, 16 to 127

	Clients int
	Rooms   int     // of Broadcast, and where Join is set
	Window  int     // messages in flight: of each client, or each room; a power of two
	Rate    float64 // messages a second of all clients, or rooms, together, if their windows allow it; 0 for as many as they do
	Route   string  // of the messages
	Join    string  // the route of a request that each client makes first, or ""

	Connects float64 // a second, and with Idle as many first echoes; 0 for as many as the server bears

	Warm     time.Duration // before measuring
	Duration time.Duration // of measuring; with Storm at most

	Goroutines bool // read on a goroutine per connection also where there is epoll
}

// Lost is how long an answer may take before it counts as lost.
const Lost = time.Second

func (s *Spec) check() error {
	switch {
	case s.Size < 2*stampLength || s.Size > 127:
		return fmt.Errorf("want payloads of %d to 127 letters, got %d", 2*stampLength, s.Size)
	case s.Clients < 1:
		return fmt.Errorf("want a client or more, got %d", s.Clients)
	case s.Window < 1 || s.Window&(s.Window-1) != 0:
		return fmt.Errorf("want a window that is a power of two, got %d", s.Window)
	case s.Kind == Storm && (!s.Resume || s.Join == ""):
		return errors.New("want a storm with resume, and a route to join a room")
	case s.Kind == Broadcast && (s.Rooms < 1 || s.Clients%s.Rooms != 0 || s.Join == ""):
		return fmt.Errorf("want rooms of one size, and a route to join them, got %d clients and %d rooms", s.Clients, s.Rooms)
	}
	return nil
}

// Result is what the clients saw in the measured time. With Storm, Done are the clients that are back, Took is until the
// last one was, and the latencies are of their returns.
type Result struct {
	Clients int
	Setup   time.Duration // until all were connected
	Took    time.Duration // the measured time

	Done          int64 // answers, deliveries or handshakes
	P50, P99, Max time.Duration
	Heartbeats    int64
	Missed        int64         // with Storm: broadcasts that came late, to clients that were away
	CPU           time.Duration // of the load generator

	Faults
}

// Faults is what must not happen. Lost messages did not come within a second, Late ones came after that or out of
// order, Corrupt ones were not what was to come, Closed are connections that the server closed, and Stuck are clients
// that got nothing in the measured time, if that was a second or more.
type Faults struct{ Lost, Late, Corrupt, Closed, Stuck int64 }

// Sum returns how many faults there were.
func (f Faults) Sum() int64 { return f.Lost + f.Late + f.Corrupt + f.Closed + f.Stuck }

func (f Faults) String() string {
	var list []string
	for _, x := range []struct {
		n    int64
		name string
	}{{f.Lost, "lost"}, {f.Late, "late"}, {f.Corrupt, "corrupt"}, {f.Closed, "closed"}, {f.Stuck, "stuck"}} {
		if x.n > 0 {
			list = append(list, fmt.Sprint(x.n, " ", x.name))
		}
	}
	if list == nil {
		return "0"
	}
	return strings.Join(list, ", ")
}

// Role is the role of a process that is a load generator. It tells "begin" and "end" around the measured time, and then
// "result" with its Result.
func Role(c *proc.Child) error {
	var s Spec
	if err := c.Spec(&s); err != nil {
		return err
	}
	r, err := Run(s, func() { c.Say("begin", nil) }, func() { c.Say("end", nil) })
	if err != nil {
		return err
	}
	c.Say("result", r)
	<-c.Ended()
	return nil
}
