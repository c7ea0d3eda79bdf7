// Package load implements a load generator. Many clients of the protocol run on one
// goroutine, over TCP or WebSocket, and check every answer. On Linux it uses epoll,
// elsewhere one reading goroutine per connection. It shares no code with the library, so
// an error in one does not hide an error in the other.
package load

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lonng/nano/benchmark/internal/proc"
)

// Kind is the traffic pattern of the clients.
type Kind string

// These are the kinds of load.
const (
	Echo      Kind = "echo"      // requests; each is answered with its payload
	Push      Kind = "push"      // notifies; each is answered with a push of its payload
	Broadcast Kind = "broadcast" // notifies of one client in each room; each is pushed to all members
	Idle      Kind = "idle"      // one request per client, and then only heartbeats
	Connect   Kind = "connect"   // handshakes; after each one the connection is closed and opened again
	Crowd     Kind = "crowd"     // clients join a room and count their pushes; for CrowdRole
	Storm     Kind = "storm"     // clients in a room lose their connections at once, and reconnect; with Resume only
)

// Codec is the encoding of a payload's letters.
type Codec string

// These are the codecs.
const (
	Raw      Codec = ""
	JSON     Codec = "json"     // {"content": letters}
	Protobuf Codec = "protobuf" // field 1 contains the letters
)

// Spec describes a load.
type Spec struct {
	Kind      Kind
	Addr      string // address of the server, on 127.0.0.1
	WebSocket bool
	Codec     Codec
	Resume    bool // ask for sessions that can be resumed, and acknowledge what comes
	Size      int  // letters in a payload, from 16 to maxSize; to 127 with Protobuf

	Clients int
	Rooms   int     // number of rooms, for Broadcast or if Join is set
	Window  int     // messages in flight per client or room; a power of two
	Rate    float64 // messages per second in total, if the windows allow it; 0 for the highest rate

	// Open sends the messages of a Rate when they are due, however late the answers come,
	// and measures latency from that moment. Without it a client whose window is full sends
	// nothing.
	Open bool

	// Pause is the time between the last answer to a whole window and the next window,
	// which is sent at once. With Connect, it is the time between two connections. No
	// message is in flight when the measured time begins and when it ends. 0 sends a
	// message for every answer.
	Pause time.Duration

	Route string // route of the messages
	Join  string // route of the first request of each client, or ""

	Connects float64 // connections per second, and with Idle as many first echoes; 0 for the highest rate

	Warm     time.Duration // time before the measurement
	Duration time.Duration // of measuring; with Storm at most

	Goroutines bool // use one reading goroutine per connection on Linux too
}

// Lost is how long an answer may take before it counts as lost.
const Lost = time.Second

// maxSize is the largest number of letters in a payload.
const maxSize = 8 << 10

func (s *Spec) check() error {
	switch {
	case s.Size < 2*stampLength || s.Size > maxSize || s.Codec == Protobuf && s.Size > 127:
		return fmt.Errorf("want payloads of %d to %d letters, or 127 with protobuf, got %d", 2*stampLength, maxSize, s.Size)
	case s.Clients < 1:
		return fmt.Errorf("want a client or more, got %d", s.Clients)
	case s.Window < 1 || s.Window&(s.Window-1) != 0:
		return fmt.Errorf("want a window that is a power of two, got %d", s.Window)
	case s.Open && (s.Rate <= 0 || s.Kind != Echo):
		return errors.New("want requests at a rate if they are sent on schedule")
	case s.Pause > 0 && (s.Rate > 0 || s.Kind != Echo && s.Kind != Push && s.Kind != Broadcast && s.Kind != Connect):
		return fmt.Errorf("want no rate and no %s with a pause", s.Kind)
	case s.Kind == Storm && (!s.Resume || s.Join == ""):
		return errors.New("want a storm with resume, and a route to join a room")
	case s.Kind == Crowd && s.Join == "":
		return errors.New("want a crowd with a route to join a room")
	case s.Kind == Broadcast && (s.Rooms < 1 || s.Clients%s.Rooms != 0 || s.Join == ""):
		return fmt.Errorf("want rooms of one size, and a route to join them, got %d clients and %d rooms", s.Clients, s.Rooms)
	}
	return nil
}

// Result is what the clients saw in the measured time. With Storm, Done are the clients that are back, Took is until the
// last one was, and the latencies are of their returns.
type Result struct {
	Clients int
	Setup   time.Duration // time until all clients were connected
	Took    time.Duration // the measured time

	Done          int64 // answers, deliveries or handshakes
	P50, P99, Max time.Duration
	Lag           time.Duration // with Open: the p99 of how late requests were sent
	Heartbeats    int64
	Missed        int64         // with Storm: broadcasts that came late, to clients that were away
	CPU           time.Duration // CPU time of the load generator

	Faults
}

// Faults counts errors. Lost messages did not arrive within a second. Late ones arrived
// after that or out of order. Corrupt ones had wrong bytes. Closed counts connections
// that the server closed. Stuck counts clients that received nothing in a measured time
// of a second or more.
type Faults struct{ Lost, Late, Corrupt, Closed, Stuck int64 }

// Sum returns the total number of faults.
func (f Faults) Sum() int64 { return f.Lost + f.Late + f.Corrupt + f.Closed + f.Stuck }

// Plus returns the faults of two measurements together.
func (f Faults) Plus(g Faults) Faults {
	return Faults{f.Lost + g.Lost, f.Late + g.Late, f.Corrupt + g.Corrupt, f.Closed + g.Closed, f.Stuck + g.Stuck}
}

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

// Role is the role of a load generator process. It reports "begin" and "end" around the
// measured time, and then "result" with its Result.
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
