// Package server owns the servers that are measured: nano with a few handlers, and bare servers that do the same work
// on the same bytes with nothing around it, which are the limit of what a Go server can do.
package server

import (
	"fmt"
	"net"
	"time"

	"github.com/lonng/nano/benchmark/internal/proc"
	"github.com/lonng/nano/internal/netpoll"
)

// Kind is a server.
type Kind string

// The servers. Those with a codec decode what the payload holds and encode it again.
const (
	Nano          Kind = "nano"
	NanoWebSocket Kind = "nano-ws"
	NanoJSON      Kind = "nano-json"
	NanoProtobuf  Kind = "nano-protobuf"

	// Nano as it would be if idle connections kept their goroutines.
	NanoUnparked          Kind = "nano-unparked"
	NanoWebSocketUnparked Kind = "nano-ws-unparked"

	TCP         Kind = "tcp"          // a goroutine per connection; all whole frames of a read go back in one write
	WebSocket   Kind = "ws"           // gorilla/websocket: a message read, a message written
	Fanout      Kind = "fanout"       // a frame is built once for a room, and written by who read the message
	TCPJSON     Kind = "tcp-json"     // TCP, and each payload is decoded and encoded
	TCPProtobuf Kind = "tcp-protobuf" // likewise
)

// Spec is what a server is made of.
type Spec struct {
	Kind      Kind
	Heartbeat time.Duration // of nano; 0 for its default
	Resume    bool          // of nano: sessions can be resumed
	Rate      float64       // of nano: broadcasts a second to every room that clients join, of 64 letters; 0 for none

	// Of nano: the component Room works for so long on each message, on as many schedulers as this; 0 for the server's
	// own.
	Work       time.Duration
	Schedulers int
}

// Ready is what a server tells when clients can connect.
type Ready struct{ Addr string }

// Role is the role of a process that is a server. It tells "ready" with its address.
func Role(c *proc.Child) error {
	var s Spec
	if err := c.Spec(&s); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
	case TCP, TCPJSON, TCPProtobuf, Fanout:
		ready()
		return accept(l, bare(s.Kind), c.Ended())
	case WebSocket:
		ready()
		return serveWebSocket(l, c.Ended())
	case NanoUnparked, NanoWebSocketUnparked:
		netpoll.Disabled.Store(true)
		return serveNano(l, s, c, ready)
	case Nano, NanoWebSocket, NanoJSON, NanoProtobuf:
		return serveNano(l, s, c, ready)
	}
	return fmt.Errorf("no such server: %q", s.Kind)
}
