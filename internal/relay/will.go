package relay

import (
	"bytes"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
)

// SetWill sets a push that the gate sends to the client if this node goes down before the
// session has closed. It replaces the previous one. An empty route removes it.
func (p *proxySession) SetWill(route string, data []byte) {
	_ = p.pc.link.SendReserved(&link.Frame{Kind: kindWill, Session: p.id, Route: route, Data: data})
}

// will stores the peer's will for a client.
func (pc *peerConn) will(f *link.Frame) {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	fs := pc.clients[f.Session]
	switch {
	case fs == nil:
	case f.Route == "":
		fs.will = nil
	default:
		fs.will = &message.Message{Type: message.Push, Route: f.Route, Data: bytes.Clone(f.Data)}
	}
}
