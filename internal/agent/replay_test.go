package agent

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/lonng/nano/internal/message"
	"github.com/lonng/nano/internal/packet"
)

// TestHistory compares a history with a list of packets, while packets are added,
// acknowledged and trimmed at random.
func TestHistory(t *testing.T) {
	const most = 6000
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		h := history{first: 1}
		var want []string // packets first..last
		first, acked := uint64(1), uint64(0)
		for step := range 300 {
			switch r.IntN(5) {
			case 0, 1, 2:
				buf := &buffer{shared: r.IntN(3) == 0}
				var fleeting []span
				n := 1 + r.IntN(4)
				if buf.shared {
					n = 1
				}
				for range n {
					p := data(t, message.Message{Type: message.Push, Route: "news", Data: []byte(strings.Repeat(fmt.Sprint(step%10), r.IntN(900)))})
					at := len(buf.b)
					buf.b = append(buf.b, p...)
					if !buf.shared && r.IntN(5) == 0 {
						fleeting = append(fleeting, span{at, len(buf.b)})
						p = data(t, message.Message{Type: message.Push, Route: "news"})
					}
					want = append(want, string(p))
				}
				h.keep(buf, n, fleeting)
				h.sent = h.last
				if !buf.shared {
					clear(buf.b) // the owner reuses the buffer
				}
			case 3:
				n := acked + uint64(r.IntN(int(h.sent-acked)+1))
				if got := h.acknowledge(n); got != (n > acked) {
					t.Fatalf("seed %d: acknowledge(%d) = %v after %d", seed, n, got, acked)
				}
				acked = n
				for first <= n {
					want, first = want[1:], first+1
				}
			case 4:
				if !h.trim(most) {
					t.Fatalf("seed %d: trim = false for packets that were sent", seed)
				}
				size := len(strings.Join(want, ""))
				for size > most && len(want) > 1 {
					size -= len(want[0])
					want, first = want[1:], first+1
				}
			}
			if h.bytes != len(strings.Join(want, "")) || h.first != first || h.empty() != (len(want) == 0) {
				t.Fatalf("seed %d: %d bytes from %d on, want %d from %d", seed, h.bytes, h.first, len(strings.Join(want, "")), first)
			}
			if got, n := h.appendTo(nil, false); string(got) != strings.Join(want, "") || n != len(want) {
				t.Fatalf("seed %d, step %d: %d packets are replayed, want %d:\n%q\n%q", seed, step, n, len(want), got, want)
			}
		}
	}
}

// Packets that were not sent yet are kept.
func TestHistoryKeepsWhatIsNotSent(t *testing.T) {
	h := history{first: 1}
	b := data(t, message.Message{Type: message.Push, Route: "news", Data: make([]byte, 100)})
	for range 4 {
		h.keep(&buffer{b: b}, 1, nil)
	}
	h.sent = 2
	if h.trim(2*len(b)) != true || h.first != 3 {
		t.Errorf("first = %d after trimming, want 3", h.first)
	}
	if h.trim(len(b)) {
		t.Error("trim = true, want false: the next packet was not sent")
	}
	if got, _ := h.appendTo(nil, true); len(got) != 2*(len(b)+2) || packet.Type(got[2]) != packet.Data {
		t.Errorf("framed replay %x", got)
	}
}
