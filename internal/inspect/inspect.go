// Package inspect gives package console what package nano does not export.
package inspect

import (
	"log/slog"

	"github.com/lonng/nano/session"
)

// Server is a server of package nano. Its methods may be called concurrently.
type Server interface {
	// Sessions returns the open sessions, in no order. It takes some milliseconds for
	// 100,000 sessions and does not block the logic goroutine. It includes sessions of
	// other nodes' clients that have been used on this node.
	Sessions() []*session.Session
	// Log returns the log of the server, without a limit on equal messages.
	Log() *slog.Logger
	// Stopped returns a channel that is closed when the server has shut down.
	Stopped() <-chan struct{}
}

// Of returns the Server of a *nano.Server. Package nano sets it before main starts.
var Of func(srv any) Server
