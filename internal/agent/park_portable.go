//go:build nano_portable

package agent

import "time"

// Readers keep their goroutines.

func (c *Conn) settleAt(_, next time.Duration) time.Duration { return next }

func (c *Conn) settled(error) bool { return false }
