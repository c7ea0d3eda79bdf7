package agent

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// resumption holds the additional state of a session with resume. The mu of the agent's
// outbox guards the fields without another comment.
//
// Most sessions of a server are at rest most of the time: they have a connection, and the
// client has acknowledged every packet. Such a session needs only this struct.
type resumption struct {
	received atomic.Uint64 // accepted data packets of the client; only the connection's reader adds to it
	meter    *meter        // meter of the session's rates; owned by the connection's reader

	acked  uint64    // number of packets that the client acknowledged, while activity is nil
	latest uint64    // number of the latest token
	active *activity // nil while the session is at rest
	begun  bool      // the first ack has arrived

	unacked atomic.Uint32 // packets of received that the server has not acknowledged
}

// activity holds the state of a session that is not at rest: the packets that its client
// has not acknowledged, and all that a suspension needs.
type activity struct {
	history  history
	replay   int    // bytes of the replay that are queued or being written; they count toward no bound
	fleeting []span // replaceable packets in the outbox
	charged  int64  // bytes of the history that count toward the hub's total
	used     uint64 // number of the token that the client used last

	pending  *Conn       // connection with an answered handshake and a missing ack
	previous *Conn       // the previous connection, until its reader has ended
	lost     error       // error that ended the last connection
	remote   net.Addr    // the client's address on the last connection
	timer    *time.Timer // ends the session after the window
	// deadline is the end of the window on the wheel's clock. It is 0 if the window is
	// stopped.
	deadline time.Duration
	expired  bool // the window has passed
}

// activities are pooled, because a session that is quiet between two packets would
// allocate one for each.
var activities = sync.Pool{New: func() any { return &activity{} }}

// activate returns the activity of the session, which is then not at rest. The caller
// holds mu.
func (r *resumption) activate() *activity {
	if r.active == nil {
		r.leaveRest()
	}
	return r.active
}

func (r *resumption) leaveRest() {
	s := activities.Get().(*activity)
	s.history.last, s.history.sent, s.history.acked, s.history.first = r.acked, r.acked, r.acked, r.acked+1
	s.used = r.latest
	r.active = s
}

// rest frees the activity if the session is at rest. The caller holds mu.
func (r *resumption) rest() {
	s := r.active
	if s == nil || s.history.acked < s.history.last || s.charged > 0 || s.replay > 0 || len(s.fleeting) > 0 ||
		s.used < r.latest || s.pending != nil || s.previous != nil || s.deadline != 0 || s.expired {
		return
	}
	r.acked, r.active = s.history.acked, nil
	if cap(s.fleeting) > idleSegments {
		s.fleeting = nil
	}
	*s = activity{history: history{segments: s.history.segments}, fleeting: s.fleeting}
	activities.Put(s)
}

// sent returns the number of packets that were given to a connection. The caller holds mu.
func (r *resumption) sent() uint64 {
	if r.active == nil {
		return r.acked
	}
	return r.active.history.sent
}

// keeps reports whether a client that has received n packets can be sent all later ones,
// and has not acknowledged more than n. The caller holds mu.
func (r *resumption) keeps(n uint64) bool {
	if r.active == nil {
		return n >= r.acked
	}
	return n >= r.active.history.acked && n+1 >= r.active.history.first
}

// expired reports whether the window has passed. The caller holds mu.
func (r *resumption) expired() bool { return r.active != nil && r.active.expired }

// tokens returns the valid tokens. The caller holds mu.
func (r *resumption) tokens() validTokens {
	if r.active == nil {
		return validTokens{r.latest, r.latest}
	}
	return validTokens{r.active.used, r.latest}
}

// awaits reports whether c is the connection that resumes the session at its ack. The
// caller holds mu.
func (r *resumption) awaits(c *Conn) bool { return r.active != nil && r.active.pending == c }
