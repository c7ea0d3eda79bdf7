package agent

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/lonng/nano/internal/message"
)

// TestRecent compares what a session with resume keeps with a list of packets, while it
// sends broadcasts and other packets, and its client acknowledges them.
func TestRecent(t *testing.T) {
	var moves, returns int
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		h := &Hub{}
		h.Resume = Resume{Buffer: 20_000, MaxMemory: 1 << 30}
		c := &Conn{hub: h}
		o := &outbox{conn: c, resume: &resumption{begun: true}}
		var want []string // packets first to last
		first, acked, last := uint64(1), uint64(0), uint64(0)
		pack := func() []byte {
			size := r.IntN(100)
			if r.IntN(10) == 0 {
				size = r.IntN(3000)
			}
			return data(t, message.Message{Type: message.Push, Route: "news", Data: []byte(strings.Repeat(string(rune('a'+last%26)), size))})
		}
		copies := r.IntN(30) // a broadcast session now and then gets another packet
		for step := range 400 {
			switch n := r.IntN(100); {
			case n < 60:
				for range 1 + r.IntN(4) {
					p := pack()
					if n < copies {
						if err := o.append(1<<20, 1<<20, func(b []byte) ([]byte, error) { return append(b, p...), nil }); err != nil {
							t.Fatal(err)
						}
					} else {
						next := &buffer{b: p, shared: true, packets: 1}
						if o.buf = o.sharedWith(next, true); o.buf == nil {
							o.buf = next // other packets would have been taken before
							want, last = want[:len(want)-int(o.messages)], last-uint64(o.messages)
							o.messages = 0
						}
						o.messages++
					}
					want, last = append(want, string(p)), last+1
				}
				var s sent
				b := o.take(c, &s)
				if b.packets.shared {
					b.packets.free()
				}
				o.taken, o.writing = 0, false
				for size := len(strings.Join(want, "")); size > h.Resume.Buffer && len(want) > 1; first++ {
					size -= len(want[0])
					want = want[1:]
				}
			case n < 85:
				n := acked + uint64(r.IntN(int(last-acked)+1))
				if r.IntN(8) == 0 {
					n = last
				}
				if got := o.acknowledge(h, n); got != (n > acked) {
					t.Fatalf("seed %d: acknowledge(%d) = %v after %d", seed, n, got, acked)
				}
				for acked = n; first <= n; first++ {
					want = want[1:]
				}
			case n < 95:
				before := o.recent
				o.rest()
				if o.recent != nil && before == nil {
					returns++
				}
			default:
				if o.recent != nil {
					moves++
				}
				if got, n := o.activate().history.appendTo(nil, false); string(got) != strings.Join(want, "") || n != len(want) {
					t.Fatalf("seed %d, step %d: %d packets are kept, want %d:\n%q\n%q", seed, step, n, len(want), got, want)
				}
			}
			if got := o.sent(); got != last {
				t.Fatalf("seed %d: sent() = %d, want %d", seed, got, last)
			}
			for n := acked - min(acked, 2); n <= last; n++ {
				if got, want := o.keeps(n), n >= acked && n+1 >= first; got != want {
					t.Fatalf("seed %d: keeps(%d) = %v with %d acknowledged and packets from %d on, want %v", seed, n, got, acked, first, want)
				}
			}
			size := int64(len(strings.Join(want, "")))
			if held := h.Counts.Held.Load(); held > size+2*maxJoined || held < size-maxJoined-minCharge || size == 0 && held != 0 {
				t.Fatalf("seed %d: %d bytes are held, want about %d", seed, held, size)
			}
		}
		o.acknowledge(h, last)
		o.rest()
		o.rest() // of a busy session
		if held := h.Counts.Held.Load(); held != 0 || o.recent != nil || o.resume.active != nil || o.resume.acked != last {
			t.Fatalf("seed %d: a session at rest holds %d bytes, and its client has acknowledged %d packets, want 0 and %d", seed, held, o.resume.acked, last)
		}
	}
	if moves < 100 || returns < 100 {
		t.Errorf("packets moved to an activity %d times and back %d times, want 100 or more", moves, returns)
	}
}

// TestRestConcurrently lets many sessions rest at once. The race detector finds one that
// uses its recent after another session may have got it from the pool.
func TestRestConcurrently(t *testing.T) {
	var sessions sync.WaitGroup
	for range 8 {
		sessions.Go(func() {
			o := &outbox{resume: &resumption{}}
			for range 500 {
				o.recent = recents.Get().(*recent)
				if o.rest(); o.recent != nil {
					t.Error("a session at rest has a recent")
				}
			}
		})
	}
	sessions.Wait()
}
