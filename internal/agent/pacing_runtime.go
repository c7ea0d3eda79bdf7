//go:build !nano_portable

package agent

import "runtime"

// maxPauses is how often a reader yields to other goroutines before it waits. A higher
// value helps clients that send the next request at once. A lower value helps clients
// whose data arrives when the runtime polls the kernel, which happens when no goroutine
// is runnable.
const maxPauses = 2

// pause yields to other goroutines before the next read of a socket that was just read.
// If the logic goroutine is busy, the client's next bytes have usually arrived
// afterwards. That saves a read without a result, and a short wait for those bytes. The
// read is only postponed, never omitted. With edge-triggered events, only a read finds
// the end of a stream.
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
