package nano

import "net/http"

// SetFallback has h serve what is not a WebSocket, as Listen does.
func (s *Server) SetFallback(h http.Handler) { s.fallback = h }
