package main

import (
	"runtime"
	"slices"
	"time"

	"github.com/lonng/nano/benchmark/internal/proc"
)

// Times are CPU times of all threads, user and system. Other programs count only as far
// as they slow the processor down, and the calibration loop shows that.

// scratch is the memory of the calibration loop. It fits the second-level cache, but not
// the first.
var scratch [1 << 16]uint32

// calibrate runs a fixed loop. Its duration shows how busy the machine is. The loop does
// several kinds of work at once, so it is sensitive to another program on the same core.
func calibrate() float64 {
	from := proc.CPUTime()
	a, b, c, d := uint32(1), uint32(2), uint32(3), uint32(4)
	for i := range uint32(2_000_000) {
		a = a*1664525 + i
		b = b*22695477 + scratch[a>>16]
		c = (c ^ c>>13) + i
		d += scratch[b>>16] ^ c
		scratch[c>>16] = d
	}
	runtime.KeepAlive(a + b + c + d) // keeps the compiler from removing the loop
	return float64(proc.CPUTime() - from)
}

// perBatch is the time of calls between two reads of the clock.
const perBatch = 200 * time.Microsecond

// timed calls f for some milliseconds. It returns the nanoseconds per call and the number
// of calls.
func timed(milliseconds float64, f func() error) (ns float64, calls int, err error) {
	from := proc.CPUTime()
	last := from
	for batch := 1; ; {
		for range batch {
			if err := f(); err != nil {
				return 0, 0, err
			}
		}
		calls += batch
		now := proc.CPUTime()
		if past := float64(now - from); past >= milliseconds*1e6 {
			return past / float64(calls), calls, nil
		}
		if now-last < perBatch {
			batch *= 2
		}
		last = now
	}
}

// measure returns the nanoseconds per call of f. It is the median of several rounds, with
// the calibration loop between them.
func measure(s spec, f func() error) (r result, err error) {
	if _, _, err := timed(s.Warm, f); err != nil {
		return r, err
	}
	calibrate()
	var times, calibrations []float64
	var before, after runtime.MemStats
	total := 0
	runtime.ReadMemStats(&before)
	for range s.Rounds {
		calibrations = append(calibrations, calibrate())
		ns, calls, err := timed(s.Round, f)
		if err != nil {
			return r, err
		}
		times = append(times, ns)
		total += calls
	}
	runtime.ReadMemStats(&after)
	// The runtime and the rounds allocate a little. A tick that allocates once counts as
	// 1 or more.
	allocs := float64(after.Mallocs-before.Mallocs) / float64(total)
	return result{NS: median(times), Calibration: median(calibrations), Allocs: allocs}, nil
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}
