// Package netpoll reports which of many sockets have become readable. One goroutine waits
// for all of them, where package net needs one for each.
//
// A [Poller] works in addition to the poller of the Go runtime: the sockets belong to
// package net, and are read and written as usual. Only Linux has a Poller. On other
// systems, and with the build tag nano_portable, New returns [errors.ErrUnsupported].
package netpoll

import (
	"errors"
	"sync/atomic"
)

// Disabled makes New return an error, so that a benchmark can compare a server with and
// without a Poller. Set it before the server starts.
var Disabled atomic.Bool

var errDisabled = errors.New("netpoll: disabled")

// Event says that a socket has become readable.
type Event struct {
	ID    int64 // see [Poller.Watch]
	Ended bool  // the peer has closed its side, or the socket has failed; bytes may come before
}
