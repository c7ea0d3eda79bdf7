package agent

import (
	"errors"

	"github.com/lonng/nano/internal/carry"
)

// Carried serves a client that is connected to another node, and goes on with a session
// of this one, on a goroutine of its own. It returns why the session does not go on. It
// does not block.
func (h *Hub) Carried(conn *carry.Conn, ask *carry.Ask) *carry.Refusal {
	if h.Resume.Window <= 0 || len(ask.Token) != len(token{}) {
		return &carry.Refusal{Reason: reasonUnknown}
	}
	switch a, e := h.tokens.find(token(ask.Token)); {
	case e != nil:
		return &carry.Refusal{Reason: e.reason, Kick: e.kick}
	case a == nil:
		return &carry.Refusal{Reason: reasonUnknown}
	}
	c := h.newCarried(conn, ask)
	if c == nil {
		_ = conn.Close() // the carrier gives no answer, and the client asks again
		return nil
	}
	go c.serve(nil, ask.Left)
	return nil
}

// newCarried makes a connection of a client that is connected to another node. That node
// counts it for its limits, and this one does not. It returns nil once the hub drains.
func (h *Hub) newCarried(conn *carry.Conn, ask *carry.Ask) *Conn {
	a, c := h.makeConn(conn, ask.Remote, ask.Framed)
	c.flags.set(flagCarried)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return nil
	}
	h.agents[a.id] = a
	h.wg.Add(2) // the connection, and the session
	return c
}

var errNotHere = errors.New("the session does not go on")

// refuseCarried leaves the answer to the node that has the client's connection: the client
// gets a new session there. The error closes this end.
func (c *Conn) refuseCarried(e *ended) error {
	c.socket.(*carry.Conn).Refuse(carry.Refusal{Reason: e.reason, Kick: e.kick})
	return errNotHere
}
