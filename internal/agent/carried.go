package agent

import (
	"errors"

	"github.com/lonng/nano/internal/carry"
)

// Carried starts a goroutine that serves a client of another node which resumes a session
// of this node. It returns the reason if the session cannot be resumed. It does not
// block.
func (h *Hub) Carried(conn *carry.Conn, ask *carry.Ask) *carry.Refusal {
	if h.Resume.Window <= 0 || len(ask.Token) != len(token{}) {
		return &carry.Refusal{Reason: reasonUnknown}
	}
	switch a, _, e := h.findToken(token(ask.Token)); {
	case e != nil:
		return &carry.Refusal{Reason: e.reason, Kick: e.kick}
	case a == nil:
		return &carry.Refusal{Reason: reasonUnknown}
	}
	c := h.newCarried(conn, ask)
	if c == nil {
		_ = conn.Close() // the carrier sends no answer, and the client tries again
		return nil
	}
	go c.serve(nil, ask.Left)
	return nil
}

// newCarried creates a connection for a client of another node. That node counts it
// toward its limits, and this node does not. It returns nil when the hub drains.
func (h *Hub) newCarried(conn *carry.Conn, ask *carry.Ask) *Conn {
	a, c := h.makeConn(conn, ask.Remote, ask.Framed)
	c.flags.set(flagCarried)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return nil
	}
	h.agents[a.id] = a
	h.wg.Add(2) // the connection and the session
	return c
}

var errNotHere = errors.New("the session does not go on")

// refuseCarried closes this end with an error. The node of the client's connection
// answers: it gives the client a new session.
func (c *Conn) refuseCarried(e *ended) error {
	c.socket.(*carry.Conn).Refuse(carry.Refusal{Reason: e.reason, Kick: e.kick})
	return errNotHere
}
