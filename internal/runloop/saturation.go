package runloop

import "time"

const (
	minRest        = 20 * time.Microsecond  // shorter gaps between batches are no rest
	longRest       = 500 * time.Microsecond // a loop that rested longer at once is not saturated
	saturatedAfter = 2 * time.Millisecond   // the time over which rest is added up
)

// Saturated reports whether the loop has rested for less than half of the last milliseconds.
// Then a caller with work for it does better to gather much at a time than to bring little at
// once.
func (l *Loop) Saturated() bool { return l.saturated.Load() }

// noteLoad updates Saturated when a batch is about to run whose first task was queued at
// oldest. With many ready connections the runtime takes some 100 µs to find them: such gaps are
// rest, but too short to end the saturation by themselves.
func (l *Loop) noteLoad(oldest time.Duration) {
	gap := oldest - l.idle
	if gap > minRest {
		l.rested += gap
	}
	if gap > longRest {
		l.setSaturated(false)
	} else if passed := oldest - l.since; passed > saturatedAfter {
		l.setSaturated(l.rested < passed/2)
	} else {
		return
	}
	l.since, l.rested = oldest, 0
}

// setSaturated writes only a change: readers on other cores keep their copy.
func (l *Loop) setSaturated(saturated bool) {
	if l.saturated.Load() != saturated {
		l.saturated.Store(saturated)
	}
}
