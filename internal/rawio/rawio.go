// Package rawio reads and writes the sockets of package net with system calls.
//
// Package net announces each call to the runtime, because a call might block. Its sockets never do.
// An announced call costs some 50 ns more. In a process that is often idle it also wakes the
// runtime's monitor thread, which then polls for a millisecond. On Linux, package rawio announces no
// call. With the build tag nano_portable, and on systems other than Unix, no connection has a raw
// side.
package rawio
