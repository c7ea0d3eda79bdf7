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

	acked  uint64    // number of packets that the client acknowledged, while there is no activity and no recent
	latest uint64    // number of the latest token
	active *activity // nil if there is no activity
	begun  bool      // the first ack has arrived

	unacked atomic.Uint32 // packets of received that the server has not acknowledged
}

// activity holds the state of a session that is not at rest: the packets that its client
// has not acknowledged, and all that a suspension needs. A session that has received only
// broadcasts has a [recent] instead.
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

// activity returns the activity of the session, or nil if there is none. The caller holds
// mu.
func (o *outbox) activity() *activity {
	if o.resume == nil || o.recent != nil {
		return nil
	}
	return o.resume.active
}

func (r *resumption) leaveRest() {
	s := activities.Get().(*activity)
	s.history.last, s.history.sent, s.history.acked, s.history.first = r.acked, r.acked, r.acked, r.acked+1
	s.used = r.latest
	r.active = s
}

// rest frees the memory that the session does not need. The caller holds mu.
func (o *outbox) rest() {
	r, t := o.resume, o.recent
	if t != nil {
		if t.packets == 0 && !t.busy {
			r.acked, o.recent = t.acked, nil
			t.free()
			return
		}
		t.busy = false
		return
	}
	s := r.active
	if s == nil || s.replay > 0 || len(s.fleeting) > 0 ||
		s.used < r.latest || s.pending != nil || s.previous != nil || s.deadline != 0 || s.expired {
		return
	}
	switch {
	case s.history.acked < s.history.last:
		if o.recent = s.history.recent(); o.recent == nil {
			return
		}
		o.recent.charged = int(s.charged)
	case s.charged > 0:
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
func (o *outbox) sent() uint64 {
	switch s := o.activity(); {
	case o.recent != nil:
		return o.recent.sent()
	case s != nil:
		return s.history.sent
	}
	return o.resume.acked
}

// keeps reports whether a client that has received n packets can be sent all later ones,
// and has not acknowledged more than n. The caller holds mu.
func (o *outbox) keeps(n uint64) bool {
	switch s := o.activity(); {
	case o.recent != nil:
		return n >= o.recent.acked
	case s != nil:
		return n >= s.history.acked && n+1 >= s.history.first
	}
	return n >= o.resume.acked
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
