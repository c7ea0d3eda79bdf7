// Package server implements the servers of the benchmarks: nano with a few handlers, and
// bare servers. A bare server does the same work on the same bytes without a framework,
// so it shows the limit of a Go server.
package server

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/lonng/nano/benchmark/internal/proc"
)

// Kind is the kind of a server.
type Kind string

// These are the kinds of servers. Those with a codec decode each payload and encode it
// again.
const (
	Nano          Kind = "nano"
	NanoWebSocket Kind = "nano-ws"
	NanoJSON      Kind = "nano-json"
	NanoProtobuf  Kind = "nano-protobuf"

	// These are nano with a reader goroutine for each idle connection.
	NanoUnparked          Kind = "nano-unparked"
	NanoWebSocketUnparked Kind = "nano-ws-unparked"

	TCP           Kind = "tcp"             // one goroutine per connection; one write for all whole frames of a read
	WebSocket     Kind = "ws"              // gorilla/websocket; one write per message
	Fanout        Kind = "fanout"          // builds a frame once for each room; the reader of the message writes it
	WSBatch       Kind = "ws-batch"        // one read and one write for all whole frames that have come
	FanoutBatch   Kind = "fanout-batch"    // Fanout; the broadcasts of a read leave with one write for each member
	FanoutBatchWS Kind = "fanout-batch-ws" // the same over WebSocket

	TCPJSON     Kind = "tcp-json"     // TCP; decodes and encodes each payload
	TCPProtobuf Kind = "tcp-protobuf" // the same with protobuf
)

// Unpark makes the process keep a goroutine for each idle connection. A program sets it to
// start NanoUnparked and NanoWebSocketUnparked. So programs without these servers can be
// built with versions of nano that do not park connections.
var Unpark func()

// Spec describes a server.
type Spec struct {
	Kind      Kind
	Host      string        // address to listen on; 127.0.0.1 if it is ""
	Heartbeat time.Duration // heartbeat interval of nano; 0 for the default
	Resume    bool          // of nano: sessions can be resumed
	Rate      float64       // of nano: broadcasts a second to every room that clients join, of 64 letters; 0 for none

	// For nano: the work of component Room for each message, and the number of
	// schedulers. 0 means the server's own scheduler.
	Work       time.Duration
	Schedulers int
}

// Ready is the event of a server that accepts clients.
type Ready struct{ Addr string }

// Role is the role of a server process. It reports "ready" with its address.
func Role(c *proc.Child) error {
	var s Spec
	if err := c.Spec(&s); err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(cmp.Or(s.Host, "127.0.0.1"), "0"))
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		<-c.Ended()
		_ = l.Close()
	}()
	ready := func() { c.Say("ready", Ready{l.Addr().String()}) }
	switch s.Kind {
	case TCP, TCPJSON, TCPProtobuf, Fanout, WSBatch, FanoutBatch, FanoutBatchWS:
		ready()
		return accept(l, bare(s.Kind), c.Ended())
	case WebSocket:
		ready()
		return serveWebSocket(l, c.Ended())
	case NanoUnparked, NanoWebSocketUnparked:
		if Unpark == nil {
			return errors.New("this program cannot turn parking off")
		}
		Unpark()
		return serveNano(l, s, c, ready)
	case Nano, NanoWebSocket, NanoJSON, NanoProtobuf:
		return serveNano(l, s, c, ready)
	}
	return fmt.Errorf("no such server: %q", s.Kind)
}
