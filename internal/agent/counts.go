package agent

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/session"
)

// limit is one that can refuse.
type limit int

const (
	noLimit limit = iota
	refusedRate
	refusedConnections
	refusedAddress
	refusedPacket
	refusedRoute
	refusedHandshake
	refusedSend
	refusedOrigin
	refusedAccept
	refusedKinds
)

var refusedNames = [refusedKinds]string{
	refusedRate:        "rate",
	refusedConnections: "connections",
	refusedAddress:     "address",
	refusedPacket:      "packet size",
	refusedRoute:       "route length",
	refusedHandshake:   "handshake size",
	refusedSend:        "send",
	refusedOrigin:      "origin",
	refusedAccept:      "accept",
}

// refusal counts what one limit refused, and logs it now and then.
type refusal struct {
	count  atomic.Int64
	logged atomic.Int64 // when, since the wheel's base
}

// logEvery is how often a limit at most is logged to have been passed.
const logEvery = 10 * time.Second

// refuse notes that a limit was passed.
func (h *Hub) refuse(l limit, remote net.Addr) {
	r := &h.refusals[l]
	n := r.count.Add(1)
	now, last := int64(time.Since(h.wheel.base)), r.logged.Load() // the wheel's clock stands still without agents
	if n > 1 && now-last < int64(logEvery) || !r.logged.CompareAndSwap(last, now) {
		return
	}
	h.Log.Warn("nano: a limit refuses", "limit", refusedNames[l], "total", n, "last", remote)
}

// AcceptFailed counts a connection that could not be accepted.
func (h *Hub) AcceptFailed() { h.refusals[refusedAccept].count.Add(1) }

// RefusedBy returns what each limit has refused.
func (h *Hub) RefusedBy() map[string]int64 {
	m := make(map[string]int64, refusedKinds)
	for l := noLimit + 1; l < refusedKinds; l++ {
		m[refusedNames[l]] = h.refusals[l].count.Load()
	}
	return m
}

// Counts is what went through the agents of a hub.
type Counts struct {
	Accepted, Open        atomic.Int64 // connections
	MessagesIn, BytesIn   atomic.Int64 // requests and notifies
	MessagesOut, BytesOut atomic.Int64 // responses and pushes, heartbeats and handshakes only in bytes
	HandshakesRefused     atomic.Int64
	Control               atomic.Int64                             // heartbeats and pings of clients
	ready                 atomic.Int64                             // open sessions
	closed                [session.ReasonShutdown + 1]atomic.Int64 // sessions, by reason
}

func (c *Counts) close(reason error) {
	if r := session.ReasonOf(reason); r != session.ReasonNone {
		c.closed[r].Add(1)
	}
}

// ClosedBy returns how many sessions closed for each reason, by the reason's name.
func (c *Counts) ClosedBy() map[string]int64 {
	m := make(map[string]int64, len(c.closed))
	for _, r := range session.CloseReasons() {
		m[r.String()] = c.closed[r].Load()
	}
	return m
}
