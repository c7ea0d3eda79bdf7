//go:build !race

package agent

import (
	"sync/atomic"
	"unsafe"
)

// storeRelaxed is p.Store(v) for one writer at a time, whose store may become visible a little later than what it reads
// next; it is never seen before what was written earlier. On amd64, where stores keep their order, that is an ordinary
// one: the locked instruction of Store would cost as much as the rest of the bookkeeping of a message.
func storeRelaxed(p *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(p)) = v }
