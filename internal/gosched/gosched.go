// Package gosched has a goroutine let others run before it takes what they have gathered for it: one batch of many costs
// less than many of one.
package gosched

import (
	"runtime"
	"time"
)

const (
	most   = 5 * time.Millisecond // a yield that takes longer is a long one; Go has a goroutine run for 10 ms at most
	inARow = 3                    // long ones, after which there are none for a while: fewer may be the garbage collector's doing
	pause  = time.Second          // that while
)

// Yielder yields for one goroutine. The zero value is ready.
type Yielder struct {
	long  int       // yields that took long, in a row
	until time.Time // when to try again, after too many of those
}

// Yield has those goroutines run that are ready to, if they are quick about it: where others compute for long, again and
// again, it returns at once for a second.
func (y *Yielder) Yield() {
	if y.long == inARow {
		if time.Now().Before(y.until) {
			return
		}
		y.long--
	}
	began := time.Now()
	runtime.Gosched()
	if now := time.Now(); now.Sub(began) <= most {
		y.long = 0
	} else if y.long++; y.long == inARow {
		y.until = now.Add(pause)
	}
}
