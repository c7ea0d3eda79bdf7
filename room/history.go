package room

import "time"

// historyTime is how far back maps with the tag history can be asked: see
// [state.Map.At].
const historyTime = 500 * time.Millisecond

// historyTicks returns how many sent states cover historyTime.
func (k *kind) historyTicks() int {
	between := k.dt * time.Duration(k.every)
	return int((historyTime+between-1)/between) + 1
}
