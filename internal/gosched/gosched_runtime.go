//go:build !nano_portable

package gosched

import (
	"runtime"
	"time"
)

const (
	maxYield = 5 * time.Millisecond // a longer yield is a slow one; Go runs a goroutine for 10 ms at most
	maxSlow  = 3                    // slow yields in a row before the pause; fewer may be the collector's doing
	pause    = time.Second          // how long Yield does nothing after that
)

// Yielder yields for one goroutine. The zero value is ready.
type Yielder struct {
	slow  int       // slow yields in a row
	until time.Time // when the pause ends
}

// Yield runs the goroutines that are ready. If others compute for long again and again, Yield
// returns at once for the next second.
func (y *Yielder) Yield() {
	if y.slow == maxSlow {
		if time.Now().Before(y.until) {
			return
		}
		y.slow--
	}
	began := time.Now()
	runtime.Gosched()
	if now := time.Now(); now.Sub(began) <= maxYield {
		y.slow = 0
	} else if y.slow++; y.slow == maxSlow {
		y.until = now.Add(pause)
	}
}
