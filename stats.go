package nano

import (
	"time"

	"github.com/lonng/nano/cluster"
)

// Stats is what a server has done so far. Counters only grow; the rest is of this moment. To publish it with package
// expvar:
//
//	expvar.Publish("nano", expvar.Func(func() any { return srv.Stats() }))
type Stats struct {
	Connections int   // open connections, handshake done or not
	Sessions    int   // open sessions: those whose handshake is done
	Accepted    int64 // connections since the start

	MessagesIn  int64 // requests and notifies
	MessagesOut int64 // responses and pushes
	BytesIn     int64 // payload of MessagesIn
	BytesOut    int64 // everything written to clients, headers included
	ControlIn   int64 // heartbeats, pings, pongs and empty frames

	QueueDepth int           // tasks that wait for the logic goroutine
	QueueDelay time.Duration // how long the tasks that began to run last had waited

	Panics int64                 // of handlers, hooks and serializers
	Routes map[string]RouteStats // handlers that were called at least once

	// Refused counts what was not served, by reason: "handshake" (clients turned away), "request" (answered with an
	// error), "notify" (dropped), "send" (did not fit the queue of a slow client), "accept" (faults of accepting); and by
	// limit: "packet size", "route length", "handshake size", "rate", "connections", "address", "origin" (WebSocket clients
	// from pages elsewhere). In a cluster a message counts at the node that refused it; at the gate, where its node went down.
	Refused map[string]int64
	// Closed counts the sessions that closed, by the name of the reason: "client", "server", "kicked", "replaced",
	// "heartbeat", "handshake", "slow", "protocol", "limit", "shutdown".
	Closed map[string]int64

	Cluster *cluster.Stats // what went between this node and others; nil on a server that is no node
}

// RouteStats is the calls of one handler. The time of a call is what it held the logic goroutine for. Calls of one
// session that come in a row and take less than 2 µs each are timed up to eight together: Max may then be the time of a
// few calls, where one of them or more turned out slow.
type RouteStats struct {
	Count    int64
	Sum, Max time.Duration
}

// Stats returns the figures of the server. It takes some microseconds, more with more routes, and holds up nobody.
func (s *Server) Stats() Stats {
	st := Stats{
		QueueDepth: s.sched.Pending(),
		QueueDelay: s.sched.Delay(),
		Routes:     map[string]RouteStats{},
		Refused:    map[string]int64{},
		Closed:     map[string]int64{},
	}
	if s.hub == nil {
		return st
	}
	c := &s.hub.Counts
	st.Connections, st.Sessions = s.hub.Len()
	st.Accepted = c.Accepted.Load()
	st.MessagesIn, st.MessagesOut = c.MessagesIn.Load(), c.MessagesOut.Load()
	st.BytesIn, st.BytesOut = c.BytesIn.Load(), c.BytesOut.Load()
	st.ControlIn = c.Control.Load()
	st.Panics = s.dispatch.Counts.Panics.Load()
	for _, service := range s.dispatch.Services() {
		for _, h := range service.Handlers {
			if n, sum, longest := h.Stats.Load(); n > 0 {
				st.Routes[h.Route] = RouteStats{Count: n, Sum: sum, Max: longest}
			}
		}
	}
	st.Refused["handshake"] = c.HandshakesRefused.Load()
	st.Refused["request"] = s.dispatch.Counts.Failed.Load()
	st.Refused["notify"] = s.dispatch.Counts.Dropped.Load()
	for name, n := range s.hub.RefusedBy() {
		st.Refused[name] = n
	}
	st.Closed = c.ClosedBy()
	if c := s.broker.Stats(); c != nil {
		st.Cluster = (*cluster.Stats)(c)
	}
	return st
}
