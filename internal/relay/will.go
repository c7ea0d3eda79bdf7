package relay

import (
	"bytes"

	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/message"
)

// SetWill sets the push that the client gets from its gate if this node goes down before the session has closed, in place of
// the one that was set before. An empty route sets none.
func (p *proxySession) SetWill(route string, data []byte) {
	_ = p.pc.link.SendReserved(&link.Frame{Kind: kindWill, Session: p.id, Route: route, Data: data})
}

// will keeps the will of the peer for a client.
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
