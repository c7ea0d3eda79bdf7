package agent

import (
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/lonng/nano/internal/packet"
)

// A suspended session whose buffers are empty takes at most 12 KiB of heap.
func TestSuspendedSessionIsSmall(t *testing.T) {
	const sessions, most = 500, 12 << 10
	h := newHost(t, func(c *Config) { c.Resume = Resume{Window: time.Minute, Buffer: 256 << 10, MaxMemory: 256 << 20} })
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // the second collection frees the contents of pools
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	visit := func() {
		client, conn := net.Pipe()
		h.Accept(conn)
		p := &peer{t, client}
		p.send(pack(t, packet.Handshake, `{"sys":{"resume":{}}}`))
		p.packet()
		p.send(pack(t, packet.Ack, ""))
		for id := range uint64(20) {
			p.echo(id+1, "hello")
		}
		p.send(pack(t, packet.Heartbeat, "\x14")) // acknowledges all 20
		_ = client.Close()
	}
	visit()
	before := heap()
	for range sessions {
		visit()
	}
	eventually(t, func() bool { return h.Counts.Suspended() == sessions+1 && h.Counts.Open.Load() == 0 })
	each := (heap() - before) / sessions
	t.Logf("a suspended session takes %d bytes", each)
	if each > most {
		t.Errorf("a suspended session takes %d bytes, want at most %d", each, most)
	}
	agents := h.snapshot()
	if i := slices.IndexFunc(agents, func(a *Agent) bool { return !a.Suspended() || a.Queued() != 0 }); i >= 0 {
		t.Errorf("Suspended() = %v, Queued() = %d", agents[i].Suspended(), agents[i].Queued())
	}
}
