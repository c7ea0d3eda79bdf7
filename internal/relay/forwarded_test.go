package relay

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestWaitingRequests compares the list with a simple one while requests are added and
// taken in random order.
func TestWaitingRequests(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var l waitingRequests
	var want []uint64
	next := uint64(1)
	for range 20000 {
		switch {
		case random.IntN(2) == 0 && len(want) < 40:
			n := 1 + random.IntN(5)
			var more []waitingRequest
			for range n {
				more = append(more, waitingRequest{id: next})
				want = append(want, next)
				next++
			}
			l.add(more...)
		case len(want) > 0:
			i := 0
			if random.IntN(4) == 0 {
				i = random.IntN(len(want))
			}
			id := want[i]
			want = slices.Delete(want, i, i+1)
			if w, ok := l.take(id); !ok || w.id != id {
				t.Fatalf("take(%d) = %v, %v", id, w, ok)
			}
			if w, ok := l.take(id); ok {
				t.Fatalf("take(%d) = %v for the second time", id, w)
			}
		}
		var got []uint64
		for _, w := range l.all() {
			got = append(got, w.id)
		}
		if !slices.Equal(got, want) || l.len() != len(want) {
			t.Fatalf("%v wait, want %v", got, want)
		}
	}
	if cap(l.list) > 200 {
		t.Errorf("the list has room for %d requests, and never more than 44 waited", cap(l.list))
	}
}
