package agent

import (
	"time"

	"github.com/lonng/nano/internal/packet"
	"github.com/lonng/nano/session"
)

// dueAt is called by the wheel. It sends heartbeats, and closes a connection with an
// overdue handshake or a silent client. It returns the time of the next call on the
// wheel's clock, or 0 for none.
func (c *Conn) dueAt(now time.Duration) time.Duration {
	h := c.hub
	a := c.agent.Load()
	if c.state.Load() != stateReady {
		if deadline := c.timer.at; now < deadline {
			return deadline
		}
		_ = a.shut(session.ErrHandshake, farewell{})
		return 0
	}
	unread := c.flags.has(flagPaused | flagFaulty) // loaded first, because seen is set before flagPaused is cleared
	last := time.Duration(c.seen.Load())
	if unread {
		last = now // the server is not reading
	}
	dead := last + h.silence
	if now >= dead {
		if !a.suspend(c, session.ErrHeartbeat) {
			_ = a.shut(session.ErrHeartbeat, farewell{})
		}
		return 0
	}
	if since := c.blocked.Load(); since != 0 && now >= time.Duration(since)+h.stall+h.wheel.tick { // a write deadline had no effect
		if !a.suspend(c, session.ErrClientClosed) {
			_ = a.shut(session.ErrSlowClient, farewell{})
		}
		return 0
	}
	c.rest()
	if !c.flags.set(flagBeating) {
		c.timer.at = now - min(h.Heartbeat, quietTime) + h.Heartbeat // enter has requested the first call after quietTime, or accepted earlier
	}
	if now >= c.timer.at {
		c.beat()
		if c.timer.at += h.Heartbeat; c.timer.at <= now {
			c.timer.at = now + h.Heartbeat
		}
	}
	return c.settleAt(now, min(c.timer.at, dead))
}

// quietTime is how long a client sends no message before its connection is parked: this
// long at least, and two ticks of the wheel longer at most.
const quietTime = time.Second

// beat sends a heartbeat, unless the queue is full. A full queue means that the client
// does not read, and the write deadline ends the connection.
func (c *Conn) beat() {
	o := &c.agent.Load().out
	o.mu.Lock()
	full := o.waiting()+packet.HeadLength > c.hub.MaxQueued
	o.mu.Unlock()
	if !full {
		_ = c.sendPacket(packet.Heartbeat, nil)
	}
}
