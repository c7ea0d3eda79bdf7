//go:build nano_portable

package agent

// maxPauses is 0: readers never yield.
const maxPauses = 0

func (c *Conn) pause() {}
