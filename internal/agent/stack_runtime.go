//go:build !nano_portable

package agent

import (
	"errors"
	"os"
	"time"
)

// The reader of a connection that has fallen quiet goes on with a new goroutine. Decoding
// has grown the stack of the old one to 4 KB or more, and the runtime shrinks a stack
// only when a quarter of it would do; a reader that only waits needs 2 KB.

// renewAt renews the reader if the connection is quiet, and returns when to look again:
// at next at the latest.
func (c *Conn) renewAt(now, last, next time.Duration) time.Duration {
	if c.raw == nil || !c.flags.has(flagGrown) {
		return next
	}
	if now-last >= quietTime {
		c.renew()
		return next
	}
	return min(next, now+quietTime)
}

// renew wakes the reader, which then goes on with a new goroutine.
func (c *Conn) renew() {
	c.flags.clear(flagGrown)
	c.flags.set(flagRenewing)
	_ = c.socket.SetReadDeadline(time.Unix(1, 0))
}

// renewed reports whether a read failed with err because of renew, and takes the deadline
// back.
func (c *Conn) renewed(err error) bool {
	if !c.flags.clear(flagRenewing) || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	_ = c.socket.SetReadDeadline(time.Time{})
	return true
}
