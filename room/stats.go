package room

import (
	"cmp"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"
)

// roomStats counts what a room does. The room's scheduler writes, anybody reads.
type roomStats struct {
	ticks         atomic.Int64
	skipped       atomic.Int64
	panics        atomic.Int64
	slow          atomic.Int64
	inputsDropped atomic.Int64
	bytes         atomic.Int64
	busy          atomic.Int64 // nanoseconds
	lags          [lagBuckets]atomic.Int64
}

// lagBuckets are powers of two of microseconds: the first is below 1 µs, the last from 2^22 µs, some 4 s.
const lagBuckets = 24

func (s *roomStats) late(lag time.Duration) {
	s.lags[min(bits.Len64(uint64(max(lag, 0)/time.Microsecond)), lagBuckets-1)].Add(1)
}

func (s *roomStats) took(d time.Duration) {
	s.ticks.Add(1)
	s.busy.Add(int64(d))
}

// quantile returns a bound that the given part of the lags did not pass, within a factor of two.
func (s *roomStats) quantile(q float64) time.Duration {
	var counts [lagBuckets]int64
	var total int64
	for i := range counts {
		counts[i] = s.lags[i].Load()
		total += counts[i]
	}
	rank := int64(q * float64(total))
	for i, n := range counts {
		if rank -= n; rank < 0 {
			return time.Microsecond << i
		}
	}
	return 0
}

// Stats is what a room has done.
type Stats struct {
	Info
	Ticks         int64
	Skipped       int64         // ticks that did not run because the room was late
	LagP50        time.Duration // how late ticks began, within a factor of two
	LagP99        time.Duration
	Busy          time.Duration // time that ticks took, all together
	Panics        int64
	SlowClients   int64 // patches that were not sent because the client did not read
	InputsDropped int64
	Bytes         int64 // of state, to all players
	Spectators    int
}

func (c *core) read() Stats {
	s := Stats{
		Info:          c.info(),
		Ticks:         c.stats.ticks.Load(),
		Skipped:       c.stats.skipped.Load(),
		LagP50:        c.stats.quantile(0.5),
		LagP99:        c.stats.quantile(0.99),
		Busy:          time.Duration(c.stats.busy.Load()),
		Panics:        c.stats.panics.Load(),
		SlowClients:   c.stats.slow.Load(),
		InputsDropped: c.stats.inputsDropped.Load(),
		Bytes:         c.stats.bytes.Load(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Spectators = c.watchers
	return s
}

// stats returns the rooms of the node, those that took the most time first.
func (n *node) stats(k *kind) []Stats {
	cores := n.cores(k)
	list := make([]Stats, len(cores))
	for i, c := range cores {
		list[i] = c.read()
	}
	slices.SortFunc(list, func(a, b Stats) int {
		return cmp.Or(cmp.Compare(b.Busy, a.Busy), cmp.Compare(a.ID, b.ID))
	})
	return list
}
