package session

import "net/http"

// upgrader is an entity that keeps the request of a WebSocket upgrade.
type upgrader interface{ UpgradeRequest() *http.Request }

// UpgradeRequest returns the HTTP request with which a WebSocket client connected: its
// cookies, headers and query. It is for the handshake validator and the function of
// nano.WithHandshakeData; once the handshake has its answer, UpgradeRequest returns nil.
// It is nil over other transports too, and on other nodes than the client's. The request
// has no body and must not be changed.
func (s *Session) UpgradeRequest() *http.Request {
	if u, ok := s.entity.(upgrader); ok {
		return u.UpgradeRequest()
	}
	return nil
}
