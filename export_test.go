package nano

import (
	"net/http"

	"github.com/lonng/nano/cluster"
)

// SetFallback has h serve what is not a WebSocket, as Listen does.
func (s *Server) SetFallback(h http.Handler) { s.fallback = h }

// ClusterCounts returns what went through between this node and others.
func (s *Server) ClusterCounts() *cluster.Counts { return s.broker.Counts() }
