// Package rawio reads and writes sockets with system calls that are not announced to the runtime.
//
// Package net announces each call, because a call might block. Sockets of package net never do. An
// announced call costs some 50 ns more. In a process that is often idle it also wakes the runtime's
// monitor thread, which then polls for milliseconds. With the build tag nano_portable, and on
// systems other than Unix, no connection has a raw side.
package rawio
