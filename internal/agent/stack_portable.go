//go:build nano_portable

package agent

import "time"

// In this build, readers keep their stacks.

func (c *Conn) renewAt(_, _, next time.Duration) time.Duration { return next }

func (c *Conn) renewed(error) bool { return false }
