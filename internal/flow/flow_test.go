package flow_test

import (
	"sync"
	"testing"

	"github.com/lonng/nano/internal/flow"
)

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		name           string
		messages, size int
		free           int
		half           bool
	}{
		{"empty", 0, 0, 256, false},
		{"half of the messages", 128, 0, 128, false},
		{"more than half of the messages", 129, 0, 127, true},
		{"all messages", 256, 0, 0, true},
		{"more messages", 257, 0, -1, true},
		{"half of the bytes", 1, flow.MinSize / 2, 255, false},
		{"more than half of the bytes", 1, flow.MinSize/2 + 1, 255, true},
		{"all bytes", 1, flow.MinSize, 0, true},
	} {
		w := flow.NewWindow(256, 1)
		w.Acquire(c.messages, c.size)
		if free, half := w.Free(), w.HalfUsed(); free != c.free || half != c.half {
			t.Errorf("%s: Free = %d, HalfUsed = %v, want %d, %v", c.name, free, half, c.free, c.half)
		}
		w.Release(c.messages, c.size)
		if free := w.Free(); free != 256 {
			t.Errorf("%s: Free = %d after Release, want 256", c.name, free)
		}
	}
	if free := flow.NewWindow(1, 1).Free(); free != flow.MinMessages {
		t.Errorf("Free of a small window = %d, want %d", free, flow.MinMessages)
	}
}

// TestShareAndAcks checks that the gate charges nothing after the node has run and
// acknowledged all messages. Before that, the charge is at most the messages sent, and at
// least those without the part that may be unacknowledged.
func TestShareAndAcks(t *testing.T) {
	for _, size := range []int{0, 10, 2 << 10, 40 << 10} {
		w := flow.NewWindow(1<<20, 1<<40)
		var share flow.Share
		var acks flow.Acks
		const messages = 1000
		for range messages {
			share.Acquire(w, 1, size)
		}
		if used := 1<<20 - w.Free(); used > messages || used < messages-flow.MinMessages {
			t.Errorf("payloads of %d bytes: %d of %d messages are charged", size, used, messages)
		}
		portions := 0
		for range messages {
			if m, n, due := acks.Add(1, size); due {
				portions++
				share.Release(w, int(m), int(n))
			}
		}
		if free := w.Free(); free != 1<<20 || w.HalfUsed() {
			t.Errorf("payloads of %d bytes: Free = %d when all have run, want all", size, free)
		}
		if portions == 0 || size < 1<<10 && portions > messages/16 {
			t.Errorf("payloads of %d bytes: %d acknowledgments of %d messages", size, portions, messages)
		}
	}
}

// TestSkip checks that messages that need no acknowledgment are not counted, before or
// after they have run.
func TestSkip(t *testing.T) {
	var acks flow.Acks
	for i := range 1000 {
		if i%2 == 0 {
			acks.Skip(1, 100) // it did not come from the gate
		}
		m, n, due := acks.Add(1, 100)
		if i%2 == 1 {
			acks.Skip(1, 100) // its answer acknowledges it
		}
		if due {
			t.Fatalf("Add = %d, %d after %d messages, none of which needs an acknowledgment", m, n, i+1)
		}
	}
}

func TestReleaseAll(t *testing.T) {
	w := flow.NewWindow(256, 1<<20)
	var share flow.Share
	share.Acquire(w, 200, 1<<20)
	share.ReleaseAll(w)
	if free := w.Free(); free != 256 {
		t.Errorf("Free = %d after ReleaseAll, want 256", free)
	}
}

// TestAcksConcurrent checks that every message is acknowledged once, on whichever
// goroutine it ran.
func TestAcksConcurrent(t *testing.T) {
	var acks flow.Acks
	var mu sync.Mutex
	var messages, size int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				m, n, _ := acks.Add(1, 3)
				mu.Lock()
				messages, size = messages+m, size+n
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if messages > 8000 || messages < 8000-flow.MinMessages || size > 24000 || size < 24000-flow.MinSize {
		t.Errorf("%d messages with %d bytes were acknowledged, want about 8000 with 24000", messages, size)
	}
}

func TestBacklog(t *testing.T) {
	for _, c := range [][4]int{
		{256, 256 << 10, 2*256 + flow.MinMessages, 2*256<<10 + flow.MinSize},
		{1, 1, 3 * flow.MinMessages, 3 * flow.MinSize},
	} {
		if m, n := flow.Backlog(c[0], c[1]); m != c[2] || n != c[3] {
			t.Errorf("Backlog(%d, %d) = %d, %d, want %d, %d", c[0], c[1], m, n, c[2], c[3])
		}
	}
}
