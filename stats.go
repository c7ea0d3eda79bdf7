package nano

import (
	"maps"
	"time"

	"github.com/lonng/nano/cluster"
	"github.com/lonng/nano/internal/handler"
)

// Stats holds the figures of a server. Counters only grow; the other figures are of the
// moment. To publish them with package expvar:
//
//	expvar.Publish("nano", expvar.Func(func() any { return srv.Stats() }))
type Stats struct {
	Connections int   // open connections, handshake done or not
	Sessions    int   // open sessions: those whose handshake is done
	Accepted    int64 // connections accepted since the start

	MessagesIn  int64 // requests and notifies
	MessagesOut int64 // responses and pushes
	BytesIn     int64 // payload bytes of MessagesIn
	BytesOut    int64 // everything written to clients, headers included
	ControlIn   int64 // heartbeats, and WebSocket pings, pongs and empty frames

	QueueDepth int           // tasks that wait for the logic goroutine
	QueueDelay time.Duration // how long the last batch of tasks waited for the logic goroutine
	Delays     Histogram     // QueueDelay of all batches

	Loop LoopStats // how the logic goroutine uses its time

	Panics int64                 // in handlers, hooks, serializers and rooms
	Routes map[string]RouteStats // by route; handlers that were called, or whose calls were refused

	// Refused counts refusals, by reason:
	//   - "handshake": refused handshakes,
	//   - "request": requests answered with an error,
	//   - "notify": dropped notifies,
	//   - "send": messages that did not fit a client's write buffer,
	//   - "accept": errors of accepting connections,
	//   - "transport": clients that speak another transport than the port,
	//   - "origin": WebSocket clients from pages of other origins,
	//   - "packet size", "route length", "handshake size", "rate", "connections" and
	//     "address": by the limit.
	//
	// In a cluster, a message counts at the node that refused it, or at the gate if its
	// node went down.
	Refused map[string]int64
	// Closed counts closed sessions, by the name of the [session.CloseReason], such as
	// "client". It has each reason, also with the count 0. A connection that ends before its
	// ack counts too, unless it was to resume a session.
	Closed map[string]int64

	Resume ResumeStats // sessions that outlive their connections; see WithResume

	Rooms *RoomsStats // statistics of package room; nil if the server has no kinds of rooms

	Scripts []ScriptStats // scripts of package lua; nil if the server has none

	Cluster *cluster.Stats // traffic with other nodes; nil if the server is not a node
}

// RouteStats holds the figures of one handler. The time of a call is the time for which
// it holds the logic goroutine. The server times up to eight consecutive calls of one
// session together if they take less than 2 µs each. Max may then be the time of a few
// calls.
type RouteStats struct {
	Count int64         // calls; may be 0 beside Errors
	Sum   time.Duration // time of all calls
	Max   time.Duration // time of the longest call
	Times Histogram     // durations of the calls; calls timed together count with their mean

	// Errors counts the calls that returned an error or panicked, and those that came too late
	// or had no scheduler. Messages whose payload does not decode are not calls.
	Errors int64

	// Slowest are the slowest calls of the last 15 minutes, the slowest first; at most 5. Only
	// Stats makes room for quicker calls when old ones have expired, so the list is complete if
	// Stats is called every few minutes.
	Slowest []SlowCall
	// Scheduler is the session's key of the scheduler that runs the handler; "" for the
	// logic goroutine. See component.WithSchedulerName.
	Scheduler string
}

// SlowCall is one call of a handler.
type SlowCall struct {
	Time    time.Time     // when it ended
	Took    time.Duration // for how long it held the logic goroutine
	Session int64         // the id of its session; 0 for a call of a node
	UID     int64         // the user of the session, 0 if none was bound
}

// Stats returns the figures of the server. It takes some microseconds, more with more
// routes and rooms, and blocks no other goroutine.
func (s *Server) Stats() Stats {
	st := Stats{
		QueueDepth: s.sched.Pending(),
		QueueDelay: s.sched.Delay(),
		Routes:     map[string]RouteStats{},
		Refused:    map[string]int64{},
		Closed:     map[string]int64{},
	}
	st.Delays.First, st.Delays.Counts = s.loop.Delays()
	st.Loop = loopStats(s.loop)
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
		for h := range service.All() {
			n, sum, longest := h.Stats.Load()
			if failed := h.Stats.Errors.Load(); n > 0 || failed > 0 {
				first, counts := h.Stats.Times.Counts()
				st.Routes[h.Route] = RouteStats{
					Count: n, Sum: sum, Max: longest, Times: Histogram{first, counts},
					Errors: failed, Slowest: slowest(h), Scheduler: h.SchedName,
				}
			}
		}
	}
	st.Refused["handshake"] = c.HandshakesRefused.Load()
	st.Refused["request"] = s.dispatch.Counts.Failed.Load()
	st.Refused["notify"] = s.dispatch.Counts.Dropped.Load()
	maps.Copy(st.Refused, s.hub.RefusedBy())
	st.Closed = c.ClosedBy()
	st.Resume = s.resumeStats()
	if st.Rooms = s.roomsStats(); st.Rooms != nil {
		st.Panics += st.Rooms.Panics
	}
	st.Scripts = s.scriptStats()
	if c := s.broker.Stats(); c != nil {
		st.Cluster = (*cluster.Stats)(c)
	}
	return st
}

// slowest returns the slowest calls of a handler.
func slowest(h *handler.Handler) []SlowCall {
	var list []SlowCall
	for _, c := range h.Stats.Slowest.Load() {
		list = append(list, SlowCall(c))
	}
	return list
}
