package handler

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	slowCalls = 5                // calls that are kept
	slowAge   = 15 * time.Minute // how long they are kept
)

// SlowCall is one call of a handler.
type SlowCall struct {
	Time    time.Time     // when it ended
	Took    time.Duration // for how long it held its goroutine
	Session int64         // 0 for none
	UID     int64
}

// Slowest keeps the slowest calls of the last 15 minutes. Old calls make room only in Load,
// and in Add for a slower one. The zero value is ready. Its methods may be called
// concurrently.
type Slowest struct {
	floor atomic.Int64 // a call that took no longer is not kept

	mu   sync.Mutex
	list []SlowCall // the slowest first; mu guards it
}

// Beats reports whether a call is slow enough to be kept. Nearly all calls are not, and
// cost one load.
func (s *Slowest) Beats(took time.Duration) bool { return int64(took) > s.floor.Load() }

// Add keeps a call if it is among the slowest.
func (s *Slowest) Add(c SlowCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(c.Time)
	at, _ := slices.BinarySearchFunc(s.list, c, func(a, b SlowCall) int { return cmp.Compare(b.Took, a.Took) })
	s.list = slices.Insert(s.list, at, c)
	if len(s.list) > slowCalls {
		s.list = s.list[:slowCalls]
	}
	s.setFloor()
}

// Load returns the calls, the slowest first.
func (s *Slowest) Load() []SlowCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(time.Now())
	s.setFloor()
	return slices.Clone(s.list)
}

// expire drops the calls that are too old at now. The caller holds mu.
func (s *Slowest) expire(now time.Time) {
	s.list = slices.DeleteFunc(s.list, func(c SlowCall) bool { return now.Sub(c.Time) > slowAge })
}

// setFloor sets the floor for the list. The caller holds mu.
func (s *Slowest) setFloor() {
	floor := time.Duration(0)
	if len(s.list) == slowCalls {
		floor = s.list[slowCalls-1].Took
	}
	s.floor.Store(int64(floor))
}
