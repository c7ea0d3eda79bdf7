package runloop

import "time"

const (
	minRest        = 20 * time.Microsecond  // shorter gaps between batches do not count
	longRest       = 500 * time.Microsecond // a loop that rested longer at once is not saturated
	saturatedAfter = 2 * time.Millisecond   // the time over which rest is added up
)

// noteLoad updates saturated when a batch is about to run whose first task was queued at
// oldest. With many ready connections the runtime takes some 100 µs to find them: such gaps are
// rest, but too short to end the saturation by themselves.
func (l *Loop) noteLoad(oldest time.Duration) {
	gap := oldest - l.idle
	if gap > minRest {
		l.rested += gap
	}
	if gap > longRest {
		l.saturated = false
	} else if passed := oldest - l.since; passed > saturatedAfter {
		l.saturated = l.rested < passed/2
	} else {
		return
	}
	l.since, l.rested = oldest, 0
}
