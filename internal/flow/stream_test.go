package flow

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestStreamWindow(t *testing.T) {
	var s Sent
	var r Received
	sent, credit := 0, uint64(0)
	for unread := 0; sent < 10*StreamSize; {
		n := min(1+rand.IntN(StreamSize), s.Room())
		s.Add(n)
		sent += n
		if !r.Add(n) {
			t.Fatalf("the receiver refuses byte %d, which the sender had room for", sent)
		}
		if unread += n; s.Room() > 0 && rand.IntN(2) == 0 {
			continue
		}
		for s.Room() == 0 || rand.IntN(2) == 0 {
			n := min(1+rand.IntN(StreamSize), unread)
			unread -= n
			c := r.Consume(n)
			credit += uint64(c)
			if !s.Release(uint64(c)) {
				t.Fatalf("credit for %d bytes, %d were sent", credit, sent)
			}
			if unread == 0 {
				break
			}
		}
		if unread == 0 && s.Room() == 0 {
			t.Fatal("everything was consumed, and the sender has no room")
		}
	}
}

func TestStreamWindowFaults(t *testing.T) {
	var s Sent
	s.Add(10)
	for _, n := range []uint64{11, math.MaxInt64 + 1, math.MaxUint64} {
		if s.Release(n) {
			t.Errorf("Release(%d) = true for 10 bytes that were sent", n)
		}
	}
	if !s.Release(10) || s.Room() != StreamSize {
		t.Errorf("Room() = %d after all credit came, want %d", s.Room(), StreamSize)
	}
	var r Received
	if !r.Add(StreamSize) || r.Add(1) {
		t.Error("want room for StreamSize bytes, and not for one more")
	}
}
