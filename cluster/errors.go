package cluster

import (
	"errors"

	"github.com/lonng/nano/session"
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
