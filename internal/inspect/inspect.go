// Package inspect gives package console what package nano does not export.
package inspect

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"reflect"
	"time"

	"github.com/lonng/nano/serialize"
	"github.com/lonng/nano/session"
)

// Errors of AskNode.
var (
	ErrNoNode   = errors.New("the cluster has no other node with this id")
	ErrNodeDown = errors.New("the node is down")
)

// Server is a server of package nano. Its methods may be called concurrently.
type Server interface {
	// Sessions returns the open sessions, in no order. It takes some milliseconds for
	// 100,000 sessions and does not block the logic goroutine. It includes sessions of
	// other nodes' clients that have been used on this node.
	Sessions() []*session.Session
	// Groups returns the groups of which a session is a member.
	Groups(s *session.Session) []Group
	// Rooms returns the rooms of the server, nil if it has no kinds of rooms.
	Rooms() Rooms
	// StuckStack returns the stack of the logic goroutine if one task has run there for
	// longer than limit, "" otherwise. It stops all goroutines meanwhile.
	StuckStack(limit time.Duration) string
	// Routes returns the routes that clients may use on this node, sorted.
	Routes() []Route
	// Serializer returns the serializer of the server.
	Serializer() serialize.Serializer
	// Connect serves a client of this process over conn, without TLS. The server closes
	// conn, also if it returns an error.
	Connect(conn net.Conn) error
	// NodeID returns the id of the server in its cluster, "" if it is not a node.
	NodeID() string
	// ServeNodes sets the function that answers AskNode of other nodes. It is called on
	// goroutines of its own, at most 8 at a time, and returns when ctx ends.
	ServeNodes(f func(ctx context.Context, data []byte) []byte)
	// AskNode sends data to another node and waits for its answer. The error is ErrNoNode,
	// ErrNodeDown, or one with a code of package message.
	AskNode(ctx context.Context, id string, data []byte) ([]byte, error)
	// Closing reports whether the server shuts down or has shut down.
	Closing() bool
	// Log returns the log of the server, without a limit on equal messages.
	Log() *slog.Logger
	// Stopped returns a channel that is closed when the server has shut down.
	Stopped() <-chan struct{}
}

// Route is a route with its handler.
type Route struct {
	Route   string
	Request reflect.Type // a pointer; nil for []byte
	Reply   reflect.Type // a pointer; nil if the handler returns none
}

// New returns a new request. Request is not nil.
func (r Route) New() any { return reflect.New(r.Request.Elem()).Interface() }

// Group is a group of sessions. It is comparable, and its methods may be called
// concurrently.
type Group interface {
	Name() string
	// Sessions returns up to limit members, and the number of all.
	Sessions(limit int) (list []*session.Session, count int)
}

// Of returns the Server of a *nano.Server. Package nano sets it before main starts.
var Of func(srv any) Server
