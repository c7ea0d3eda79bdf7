//go:build !nano_portable

package agent

import "runtime"

// maxPauses is how often a reader lets other goroutines run before it waits: between a
// client that asks again at once and one that has to wait until the runtime asks the
// kernel what is ready, which happens when no goroutine is.
const maxPauses = 2

// pause lets other goroutines run before a socket is read that was read just now. While
// the logic goroutine is pressed, the client's next bytes have then come more often than
// not: that saves the read that finds nothing, and waiting for bytes that are there in a
// moment. That read is never left out, only put off: with edges for events, it finds the
// end of a stream.
//
//go:noinline
func (c *Conn) pause() {
	if !c.hub.Dispatcher.Loop.Saturated() {
		return
	}
	c.in.turns--
	c.releaseBuffer()
	runtime.Gosched()
}
