//go:build linux && !nano_portable

package agent

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/lonng/nano/internal/packet"
)

// How long a client waits that wakes behind the heartbeats of 500 others, on one processor: with parked connections, and
// with a goroutine for each.
func BenchmarkWakeBehindHeartbeats(b *testing.B) {
	for _, unparked := range []bool{false, true} {
		name := "parked"
		if unparked {
			name = "unparked"
		}
		b.Run(name, func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			h := newHost(b, nil)
			if unparked {
				h.parking.stop()
			}
			peers := make([]*peer, 500)
			for i := range peers {
				client, server := socketPair(b)
				var a *Agent
				peers[i], a = accepted(b, h, client, server)
				if !unparked {
					parkNow(b, a)
				}
			}
			p, a := tcp(b, h)
			heartbeat := pack(b, packet.Heartbeat, "")
			var waits []time.Duration
			for n := uint64(1); b.Loop(); n++ {
				if !unparked {
					parkNow(b, a)
				}
				before := h.Counts.Control.Load()
				for _, other := range peers {
					other.sendWhole(heartbeat)
				}
				began := time.Now()
				p.echo(n, "wakes")
				waits = append(waits, time.Since(began))
				eventually(b, func() bool { return h.Counts.Control.Load() == before+int64(len(peers)) })
			}
			slices.Sort(waits)
			b.ReportMetric(float64(waits[len(waits)/2])/1e3, "µs/p50")
			b.ReportMetric(float64(waits[len(waits)*9/10])/1e3, "µs/p90")
		})
	}
}
