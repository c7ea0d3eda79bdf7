//go:build !amd64 || race

package agent

import "sync/atomic"

// storeRelaxed is p.Store(v) for one writer at a time.
func storeRelaxed(p *atomic.Uint64, v uint64) { p.Store(v) }
