//go:build !nano_portable

package agent

import (
	"errors"
	"os"
	"time"
)

// The reader of a connection that has fallen quiet parks the connection. If that is not
// possible, the reader continues on a new goroutine. Decoding has grown the stack of the
// old goroutine to 4 KB or more, but a waiting reader needs 2 KB. The runtime shrinks a
// stack only if less than a quarter is used.

// settleAt wakes the reader if the connection is quiet, and returns when to look again:
// at next at the latest. A connection with only heartbeats and acknowledgments is quiet:
// the poller handles them at a lower cost than a reader.
func (c *Conn) settleAt(now, next time.Duration) time.Duration {
	if c.raw == nil {
		return next
	}
	if c.flags.clear(flagBusy) {
		quiet := time.Duration(c.seen.Load()) + c.hub.wheel.tick + quietTime // the packet came up to a tick after seen
		if quiet > now {
			return min(next, quiet)
		}
	}
	if c.flags.has(flagActive) {
		c.settle()
	}
	return next
}

// settle wakes the reader with a read deadline that has passed.
func (c *Conn) settle() {
	c.flags.clear(flagActive)
	_ = c.socket.SetReadDeadline(time.Unix(1, 0))
}

// settled reports whether a read failed with err because of settle, and takes the
// deadline back. A bare socket has no other read deadline.
func (c *Conn) settled(err error) bool {
	if c.raw == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	_ = c.socket.SetReadDeadline(time.Time{})
	return true
}
