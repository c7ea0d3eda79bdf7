package agent

import (
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lonng/nano/session"
)

// limit is a kind of refusal.
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
	refusedTransport
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
	refusedTransport:   "transport",
}

// refusal counts the refusals of one limit, and logs them at a bounded rate.
type refusal struct {
	count  atomic.Int64
	logged atomic.Int64 // time of the latest log record, since the wheel's base
}

// logEvery is the minimum time between two log records for one limit.
const logEvery = 10 * time.Second

// refuse counts and logs a refusal.
func (h *Hub) refuse(l limit, remote net.Addr) {
	if n := h.countRefusal(l); n > 0 {
		h.Log.Warn("nano: a limit refuses", "limit", refusedNames[l], "total", n, "remote", remote)
	}
}

// countRefusal counts a refusal. It returns the number of refusals if they are to be
// logged, else 0.
func (h *Hub) countRefusal(l limit) (n int64) {
	r := &h.refusals[l]
	n = r.count.Add(1)
	now, last := int64(time.Since(h.wheel.base)), r.logged.Load() // the wheel's clock stops when there are no agents
	if n > 1 && now-last < int64(logEvery) || !r.logged.CompareAndSwap(last, now) {
		return 0
	}
	return n
}

// AcceptFailed counts a connection that could not be accepted.
func (h *Hub) AcceptFailed() { h.refusals[refusedAccept].count.Add(1) }

// RefusedBy returns the number of refusals by limit.
func (h *Hub) RefusedBy() map[string]int64 {
	m := make(map[string]int64, refusedKinds)
	for l := noLimit + 1; l < refusedKinds; l++ {
		m[refusedNames[l]] = h.refusals[l].count.Load()
	}
	return m
}

// Counts holds the counters of a hub's agents.
type Counts struct {
	Accepted, Open        atomic.Int64 // connections
	MessagesIn, BytesIn   atomic.Int64 // requests and notifies
	MessagesOut, BytesOut atomic.Int64 // responses and pushes; bytes include heartbeats and handshakes
	HandshakesRefused     atomic.Int64
	Control               atomic.Int64 // heartbeats and pings from clients
	ready                 atomic.Int64 // open sessions

	// The following counters are of sessions with resume.
	Suspensions, Resumed            atomic.Int64
	ResumeExpired, ResumeOverflowed atomic.Int64
	Replayed                        atomic.Int64 // packets sent after a resume, again or for the first time
	Held                            atomic.Int64 // bytes kept in histories, see charge
	suspended                       atomic.Int64 // sessions that are suspended
	refusedResumes                  [len(resumeReasons)]atomic.Int64
	closed                          [session.ReasonShutdown + 1]atomic.Int64 // sessions, by reason
}

// resumeReasons are the reasons why a session cannot be resumed.
var resumeReasons = [...]string{reasonUnknown, reasonExpired, reasonOverflow, reasonEnded}

// refuseResume counts a client whose session cannot be resumed.
func (c *Counts) refuseResume(reason string) {
	c.refusedResumes[slices.Index(resumeReasons[:], reason)].Add(1)
}

// ResumesRefused returns the number of failed resumes by reason.
func (c *Counts) ResumesRefused() map[string]int64 {
	m := make(map[string]int64, len(resumeReasons))
	for i, name := range resumeReasons {
		m[name] = c.refusedResumes[i].Load()
	}
	return m
}

// Suspended returns the number of sessions that are suspended.
func (c *Counts) Suspended() int { return int(c.suspended.Load()) }

func (c *Counts) close(reason error) {
	if r := session.ReasonOf(reason); r != session.ReasonNone {
		c.closed[r].Add(1)
	}
}

// ClosedBy returns the number of closed sessions by the name of the reason.
func (c *Counts) ClosedBy() map[string]int64 {
	m := make(map[string]int64, len(c.closed))
	for _, r := range session.CloseReasons() {
		m[r.String()] = c.closed[r].Load()
	}
	return m
}
