//go:build !nano_portable

package agent

import (
	"errors"
	"os"
	"time"
)

// The reader of an idle connection continues on a new goroutine. Decoding has grown the
// stack of the old goroutine to 4 KB or more. The runtime shrinks a stack only if a
// quarter of it is enough, and a waiting reader needs 2 KB.

// renewAt renews the reader if the connection is quiet. It returns the time of the next
// check, which is not after next.
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

// renew wakes the reader, which then continues on a new goroutine.
func (c *Conn) renew() {
	c.flags.clear(flagGrown)
	c.flags.set(flagRenewing)
	_ = c.socket.SetReadDeadline(time.Unix(1, 0))
}

// renewed reports whether renew caused the read error err, and then clears the read
// deadline.
func (c *Conn) renewed(err error) bool {
	if !c.flags.clear(flagRenewing) || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	_ = c.socket.SetReadDeadline(time.Time{})
	return true
}
