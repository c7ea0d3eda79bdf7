package cluster

import (
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/internal/mesh"
	"github.com/lonng/nano/internal/relay"
	"github.com/lonng/nano/session"
)

var (
	// ErrMemberDown is returned when a member is down. Messages that were sent to it before may or may not have
	// arrived: each is delivered at most once.
	ErrMemberDown = link.ErrDown
	// ErrQueueFull is returned when the queue to a member is full, because the member reads too slowly. The message was not
	// sent.
	ErrQueueFull = link.ErrQueueFull
	// ErrLogicGoroutine is returned by Session.Call on the logic goroutine if this node serves the call there, because
	// the call would wait for itself.
	ErrLogicGoroutine = relay.ErrLogicGoroutine
	// ErrRefused is returned when this node and a member refuse each other: their secrets or versions differ, or both have
	// the same address. Another attempt fails as well.
	ErrRefused = mesh.ErrRefused
	// ErrDuplicateID is returned when another member has the node id that this node asks for.
	ErrDuplicateID = mesh.ErrDuplicateID
	// ErrInvalidRegisterReq is returned when a node has no address at which other nodes can dial it.
	ErrInvalidRegisterReq = mesh.ErrNoAddr
	// ErrStopped is returned when this node was stopped.
	ErrStopped = mesh.ErrStopped
)

// Errors of sessions, under the names that programs know here. They are those of package session.
var (
	ErrBrokenPipe         = session.ErrBrokenPipe
	ErrBufferExceed       = session.ErrBufferExceed
	ErrCloseClosedSession = session.ErrCloseClosedSession
	ErrSessionOnNotify    = session.ErrSessionOnNotify
)

// CallTimeout is the time limit of a call whose context has no deadline: 10 s.
const CallTimeout = relay.CallTimeout
