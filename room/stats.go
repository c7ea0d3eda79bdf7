package room

import (
	"cmp"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lonng/nano"
)

// roomStats holds the counters of a room. The room's scheduler writes them, and any
// goroutine may read them.
type roomStats struct {
	ticks         atomic.Int64
	skipped       atomic.Int64
	panics        atomic.Int64
	slow          atomic.Int64
	inputsDropped atomic.Int64
	bytes         atomic.Int64
	busy          atomic.Int64 // nanoseconds
	presence      atomic.Int64 // sum of the players' connected time in nanoseconds
	lags          [lagBuckets]atomic.Int64
}

// lagBuckets are powers of two of microseconds. The first bucket is below 1 µs, and the
// last starts at 2^22 µs, about 4 s.
const lagBuckets = 24

func (s *roomStats) late(lag time.Duration) {
	s.lags[min(bits.Len64(uint64(max(lag, 0)/time.Microsecond)), lagBuckets-1)].Add(1)
}

// took adds time that the room used on its scheduler.
func (s *roomStats) took(d time.Duration) { s.busy.Add(int64(d)) }

// lateness holds the number of late ticks by bucket of the delay.
type lateness [lagBuckets]int64

// add adds the ticks of a room.
func (l *lateness) add(s *roomStats) {
	for i := range l {
		l[i] += s.lags[i].Load()
	}
}

// quantile returns the delay below which the given fraction of the ticks started, within
// a factor of two.
func (l *lateness) quantile(q float64) time.Duration {
	var total int64
	for _, n := range l {
		total += n
	}
	rank := int64(q * float64(total))
	for i, n := range l {
		if rank -= n; rank < 0 {
			return time.Microsecond << i
		}
	}
	return 0
}

// Stats holds the statistics of a room since its start.
type Stats struct {
	Info
	Age            time.Duration // age of the room
	Ticks          int64         // ticks that ran
	Skipped        int64         // ticks that did not run because the room was late
	LagP50         time.Duration // median delay of ticks, within a factor of two
	LagP99         time.Duration // 99 of 100 ticks were delayed by at most this, within a factor of two
	Busy           time.Duration // time used by ticks, messages and timers
	Load           float64       // Busy divided by Age: 1 is a whole core
	Panics         int64         // panics in methods of the room
	SlowClients    int64         // patches not sent because the client did not read
	InputsDropped  int64         // inputs of players who sent too many
	Bytes          int64         // bytes of state sent to all players
	BytesPerPlayer float64       // bytes of state per second and connected player, including spectators
	Spectators     int           // number of spectators
}

func (c *core) read() Stats {
	var lags lateness
	lags.add(&c.stats)
	s := Stats{
		Info:          c.info(),
		Age:           time.Since(c.base),
		Ticks:         c.stats.ticks.Load(),
		Skipped:       c.stats.skipped.Load(),
		LagP50:        lags.quantile(0.5),
		LagP99:        lags.quantile(0.99),
		Busy:          time.Duration(c.stats.busy.Load()),
		Panics:        c.stats.panics.Load(),
		SlowClients:   c.stats.slow.Load(),
		InputsDropped: c.stats.inputsDropped.Load(),
		Bytes:         c.stats.bytes.Load(),
	}
	if s.Age > 0 {
		s.Load = float64(s.Busy) / float64(s.Age)
	}
	if presence := c.stats.presence.Load(); presence > 0 {
		s.BytesPerPlayer = float64(s.Bytes) / time.Duration(presence).Seconds()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Spectators = c.watchers
	return s
}

// stats returns the rooms of the node, those with the highest load first.
func (n *node) stats(k *kind) []Stats {
	cores := n.cores(k)
	list := make([]Stats, len(cores))
	for i, c := range cores {
		list[i] = c.read()
	}
	slices.SortFunc(list, func(a, b Stats) int {
		return cmp.Or(cmp.Compare(b.Load, a.Load), cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// RoomsStats returns the sums over all rooms for the server's Stats.
func (s *server) RoomsStats() nano.RoomsStats {
	sum := nano.RoomsStats{Panics: s.node.panics.Load()}
	var lags lateness
	var presence time.Duration
	for _, c := range s.node.cores(nil) {
		lags.add(&c.stats)
		presence += time.Duration(c.stats.presence.Load())
	}
	list := s.node.stats(nil)
	for i, r := range list {
		sum.Rooms++
		sum.Seats += r.Players
		sum.Spectators += r.Spectators
		sum.Ticks += r.Ticks
		sum.Skipped += r.Skipped
		sum.Busy += r.Busy
		sum.SlowClients += r.SlowClients
		sum.InputsDropped += r.InputsDropped
		sum.Bytes += r.Bytes
		if i < nano.MaxLoudest {
			sum.Loudest = append(sum.Loudest, nano.RoomLoad{
				ID: r.ID, Kind: r.Kind, Seats: r.Players, Load: r.Load, Busy: r.Busy, LagP50: r.LagP50, LagP99: r.LagP99,
				Skipped: r.Skipped, Bytes: r.Bytes, BytesPerPlayer: r.BytesPerPlayer,
			})
		}
	}
	sum.LagP50, sum.LagP99 = lags.quantile(0.5), lags.quantile(0.99)
	if presence > 0 {
		sum.BytesPerPlayer = float64(sum.Bytes) / presence.Seconds()
	}
	return sum
}
