package cluster

import (
	"errors"

	"github.com/lonng/nano/internal/nodeauth"
	"github.com/lonng/nano/internal/link"
	"github.com/lonng/nano/session"
)

var (
	// ErrMemberDown tells that a member is down. What was sent to it before may have arrived or not: delivery is at most
	// once.
	ErrMemberDown = link.ErrDown
	// ErrQueueFull tells that a member takes frames slower than they come. The frame was not sent.
	ErrQueueFull = link.ErrQueueFull
	// ErrRefused tells that this node and a member do not want each other: their secrets or versions differ, or both
	// say that they are at the same address.
	ErrRefused = nodeauth.ErrRefused
	// ErrDuplicateID tells that another member has the node id that was asked for.
	ErrDuplicateID = errors.New("cluster: node id is in use")
	// ErrStopped tells that this node was stopped.
	ErrStopped = link.ErrStopped

	errReplaced = errors.New("cluster: member opened a new link")
)

// What sessions return, under the names that programs know them by here.
var (
	ErrBrokenPipe         = session.ErrBrokenPipe
	ErrBufferExceed       = session.ErrBufferExceed
	ErrCloseClosedSession = session.ErrCloseClosedSession
	ErrSessionOnNotify    = session.ErrSessionOnNotify
)

// ErrInvalidRegisterReq tells of a node that does not say where it can be dialed.
var ErrInvalidRegisterReq = errors.New("cluster: node without an address")
