package agent

import (
	"context"
	"net/http"
)

// upgrader is a network entity that stores the request of a WebSocket upgrade.
type upgrader interface{ UpgradeRequest() *http.Request }

var _ upgrader = (*Agent)(nil)

// keepUpgrade stores the request of a WebSocket upgrade until the handshake is answered.
func (h *Hub) keepUpgrade(a *Agent, r *http.Request) {
	kept := r.WithContext(context.Background()) // the context of r ends with its HTTP handler
	kept.Body = http.NoBody
	h.upgrades.Store(a, kept)
}

// forgetUpgrade removes the request. It is called before c gets another agent.
func (c *Conn) forgetUpgrade() {
	if c.flags.has(flagFramed) {
		c.hub.upgrades.Delete(c.agent.Load())
	}
}

// UpgradeRequest returns the request of the WebSocket upgrade until the handshake is
// answered. It returns nil afterwards, and for other transports.
func (a *Agent) UpgradeRequest() *http.Request {
	r, _ := a.hub.upgrades.Load(a)
	request, _ := r.(*http.Request)
	return request
}
