//go:build nano_portable

package agent

// maxPauses is 0: readers never let others run before them.
const maxPauses = 0

func (c *Conn) pause() {}
